//! The start and the end of both daemons: a wrong start is one sentence and an exit status from
//! sysexits(3); a right one gives up every privilege that is not needed.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Output};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::https::{JSON, exchange, read_answer, request};
use tests::world::{AS_WEBHOOKD, UID, binaries};
use tests::{Place, Standing, World, until};

const USAGE: i32 = 64;
const SOFTWARE: i32 = 70;
const PERMISSION: i32 = 77;
const CONFIG: i32 = 78;
/// capabilities(7): the bit of `CAP_NET_ADMIN`.
const NET_ADMIN: &str = "0000000000001000";
const NONE: &str = "0000000000000000";

#[test]
fn privd_says_in_one_sentence_what_is_wrong_with_its_configuration() {
    let world = World::without_daemons("true");
    let at = world.directory.path();
    let ledger = format!("ledger = \"{}/state/ledger.redb\"", at.display());
    fs::create_dir(at.join("open")).unwrap();
    fs::set_permissions(at.join("open"), fs::Permissions::from_mode(0o777)).unwrap();
    fs::create_dir(at.join("theirs")).unwrap();
    chown(at.join("theirs"), Some(UID), Some(UID)).unwrap();
    fs::write(at.join("file"), "").unwrap();
    let socket = |name: &str| format!("socket = \"{}/{name}\"\n{ledger}", at.display());
    for (what, text, words) in [
        ("no such user", format!("frontend-user = \"no-such\"\n{ledger}"), "no user no-such"),
        ("no such uid", format!("frontend-user = 4712\n{ledger}"), "no user 4712"),
        ("root", format!("frontend-user = \"root\"\n{ledger}"), "must not be root"),
        ("root's uid", format!("frontend-user = 0\n{ledger}"), "must not be root"),
        ("no socket folder", socket("none/privd.sock"), "/none does not exist; make it with"),
        ("a socket folder for all", socket("open/privd.sock"), "/open must belong to root"),
        ("webhookd's socket folder", socket("theirs/privd.sock"), "/theirs must belong to root"),
        ("a file in the way", socket("file"), "/file exists and is not a socket"),
        (
            "no ledger folder",
            format!("ledger = \"{}/none/x\"", at.display()),
            "/none does not exist",
        ),
    ] {
        let output = privd(&world, &text);
        refused(what, &output, CONFIG, "webhook-privd", words);
        left_nothing(&world, what);
    }
    assert!(at.join("file").exists(), "what was in the way is not ours to remove");

    let missing = start(&world.confined, &["/mnt/webhook-privd", "--config", "/none.toml"]);
    refused("no file", &missing, CONFIG, "webhook-privd", "/none.toml: cannot be read");
    world.write("privd.toml", &ledger);
    let path = at.join("privd.toml");
    for (mode, owner) in [(0o666, 0), (0o664, 0), (0o602, 0), (0o644, UID), (0o400, 65534)] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        chown(&path, Some(owner), None).unwrap();
        let output = start(&world.confined, &[PRIVD[0], PRIVD[1], path.to_str().unwrap()]);
        let what = format!("mode {mode:o}, owner {owner}");
        refused(&what, &output, CONFIG, "webhook-privd", "must belong to root and be writable by");
        left_nothing(&world, &what);
    }
}

#[test]
fn privd_names_the_key_that_is_wrong() {
    let world = World::without_daemons("true");
    for (text, words) in [
        ("max-block = 1", "unknown field `max-block`"),
        ("max_blocks = 1", "unknown field `max_blocks`"),
        ("[limits]\nmax-blocks = 1", "unknown field `limits`"),
        ("firewall = \"iptables\"", "`iptables`"),
        ("max-blocks = \"many\"", "max-blocks"),
        ("never-block = [\"10.0.0.1/8\"]", "\"10.0.0.1/8\" has host bits set"),
        ("widest-v4 = 4", "must lie between 8 and 32"),
        ("widest-v6 = 200", "must lie between 16 and 128"),
        ("ipv6-prefix = 16", "must lie between 32 and 128"),
        ("reconcile-every = \"soon\"", "write for example \"60s\""),
        ("reconcile-every = \"0s\"", "must lie between 1s and 24h"),
        ("socket = \"privd.sock\"", "must be an absolute path"),
        ("ledger = \"ledger.redb\"", "must be an absolute path"),
        ("enforce = ", "line 1"),
    ] {
        names_the_key("webhook-privd", text, words, &world, &privd(&world, text));
        left_nothing(&world, text);
    }
}

