//! SIGHUP: webhookd takes new tokens, certificates and clients without ending or refusing a connection,
//! and a mistake changes nothing.

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tests::https::{self, Client, lets_in};
use tests::world::ATTACKER;
use tests::{Container, World, until};

/// A token of the right length that nobody was given.
const NEW: &str = "0123456789abcdef0123456789abcdef";
const NEW_CERTIFICATE: &str = "
    openssl ecparam -name prime256v1 -genkey -noout -out key.new
    openssl req -x509 -new -key key.new -days 2 -subj /CN=webhookd-new -out cert.new \
        -addext subjectAltName=IP:10.9.0.1 -addext basicConstraints=critical,CA:FALSE
";

/// Lines of webhookd's log with these words.
fn said(world: &World, words: &str) -> usize {
    world.lines("webhookd.log", &[words]).len()
}

/// A new connection that takes this certificate and no other; whether it was shown.
fn shows(world: &World, certificate: &str) -> bool {
    let client = Client::trusting(&world.directory.path().join(certificate));
    let stream = world.kibana.inside(|| TcpStream::connect("10.9.0.1:5001")).unwrap();
    let request = https::request("GET", "/healthz", &[], "");
    https::exchange(&mut client.handshake(stream, "10.9.0.1"), &request).is_ok()
}

#[test]
fn new_tokens_and_certificate_count_at_once_also_on_open_connections() {
    let world = World::new();
    let mut open = world.connection();
    assert!(lets_in(&mut open, &world.token));
    assert!(!lets_in(&mut open, NEW));

    world.server.sh(&format!("cd {}; {NEW_CERTIFICATE}", world.directory.path().display()));
    world.write("token", &format!("{NEW} # elastic 2026-11-23\n"));
    for (from, to) in [("cert.new", "cert.pem"), ("key.new", "key.pem")] {
        world.write(to, &world.read(from));
    }
    world.hang_up();
    world.wait_for("read again", "webhookd.log");

    assert!(lets_in(&mut open, NEW));
    assert!(!lets_in(&mut open, &world.token));
    assert!(shows(&world, "cert.new"));
    let print = "openssl x509 -in cert.new -noout -fingerprint -sha256";
    let print = world.server.sh(&format!("cd {}; {print}", world.directory.path().display()));
    let (_, print) = print.trim().split_once('=').unwrap();
    let log = world.read("webhookd.log");
    let line = log.lines().find(|line| line.contains("read again")).unwrap();
    for words in [print, "tokens: elastic", "allow_clients: unchanged"] {
        assert!(line.contains(words), "no {words} in {line}");
    }
}

#[test]
fn who_may_post_is_read_again_and_nothing_else_is_said_to_have_changed() {
    let world = World::new();
    let mut open = world.connection();
    for (networks, expected) in [("198.51.100.0/24", false), ("10.9.0.0/24", true)] {
        world.configure("", &format!("allow-clients = [\"{networks}\"]"));
        world.hang_up();
        world.wait_for(&format!("allow_clients: {networks}"), "webhookd.log");
        assert_eq!(lets_in(&mut open, &world.token), expected, "{networks}");
    }
    assert_eq!(said(&world, "certificate: unchanged"), 2);
    assert_eq!(said(&world, "tokens: unchanged"), 2);
}

#[test]
fn a_mistake_in_any_file_changes_nothing_and_is_one_line_of_the_log() {
    let world = World::new();
    world.server.sh(&format!("cd {}; {NEW_CERTIFICATE}", world.directory.path().display()));
    let good = ["webhookd.toml", "token", "cert.pem", "key.pem"].map(|name| world.read(name));
    // Each time clients that are well and shut this one out, so that a half of a reload would be seen.
    world.configure("", "allow-clients = [\"198.51.100.0/24\"]");
    let config = world.read("webhookd.toml");
    for (file, text, words) in [
        ("webhookd.toml", format!("lisen = 1\n{config}"), "unknown field `lisen`"),
        ("token", format!("{NEW}\nshort\n"), "line 2: a token has at least 32"),
        ("cert.pem", "garbage".to_owned(), "tls.certificate: "),
        ("key.pem", world.read("key.new"), "does not belong to the certificate"),
    ] {
        world.write("webhookd.toml", &config);
        world.write(file, &text);
        world.hang_up();
        world.wait_for(words, "webhookd.log");
        assert_eq!(said(&world, words), 1, "{}", world.logs());
        assert_eq!(said(&world, "all stays as it was"), 1, "{}", world.logs());
        assert!(lets_in(&mut world.connection(), &world.token), "{file}");
        for (name, text) in ["webhookd.toml", "token", "cert.pem", "key.pem"].iter().zip(&good) {
            world.write(name, text);
        }
        // Mended, it is read; and the log begins anew.
        world.hang_up();
        world.wait_for("read again: ", "webhookd.log");
        world.write("webhookd.log", "");
    }
}

