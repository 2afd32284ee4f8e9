//! `webhookctl token`: what it says is done is in force with the next request, without a restart and
//! without a signal.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::process::Stdio;

use serde_json::Value;
use tests::World;
use tests::https::{self, lets_in};
use tests::world::{AS_WEBHOOKD, UID, unfolded};

/// A token of the right length that nobody was given.
const NEW: &str = "0123456789abcdef0123456789abcdef";

/// Runs `webhookctl token` with webhookd's configuration.
fn token(world: &World, arguments: &str) -> (String, i32) {
    let config = world.path("webhookd.toml");
    let words = ["token"].into_iter().chain(arguments.split(' ')).chain(["--config", &config]);
    world.ctl(&words.collect::<Vec<_>>())
}

/// The same with `--json`, which must succeed.
fn json(world: &World, arguments: &str) -> Value {
    let (text, code) = token(world, &format!("{arguments} --json"));
    assert_eq!(code, 0, "{text}");
    serde_json::from_str(&text).unwrap()
}

fn added(world: &World, name: &str) -> String {
    json(world, &format!("add {name}"))["token"].as_str().unwrap().to_owned()
}

#[test]
fn a_token_lets_in_when_add_returns_and_no_more_when_revoke_returns_also_on_open_connections() {
    let world = World::new();
    let mut open = world.connection();
    assert!(lets_in(&mut open, &world.token));
    let secret = added(&world, "kibana-2");
    assert!(secret.len() == 64 && secret.bytes().all(|byte| byte.is_ascii_hexdigit()), "{secret}");
    assert!(lets_in(&mut open, &secret));
    assert!(lets_in(&mut world.connection(), &secret));
    let used = ["token: kibana-2", "way: bearer"];
    assert!(!world.lines("webhookd.log", &used).is_empty(), "{}", world.logs());

    // All else of the file is as it was, and nobody else can read it.
    let text = world.read("token");
    assert!(text.starts_with(&format!("# for tests\n{} # kibana\nsha256:", world.token)), "{text}");
    assert!(!text.contains(&secret));
    let file = fs::metadata(world.path("token")).unwrap();
    assert_eq!((file.uid(), file.gid(), file.mode() & 0o7777), (0, UID, 0o640));

    assert_eq!(token(&world, "revoke kibana").1, 0);
    assert!(!lets_in(&mut open, &world.token));
    assert!(lets_in(&mut open, &secret));
    let logs = world.logs();
    assert!(logs.contains("the token file has changed") && !logs.contains(&secret), "{logs}");
}

#[test]
fn the_list_tells_names_dates_and_how_each_is_kept_and_no_secret() {
    let world = World::new();
    world.write("token", &format!("{} # kibana 2026-11-22\n{NEW}\n", world.token));
    let secret = added(&world, "third");
    let rows = json(&world, "list");
    let [first, second, third] = rows.as_array().unwrap().as_slice() else { panic!("{rows}") };
    let expected = serde_json::json!({ "name": "kibana", "date": "2026-11-22", "kept": "plain" });
    assert_eq!(*first, expected);
    assert_eq!((&second["name"], &second["date"]), (&"line-2".into(), &Value::Null));
    assert_eq!((&third["name"], &third["kept"]), (&"third".into(), &"digest".into()));
    let (text, code) = token(&world, "list");
    assert!(code == 0 && text.contains("kibana  2026-11-22  plain"), "{text}");
    for secret in [&world.token, &secret, NEW] {
        assert!(!text.contains(secret) && !rows.to_string().contains(secret), "{text}");
    }
}

#[test]
fn of_tokens_added_at_once_none_is_lost() {
    let world = &World::new();
    let secrets: BTreeSet<String> = std::thread::scope(|scope| {
        let add = |index| scope.spawn(move || added(world, &format!("at-once-{index}")));
        let adding: Vec<_> = (0..6).map(add).collect();
        adding.into_iter().map(|add| add.join().unwrap()).collect()
    });
    assert_eq!(secrets.len(), 6);
    let mut open = world.connection();
    assert!(secrets.iter().chain([&world.token]).all(|secret| lets_in(&mut open, secret)));
    assert!(!fs::exists(world.path("token.lock")).unwrap());
}