#[test]
fn webhookd_names_the_key_that_is_wrong() {
    let world = World::without_daemons("true");
    for (text, words) in [
        ("lisen = \"[::]:5001\"", "unknown field `lisen`"),
        ("max-body = \"8MiB\"", "unknown field `max-body`"),
        ("limits = { max-bodies = 4 }", "unknown field `max-bodies`"),
        ("tls = { cert = \"x\" }", "unknown field `cert`"),
        ("limits = { max-connections = \"many\" }", "max-connections"),
        ("limits = { max-connections = 0 }", "limits.max-connections"),
        ("limits = { max-body = \"8MB\" }", "\"8MB\""),
        ("listen = \"5001\"", "\"5001\" is not ADDRESS:PORT"),
        ("allow-clients = []", "nobody could post"),
        ("allow-clients = [\"10.0.0.0/99\"]", "\"10.0.0.0/99\""),
        ("listen", "line 1"),
    ] {
        names_the_key("webhookd", text, words, &world, &webhookd(&world, text));
    }
}

#[test]
fn a_mistake_in_a_file_is_one_sentence() {
    let world = World::without_daemons("true");
    let output = privd(&world, "max-block = 1");
    refused("privd.toml", &output, CONFIG, "webhook-privd", "`max-block`");
    let output = webhookd(&world, "lisen = \"[::]:5001\"");
    refused("webhookd.toml", &output, CONFIG, "webhookd", "`lisen`");
}

#[test]
fn a_mistake_in_a_file_read_again_is_one_line_of_the_log() {
    let mut world = World::without_daemons("true");
    world.start_privd();
    let pid = world.ctl_json("status")["pid"].as_i64().unwrap();
    world.write("privd.toml", "max-block = 1");
    kill(Pid::from_raw(pid.try_into().unwrap()), Signal::SIGHUP).unwrap();
    world.wait_for("max-block", "privd.log");
    // The old configuration stays.
    assert_eq!(world.ctl(&["status"]).1, 0);
    // `Nov 22 18:13:11.404 INFO `
    let timed = |line: &str| line.get(9..10) == Some(":") && line.get(12..13) == Some(":");
    for line in world.read("privd.log").lines() {
        assert!(timed(line), "not a line of its own: {line:?}\n{}", world.read("privd.log"));
    }
}

/// Binds a socket as systemd would and becomes privd with it as descriptor 3.
const HAND_OVER: &str = "
import os, socket, sys
path, mode, group, config = sys.argv[1:]
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
listener.listen()
os.chown(path, 0, int(group))
os.chmod(path, int(mode, 8))
os.dup2(listener.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()))
os.execv('/mnt/webhook-privd', ['webhook-privd', '--config', config])
";

#[test]
fn a_socket_that_is_handed_over_is_used_if_it_admits_the_right_accounts() {
    let world = World::without_daemons("true");
    let config = world.path("privd.toml");
    let socket = "/run/webhook-privd/privd.sock";
    for (mode, group) in [("666", "4711"), ("660", "0"), ("660", "65534")] {
        let output =
            world.confined.run(&["python3", "-c", HAND_OVER, socket, mode, group, &config]);
        refused("handed over", &output, CONFIG, "webhook-privd", "handed over");
        fs::remove_file(world.socket()).unwrap();
    }
    let daemon =
        world.spawn("privd.log", &["python3", "-c", HAND_OVER, socket, "660", "4711", &config]);
    let daemon = Daemon(daemon);
    world.wait_for("webhook-privd is ready", "privd.log");
    until("it answers", 10, || world.ctl(&["status"]).1 == 0);
    assert_eq!(daemon.stop(), Some(0));
    assert!(world.socket().exists(), "it belongs to who made it");
}

