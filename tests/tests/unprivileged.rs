//! webhookd serves without any privilege, in a network of its own in which there is nothing but
//! loopback: all it has is the listener that it is given.

use std::fs;

use serde_json::json;
use tests::world::AS_WEBHOOKD;
use tests::{World, until};

/// Listens in the network of the server, leaves it for an empty one as `PrivateNetwork=` does, and
/// becomes webhookd.
const HAND_OVER: &str = "
import ctypes, os, socket, sys
config, *become = sys.argv[1:]
listener = socket.create_server(('::', 5001), family=socket.AF_INET6, dualstack_ipv6=True)
os.dup2(listener.fileno(), 3)
os.set_inheritable(3, True)
assert ctypes.CDLL(None).unshare(0x40000000) == 0  # CLONE_NEWNET
os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()))
os.execvp(become[0], [*become, '/mnt/webhookd', '--config', config])
";

#[test]
fn a_listener_is_all_that_webhookd_needs() {
    let mut world = World::without_daemons("ufw allow 22/tcp");
    world.start_privd();
    let config = world.path("webhookd.toml");
    let start = ["/usr/bin/python3", "-c", HAND_OVER, &config];
    let mut webhookd = world.spawn("webhookd.log", &[&start[..], &AS_WEBHOOKD].concat());
    world.wait_for("webhookd is ready", "webhookd.log");

    let process = format!("/proc/{}", webhookd.id());
    let status = fs::read_to_string(format!("{process}/status")).unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name}")).split_whitespace().collect::<Vec<_>>()
    };
    assert_eq!(field("Name:"), ["webhookd"]);
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        assert_eq!(field(set), ["0000000000000000"], "{set}");
    }
    assert_eq!(field("NoNewPrivs:"), ["1"]);
    for ids in ["Uid:", "Gid:"] {
        assert_eq!(field(ids), ["4711"; 4], "{ids}");
    }
    assert_eq!(field("Groups:"), [""; 0]);
    // Its network: loopback, and that is down; no route leads anywhere.
    let network = fs::read_link(format!("{process}/ns/net")).unwrap();
    assert_ne!(network, fs::read_link(format!("/proc/{}/ns/net", world.server.pid())).unwrap());
    let devices = fs::read_to_string(format!("{process}/net/dev")).unwrap();
    let devices: Vec<&str> = devices
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, _)| name.trim())
        .collect();
    assert_eq!(devices, ["lo"]);
    // The first line names the columns.
    let routes = fs::read_to_string(format!("{process}/net/route")).unwrap();
    assert_eq!(routes.lines().skip(1).count(), 0, "{routes}");

    let answer = world.post(&json!({ "ip": "192.0.2.45" }));
    assert_eq!((answer.status, answer.outcomes()), (200, vec!["blocked"]), "{answer:?}");
    let again = world.post(&json!({ "ip": "192.0.2.45" }));
    assert_eq!((again.status, again.outcomes()), (200, vec!["already-blocked"]), "{again:?}");

    webhookd.kill().unwrap();
    until("webhookd ends", 20, || webhookd.try_wait().unwrap().is_some());
}