#[test]
fn a_hundred_reloads_refuse_no_connection() {
    let world = World::new();
    let (over, served) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        let clients = scope.spawn(|| {
            // Without the deadline a failure of the others would be waited for forever.
            let deadline = Instant::now() + Duration::from_secs(120);
            while !over.load(Ordering::Relaxed) && Instant::now() < deadline {
                assert!(lets_in(&mut world.connection(), &world.token));
                served.fetch_add(1, Ordering::Relaxed);
            }
        });
        // On a busy machine, where clients are slow, it takes more.
        for round in (1..).take_while(|round| *round <= 100 || served.load(Ordering::Relaxed) < 20)
        {
            // One token more or less, so that each is a change.
            let secret = &world.token;
            let more = if round % 2 == 0 { String::new() } else { format!("{NEW} # more\n") };
            world.write("token", &format!("{secret} # kibana\n{more}"));
            world.hang_up();
            until("it was read", 20, || said(&world, "read again: ") == round);
        }
        over.store(true, Ordering::Relaxed);
        clients.join().unwrap();
    });
}

#[test]
fn systemctl_reload_succeeds_with_what_is_right_and_fails_with_what_is_not() {
    let machine = Container::boot();
    let pid = machine.property("webhookd.service", "MainPID");
    machine.sh("echo 0123456789abcdef0123456789abcdef >>/etc/webhookd/token");
    machine.sh("timeout 20 systemctl reload webhookd");
    until("it was read", 20, || machine.journal().contains("tokens: init, line-2"));
    assert_eq!(machine.property("webhookd.service", "ReloadResult"), "success");
    until("the reload is over", 20, || {
        machine.property("webhookd.service", "SubState") == "running"
    });

    // A new certificate by the same CA: what Kibana trusts stays right.
    let leaf = || {
        let script = "openssl s_client -connect 10.9.0.1:5001 </dev/null 2>/dev/null |
            openssl x509 -noout -serial";
        machine.neighbour().sh(script)
    };
    let old = leaf();
    machine.sh("webhookctl init --renew && timeout 20 systemctl reload webhookd");
    until("the new certificate is shown", 20, || leaf() != old);
    assert_eq!(machine.block("198.51.100.1").outcomes(), ["blocked"]);

    machine.sh("cp /etc/webhookd/webhookd.toml /etc/webhookd/kept
        echo nonsense = 1 >>/etc/webhookd/webhookd.toml");
    let reload = machine.run("systemctl reload webhookd");
    assert!(!reload.status.success(), "{reload:?}");
    until("the journal names the key", 20, || machine.journal().contains("`nonsense`"));
    assert_eq!(machine.property("webhookd.service", "SubState"), "running");
    assert_eq!(machine.block(ATTACKER).outcomes(), ["blocked"]);
    machine.sh("mv /etc/webhookd/kept /etc/webhookd/webhookd.toml; systemctl reload webhookd");
    assert_eq!(machine.property("webhookd.service", "MainPID"), pid);

    // The other daemon's reload is as truthful.
    machine.sh("systemctl reload webhook-privd; echo nonsense = 1 >>/etc/webhookd/privd.toml");
    assert!(!machine.run("systemctl reload webhook-privd").status.success());
    assert_eq!(machine.property("webhook-privd.service", "SubState"), "running");
}