#[test]
fn privd_does_not_start_without_net_admin() {
    let world = World::without_daemons("true");
    let without = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-all"];
    let config = world.path("privd.toml");
    let output = start(&world.confined, &[&without[..], &[PRIVD[0], PRIVD[1], &config]].concat());
    refused("no capability", &output, PERMISSION, "webhook-privd", "CAP_NET_ADMIN");
    left_nothing(&world, "no capability");
}

#[test]
fn privd_started_by_another_user_says_that_it_needs_root() {
    let world = World::without_daemons("true");
    let config = world.path("privd.toml");
    let program = [PRIVD[0], PRIVD[1], &config];
    let output = start(&world.confined, &[&AS_WEBHOOKD[..], &program].concat());
    refused("not root", &output, PERMISSION, "webhook-privd", "must be started as root");
    left_nothing(&world, "not root");
}

#[test]
fn privd_does_not_start_where_root_could_get_out_of_its_confinement() {
    let world = World::without_daemons("true");
    let at = world.directory.path().display().to_string();
    let config = world.path("privd.toml");
    let program = ["/mnt/webhook-privd", "--config", &config];
    // Each view differs from the confined one in one thing.
    let writable = world.confined.view("mount -o remount,bind,rw /etc/ufw");
    let private_run = "mount -t tmpfs -o mode=755 tmpfs /run; mkdir /run/webhook-privd /run/systemd
        mount --bind run /run/webhook-privd; mkdir /run/webhook-privd-lock
        touch /run/webhook-privd-lock/host /run/ufw.lock";
    let apart = "mount --bind ufw.lock /run/webhook-privd-lock/host";
    let same = format!("cd {at}; {private_run}; {apart}; mount --bind ufw.lock /run/ufw.lock");
    let same_lock = world.confined.view(&same);
    let no_lock = world.confined.view(
        "umount /run/webhook-privd-lock/host /run/ufw.lock
        mount -o remount,bind,rw /run; rm /run/webhook-privd-lock/host",
    );
    let read_only = world.confined.view("umount /etc/ufw/user6.rules");
    let init = world.confined.view(&format!("cd {at}; {private_run}; touch /run/systemd/private"));
    let no_rules = world.confined.view("mount -t tmpfs tmpfs /etc/ufw");
    let no_programs = world.confined.view("mount -t tmpfs tmpfs /usr/sbin");
    for (place, code, words) in [
        (&writable, PERMISSION, "/etc/ufw/before.rules is writable here"),
        (&init, PERMISSION, "/run/systemd/private is visible here"),
        (&read_only, PERMISSION, "user.rules and user6.rules must be writable here"),
        (&same_lock, PERMISSION, "ufw's lock is not bound apart"),
        (&no_lock, PERMISSION, "ufw's lock is not bound apart"),
        (&no_rules, PERMISSION, "/etc/ufw/before.rules is missing: install ufw"),
        (&no_programs, CONFIG, "/usr/sbin/ufw is missing: `apt install ufw"),
    ] {
        let output = start(place, &program);
        refused(words, &output, code, "webhook-privd", words);
        left_nothing(&world, words);
    }
    // The administrator's own view, as after `sudo webhook-privd` in a shell.
    let own = format!("frontend-user = \"nobody\"\nsocket = \"{at}/run/privd.sock\"");
    world.write("own.toml", &format!("{own}\nledger = \"{at}/state/ledger.redb\""));
    let (binary, config) = (binaries().join("webhook-privd"), world.path("own.toml"));
    let output = start(&world.server, &[binary.to_str().unwrap(), "--config", &config]);
    refused("a shell", &output, PERMISSION, "webhook-privd", "before.rules is writable here");
    left_nothing(&world, "a shell");
    // And the same view as the first of these, but for the one thing, is good.
    let good = world.confined.view(&format!("cd {at}; {private_run}; {apart}"));
    let mut daemon = good.command(&program);
    let log = fs::File::create(world.directory.path().join("privd.log")).unwrap();
    let daemon = Daemon(daemon.stderr(log).spawn().unwrap());
    world.wait_for("webhook-privd is ready", "privd.log");
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_second_privd_leaves_the_first_one_alone() {
    let mut world = World::without_daemons("true");
    world.start_privd();
    let before = fs::metadata(world.socket()).unwrap().ino();
    let config = world.path("privd.toml");
    let output = start(&world.confined, &["/mnt/webhook-privd", "--config", &config]);
    refused("a second one", &output, CONFIG, "webhook-privd", "another process");
    // Not on the same socket, but on the same ledger.
    let other = format!("{}\nsocket = \"/run/webhook-privd/other.sock\"", world.read("privd.toml"));
    let output = privd(&world, &other);
    refused("the same ledger", &output, SOFTWARE, "webhook-privd", "ledger.redb");
    assert_eq!(fs::metadata(world.socket()).unwrap().ino(), before);
    assert!(!world.directory.path().join("run/other.sock").exists());
    let (status, code) = world.ctl(&["status"]);
    assert_eq!(code, 0, "{status}");
    world.stop_privd(Signal::SIGTERM);

    // What a killed one leaves behind is in nobody's way.
    world.start_privd();
    world.stop_privd(Signal::SIGKILL);
    assert!(world.socket().exists());
    world.start_privd();
}

#[test]
fn check_help_and_version_start_nothing() {
    let world = World::without_daemons("true");
    for name in ["webhook-privd", "webhookd"] {
        let program = &*format!("/mnt/{name}");
        let toml = world.path(if name == "webhookd" { "webhookd.toml" } else { "privd.toml" });
        let check = start(&world.confined, &[program, "--check", "--config", &toml]);
        assert_eq!(text(&check), (Some(0), String::new(), String::new()), "{name}");
        left_nothing(&world, name);

        for (option, words) in [
            ("--help", "--config"),
            ("-h", "--config"),
            ("--version", env!("CARGO_PKG_VERSION")),
            ("-V", env!("CARGO_PKG_VERSION")),
        ] {
            let (code, stdout, stderr) = text(&start(&world.confined, &[program, option]));
            assert_eq!((code, stderr.as_str()), (Some(0), ""), "{name} {option}");
            assert!(stdout.contains(words), "{name} {option}: {stdout}");
            assert!(stdout.contains(name), "{name} {option}: {stdout}");
        }
        for arguments in [&["--nonsense"][..], &["-x"], &["nonsense"], &["--config"]] {
            let all = [&[program], arguments].concat();
            let (code, stdout, stderr) = text(&start(&world.confined, &all));
            assert_eq!((code, stdout.as_str()), (Some(USAGE), ""), "{all:?}: {stderr}");
            assert!(stderr.contains(arguments[0]), "{all:?}: {stderr}");
            assert!(stderr.contains("--help"), "{all:?}: {stderr}");
        }
        // What --check says is what the start says.
        world.write("bad.toml", "nonsense = 1\n");
        let bad = world.path("bad.toml");
        let check = start(&world.confined, &[program, "--config", &bad, "--check"]);
        let (code, stdout, stderr) = text(&check);
        assert_eq!((code, stdout.as_str()), (Some(CONFIG), ""), "{stderr}");
        assert!(stderr.contains("`nonsense`"), "{name}: {stderr}");
        assert_eq!(stderr, text(&start(&world.confined, &[program, "--config", &bad])).2);
    }
    // --check needs no privilege and never opens the port.
    let _port = world.server.listen("[::]:5001");
    let toml = world.path("webhookd.toml");
    let check = start(
        &world.confined,
        &[&AS_WEBHOOKD[..], &["/mnt/webhookd", "--check", "--config", &toml]].concat(),
    );
    assert_eq!(text(&check), (Some(0), String::new(), String::new()));
}

#[test]
fn webhookd_says_in_one_sentence_what_is_wrong_with_its_files() {
    let world = World::without_daemons("true");
    let at = world.directory.path().display().to_string();
    world.server.sh(&format!(
        "cd {at}; openssl ecparam -name prime256v1 -genkey -noout -out other.pem
         : > empty; echo garbage > garbage; printf '# only a comment\\n\\n' > comment
         echo 0123456789abcdef0123456789abcde > short; echo 'sha256:12' > digest
         printf '%s\\n' 0123456789abcdef0123456789abcdef short > second
         echo -----BEGIN CERTIFICATE----- > cut; echo AAAA >> cut
         cp token secret-token; chmod 644 other.pem; chown 0:0 secret-token; chmod 600 secret-token"
    ));
    let absent = format!("{at}/absent");
    let [token, cert, key] = ["token", "cert.pem", "key.pem"];
    for (files, words) in [
        (["absent", cert, key], "token-file: "),
        (["empty", cert, key], "holds no token; make one with `openssl rand -hex 32`"),
        (["comment", cert, key], "holds no token"),
        (["short", cert, key], "line 1: a token has at least 32 characters"),
        (["second", cert, key], "line 2: a token has at least 32 characters"),
        (["digest", cert, key], "line 1: sha256: is followed by 64"),
        (["secret-token", cert, key], "Permission denied"),
        ([token, "absent", key], "tls.certificate: "),
        ([token, "empty", key], "tls.certificate: "),
        ([token, "garbage", key], "tls.certificate: "),
        ([token, "cut", key], "tls.certificate: "),
        ([token, "key.pem", key], "tls.certificate: "),
        ([token, cert, "absent"], "tls.key: "),
        ([token, cert, "empty"], "tls.key: "),
        ([token, cert, "garbage"], "tls.key: "),
        ([token, cert, "cert.pem"], "tls.key: "),
        ([token, cert, "other.pem"], "does not belong to the certificate"),
    ] {
        let [token, cert, key] = files.map(|name| format!("{at}/{name}"));
        let tls = format!("tls = {{ certificate = \"{cert}\", key = \"{key}\" }}");
        let output = webhookd(&world, &format!("token-file = \"{token}\"\n{tls}"));
        refused(&format!("{files:?}"), &output, CONFIG, "webhookd", words);
        let wrong = files.into_iter().find(|name| !["token", "cert.pem", "key.pem"].contains(name));
        if let Some(wrong) = wrong {
            let (_, _, stderr) = text(&output);
            assert!(stderr.contains(&format!("{at}/{wrong}")), "{stderr} names no file");
        }
    }

    let program = ["/mnt/webhookd", "--config", &absent];
    let output = start(&world.confined, &[&AS_WEBHOOKD[..], &program].concat());
    refused("no file", &output, CONFIG, "webhookd", "/absent: cannot be read");

    let rest = world.read("webhookd.toml");
    let port = world.server.listen("[::]:5001");
    let output = webhookd(&world, &rest);
    refused("the port", &output, CONFIG, "webhookd", "cannot listen on [::]:5001: ");
    drop(port);
    // 203.0.113.7 is the attacker's.
    let output = webhookd(&world, &format!("listen = \"203.0.113.7:5001\"\n{rest}"));
    refused("an address", &output, CONFIG, "webhookd", "cannot listen on 203.0.113.7:5001: ");
}

#[test]
fn webhookd_names_the_certificate_when_it_is_the_certificate_that_is_damaged() {
    let world = World::without_daemons("true");
    let (cert, key) = (world.path("damaged.pem"), world.path("key.pem"));
    let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    world.write("damaged.pem", pem);
    let tls = format!("tls = {{ certificate = \"{cert}\", key = \"{key}\" }}");
    let output = webhookd(&world, &format!("token-file = \"{}\"\n{tls}", world.path("token")));
    refused("a damaged certificate", &output, CONFIG, "webhookd", &cert);
}

#[test]
fn running_the_daemons_have_the_privileges_they_need_and_no_other() {
    let world = World::new();
    // Each has served something, so that every thread it will have is there.
    assert_eq!(world.block("192.0.2.45").outcomes(), ["blocked"]);
    let (privd, webhookd) = world.daemons();
    for (pid, name, uid, capabilities) in
        [(privd, "webhook-privd", 0, NET_ADMIN), (webhookd, "webhookd", UID, NONE)]
    {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        let mut threads = 0;
        for task in tasks {
            // A thread may end while the others are looked at.
            let path = task.unwrap().path().join("status");
            let Ok(status) = fs::read_to_string(path) else { continue };
            let field = |key: &str| {
                let line = status.lines().find_map(|line| line.strip_prefix(key));
                line.unwrap_or_else(|| panic!("no {key} in {status}")).trim().to_owned()
            };
            for set in ["CapEff:", "CapPrm:", "CapBnd:"] {
                assert_eq!(field(set), capabilities, "{set} of {name}:\n{status}");
            }
            for set in ["CapInh:", "CapAmb:"] {
                assert_eq!(field(set), NONE, "{set} of {name}:\n{status}");
            }
            assert_eq!(field("NoNewPrivs:"), "1", "{name}:\n{status}");
            assert_eq!(field("Uid:"), [uid.to_string().as_str(); 4].join("\t"), "{name}");
            assert_eq!(field("Gid:"), [uid.to_string().as_str(); 4].join("\t"), "{name}");
            assert_eq!(field("Groups:"), "", "{name}");
            threads += 1;
        }
        assert!(threads >= 3, "{name} has {threads} threads");
    }

    let socket = fs::metadata(world.socket()).unwrap();
    assert!(socket.file_type().is_socket());
    assert_eq!((socket.uid(), socket.gid(), socket.mode() & 0o7777), (0, UID, 0o660));

    // The token is not kept: neither its file nor its text can be had from the process.
    let files: Vec<_> = fs::read_dir(format!("/proc/{webhookd}/fd"))
        .unwrap()
        .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
        .collect();
    assert!(!files.is_empty());
    for name in ["token", "key.pem", "cert.pem", "webhookd.toml", "secret"] {
        let kept = files.iter().any(|file| file == &world.directory.path().join(name));
        assert!(!kept, "webhookd keeps {name} open: {files:?}");
    }
    for name in ["cmdline", "environ"] {
        let bytes = fs::read(format!("/proc/{webhookd}/{name}")).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains(&world.token), "{name}");
    }
}