#[test]
fn a_given_token_is_kept_as_its_digest_and_lets_in() {
    let world = World::new();
    world.write("given", &format!("{NEW}\n"));
    let given = json(&world, &format!("add given --from {}", world.path("given")));
    assert_eq!((&given["name"], &given["token"]), (&"given".into(), &Value::Null));
    assert!(lets_in(&mut world.connection(), NEW) && !world.read("token").contains(NEW));

    // Of standard input, into a file that is named.
    world.write("other", &format!("{NEW} # old"));
    let program = ["/mnt/webhookctl", "token", "add", "piped", "--from", "-", "--token-file"];
    let path = world.path("other");
    let mut command = world.confined.command(&[&program[..], &[&path]].concat());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(world.token.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    let text = world.read("other");
    assert!(text.starts_with(&format!("{NEW} # old\nsha256:")) && text.contains("# piped 2"));
}

#[test]
fn what_cannot_be_done_is_one_sentence_with_the_mend_and_changes_nothing() {
    let world = World::new();
    let before = world.read("token");
    world.write("damaged", "short\n");
    world.write("same", &world.token);
    let (damaged, same) = (world.path("damaged"), world.path("same"));
    for (arguments, code, words) in [
        ("add kibana", 1, "there is a token kibana already: take another name"),
        ("add a/b", 1, "1 to 32 of the characters"),
        ("add line-3", 1, "what a token without a name is called"),
        (&format!("add other --from {same}"), 1, "that secret is in the file already, as kibana"),
        (&format!("add other --from {damaged}"), 1, "a token has at least 32 characters"),
        (&format!("add other --token-file {damaged}"), 2, "line 1: a token has at least 32"),
        ("add other --from /nowhere", 2, "--from: /nowhere cannot be read"),
        ("revoke nobody", 1, "there is no token nobody; there is kibana"),
        ("revoke kibana", 1, "`webhookctl token add NAME` first"),
        ("list --token-file /nowhere", 2, "/nowhere is not there; `webhookctl init`"),
    ] {
        let (text, found) = token(&world, arguments);
        assert!(found == code && text.contains(words), "{arguments}: {found} {text}");
    }
    let list = ["/mnt/webhookctl", "token", "list"];
    let output = world.confined.run(&[&AS_WEBHOOKD[..], &list].concat());
    let text = unfolded(&String::from_utf8_lossy(&output.stderr));
    assert!(output.status.code() == Some(2) && text.contains("sudo webhookctl token"), "{text}");
    assert_eq!(world.read("token"), before);
    assert!(lets_in(&mut world.connection(), &world.token));
}

#[test]
fn a_token_file_that_is_damaged_or_gone_keeps_the_old_tokens_is_logged_once_and_told_by_readyz() {
    let world = World::new();
    let good = world.read("token");
    let mut open = world.connection();
    let ready = |world: &World| {
        let headers = [("Authorization", &*world.bearer())];
        world.send(&https::request("GET", "/readyz", &headers, ""))
    };
    let said = |world: &World| world.lines("webhookd.log", &["not used as it is"]).len();
    for (round, (text, words)) in
        [(Some(format!("{NEW}\nshort\n")), "line 2: a token"), (None, "cannot be read")]
            .into_iter()
            .enumerate()
    {
        match text {
            Some(text) => world.write("token", &text),
            None => fs::remove_file(world.path("token")).unwrap(),
        }
        for _ in 0..20 {
            assert!(lets_in(&mut open, &world.token) && !lets_in(&mut open, NEW));
        }
        assert_eq!(said(&world), round + 1, "{}", world.logs());
        let answer = ready(&world);
        assert!(answer.status == 200 && answer.message().contains(words), "{answer:?}");
    }
    // A token of the right length in it counts with the next request.
    world.write("token", &good);
    assert!(lets_in(&mut open, &world.token));
    assert!(!ready(&world).message().contains("token"), "{:?}", ready(&world));
}
