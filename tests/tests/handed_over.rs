//! webhookd serves on the socket that systemd hands over, if it is the one that `listen` means.

use tests::World;
use tests::world::AS_WEBHOOKD;

/// Listens as systemd would and becomes webhookd with it as descriptor 3.
const HAND_OVER: &str = "
import os, socket, sys
address, port, config = sys.argv[1:]
family = socket.AF_INET6 if ':' in address else socket.AF_INET
listener = socket.create_server((address, int(port)), family=family,
    dualstack_ipv6=family == socket.AF_INET6)
os.dup2(listener.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()))
os.execv('/mnt/webhookd', ['webhookd', '--config', config])
";

/// What it takes to run webhookd with such a socket.
fn handed<'a>(address: &'a str, port: &'a str, config: &'a str) -> Vec<&'a str> {
    [&AS_WEBHOOKD[..], &["/usr/bin/python3", "-c", HAND_OVER, address, port, config]].concat()
}

/// Whether webhookd begins to serve on it; if not, what it says.
fn serves(world: &World, address: &str, port: &str) -> Result<(), String> {
    let config = world.path("webhookd.toml");
    let mut webhookd = world.spawn("webhookd.log", &handed(address, port, &config));
    let mut ended = None;
    tests::until("webhookd is ready or has ended", 20, || {
        ended = webhookd.try_wait().unwrap();
        ended.is_some() || world.read("webhookd.log").contains("webhookd is ready")
    });
    let answer = ended.is_none().then(|| world.post_text(r#"{"ip":"127.0.0.1"}"#).status);
    let _ = webhookd.kill();
    let _ = webhookd.wait();
    match (ended, answer) {
        (None, Some(422 | 503)) => Ok(()),
        (Some(status), None) if status.code() == Some(78) => Err(world.read("webhookd.log")),
        other => panic!("{other:?}\n{}", world.logs()),
    }
}

#[test]
fn a_socket_must_be_the_one_that_listen_means() {
    let world = World::without_daemons("true");
    assert_eq!(serves(&world, "::", "5001"), Ok(()));
    for (address, port) in [("::", "5002"), ("10.9.0.1", "5001"), ("0.0.0.0", "5001")] {
        let words = serves(&world, address, port).unwrap_err();
        assert!(words.contains("systemctl edit webhookd.socket"), "{words}");
        assert!(words.contains("the configuration says [::]:5001"), "{words}");
    }
}

#[test]
fn without_ipv6_every_ipv4_address_is_what_listen_means() {
    let mut world = World::without_daemons("true");
    // No kernel without IPv6 is to be had here. What tells systemd, and webhookd, is hidden; the
    // socket is real.
    world.confined = world.confined.view("mount -t tmpfs tmpfs /proc");
    assert_eq!(serves(&world, "0.0.0.0", "5001"), Ok(()));
    for (address, port) in [("0.0.0.0", "5002"), ("10.9.0.1", "5001"), ("::", "5002")] {
        assert!(serves(&world, address, port).is_err(), "{address}:{port}");
    }
    world.configure("", "listen = \"[::1]:5001\"");
    assert!(serves(&world, "0.0.0.0", "5001").is_err(), "one address is not all");
}