#[test]
fn what_privd_starts_has_no_more_privileges_than_privd() {
    let world = World::with("reconcile-every = \"1s\"", "ufw allow 22/tcp");
    let seen = world.path("state/seen");
    world.write(
        "spy",
        &format!("#!/bin/sh\ncat /proc/self/status >> {seen}\nexec {seen}.itself \"$@\"\n"),
    );
    let program = world.engine.program();
    world.confined.sh(&format!(
        "cd {}; chmod 755 spy; cp /usr/sbin/{program} {seen}.itself; mount --bind spy /usr/sbin/{program}",
        world.directory.path().display()
    ));
    world.block("192.0.2.45");
    let mut status = String::new();
    until("it has run", 10, || {
        status = fs::read_to_string(&seen).unwrap_or_default();
        status.ends_with("\n")
    });
    let mut checked = 0;
    for line in status.lines().filter(|line| line.starts_with("Cap") || line.starts_with("NoNew")) {
        let (key, value) = line.split_once(":\t").unwrap();
        let expected = match key {
            "CapEff" | "CapPrm" | "CapBnd" => NET_ADMIN,
            "CapInh" | "CapAmb" => NONE,
            _ => "1",
        };
        assert_eq!(value, expected, "{key} of {program}");
        checked += 1;
    }
    assert!(checked >= 6, "{status}");
}

#[test]
fn sigterm_ends_both_with_status_0_and_nothing_is_left() {
    let world = World::without_daemons("ufw allow 22/tcp");
    let (privd_toml, webhookd_toml) = (world.path("privd.toml"), world.path("webhookd.toml"));
    let privd = world.spawn("privd.log", &["/mnt/webhook-privd", "--config", &privd_toml]);
    let privd = Daemon(privd);
    world.wait_for("webhook-privd is ready", "privd.log");
    let program = ["/mnt/webhookd", "--config", &webhookd_toml];
    let webhookd = Daemon(world.spawn("webhookd.log", &[&AS_WEBHOOKD[..], &program].concat()));
    world.wait_for("webhookd is ready", "webhookd.log");

    // An idle connection holds nothing up; a request under way is finished.
    let mut idle = world.connection();
    assert_eq!(exchange(&mut idle, &request("GET", "/healthz", &[], "")).unwrap().status, 200);
    let mut busy = world.connection();
    let (token, body) = (world.bearer(), r#"{"ip":"192.0.2.45"}"#);
    let headers = [("Authorization", token.as_str()), JSON, ("Expect", "100-continue")];
    let whole = request("POST", "/blockip", &headers, body);
    busy.write_all(whole.strip_suffix(body).unwrap().as_bytes()).unwrap();
    // From here on webhookd waits for the body.
    assert_eq!(read_answer(&mut busy).unwrap().status, 100);
    webhookd.signal();
    until("the port is closed", 10, || {
        let refused = world.kibana.connect("10.9.0.1:5001".parse().unwrap(), PATIENCE);
        refused.is_err()
    });
    busy.write_all(body.as_bytes()).unwrap();
    let answer = read_answer(&mut busy).unwrap();
    assert_eq!((answer.status, answer.outcomes()), (200, vec!["blocked"]), "{answer:?}");
    drop(busy);
    assert_eq!(webhookd.wait(), Some(0), "{}", world.logs());
    world.wait_for("webhookd has stopped", "webhookd.log");
    assert!(world.server.inside(|| TcpListener::bind("[::]:5001")).is_ok(), "the port is taken");

    let held = UnixStream::connect(world.socket()).unwrap();
    assert_eq!(privd.stop(), Some(0), "{}", world.logs());
    world.wait_for("webhook-privd has stopped", "privd.log");
    left_nothing(&world, "SIGTERM");
    drop(held);
    // privd's end lifts nothing.
    assert!(Standing::now(&world).names("192.0.2.45".parse().unwrap()));
}

const PRIVD: [&str; 2] = ["/mnt/webhook-privd", "--config"];
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

/// Starts privd on a configuration of that text and waits for its end.
fn privd(world: &World, toml: &str) -> Output {
    world.write("case.toml", toml);
    start(&world.confined, &[PRIVD[0], PRIVD[1], &world.path("case.toml")])
}

/// The same with webhookd, as its own user.
fn webhookd(world: &World, toml: &str) -> Output {
    world.write("case.toml", toml);
    let program = ["/mnt/webhookd", "--config", &world.path("case.toml")];
    start(&world.confined, &[&AS_WEBHOOKD[..], &program].concat())
}

/// Waits for the end of what must not run on; `timeout` reports 124 if it does.
fn start(place: &Place, program: &[&str]) -> Output {
    place.run(&[&["timeout", "20"], program].concat())
}

fn text(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// One sentence on standard error, nothing else, and that status.
fn refused(what: &str, output: &Output, code: i32, program: &str, words: &str) {
    let (status, stdout, stderr) = text(output);
    assert_eq!(status, Some(code), "{what}: {stderr}");
    assert_eq!(stdout, "", "{what}");
    assert!(stderr.starts_with(&format!("{program}: ")), "{what}: {stderr}");
    assert!(stderr.contains(words), "{what}: {stderr}");
    assert_eq!(stderr.lines().count(), 1, "{what} is not one line: {stderr}");
    assert!(!stderr.contains("panicked"), "{what}: {stderr}");
}

/// The file, the key and what is wrong with it; `text` begins with the key.
fn names_the_key(program: &str, text: &str, words: &str, world: &World, output: &Output) {
    let (status, stdout, stderr) = self::text(output);
    assert_eq!((status, stdout.as_str()), (Some(CONFIG), ""), "{text}: {stderr}");
    let file = format!("{program}: {}: ", world.path("case.toml"));
    assert!(stderr.starts_with(&file), "{text}: {stderr}");
    let key = text.trim_matches(['[', ']']).split([' ', ']']).next().unwrap();
    assert!(stderr.contains(key) && stderr.contains(words), "{text}: {stderr}");
}

fn left_nothing(world: &World, what: &str) {
    assert!(!world.socket().exists(), "{what} left a socket");
    let at = world.directory.path();
    for name in ["none", "open/privd.sock", "theirs/privd.sock"] {
        assert!(!Path::exists(&at.join(name)), "{what} left {name}");
    }
}

/// A daemon that ends with the test, whatever becomes of that.
struct Daemon(Child);

impl Daemon {
    fn signal(&self) {
        kill(Pid::from_raw(self.0.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    }

    fn wait(mut self) -> Option<i32> {
        let mut status = None;
        until("the daemon ends", 20, || {
            status = self.0.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap().code()
    }

    fn stop(self) -> Option<i32> {
        self.signal();
        self.wait()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
