//! What must never be blocked, on a host with a gateway, a resolver and a Kibana.

use serde_json::json;
use tests::World;

#[test]
fn this_hosts_surroundings_and_the_listed_networks_are_refused_with_the_reason() {
    let mut world = World::without_daemons("ufw allow 22/tcp");
    world
        .server
        .sh("ip route add default via 203.0.113.254; ip -6 route add default via 2001:db8:1::fe");
    world.write("resolv.conf", "nameserver 198.51.100.53\nnameserver 2001:db8:53::1\n");
    let resolv = world.path("resolv.conf");
    world
        .confined
        .sh(&format!("touch /tmp/x; mount --bind {resolv} $(readlink -f /etc/resolv.conf)"));
    world.configure("never-block = [\"192.0.2.0/25\", \"2001:db8:77::/48\"]", "");
    world.start();
    let before = world.ufw("status numbered");
    for (address, reason) in [
        ("127.0.0.1", "reserved"),
        ("127.9.9.9", "reserved"),
        ("0.0.0.0", "reserved"),
        ("169.254.169.254", "reserved"),
        ("224.0.0.251", "reserved"),
        ("255.255.255.255", "reserved"),
        ("::1", "reserved"),
        ("fe80::1", "reserved"),
        ("ff02::1", "reserved"),
        ("203.0.113.1", "own-address"),
        ("203.0.113.0/28", "own-address"),
        ("203.0.113.255", "own-address"),
        ("2001:db8:1::1", "own-address"),
        ("10.9.0.1", "own-address"),
        ("203.0.113.254", "gateway"),
        ("2001:db8:1::fe", "gateway"),
        ("198.51.100.53", "resolver"),
        ("198.51.100.0/24", "resolver"),
        ("2001:db8:53::1", "resolver"),
        ("192.0.2.99", "never-block"),
        ("192.0.2.0/24", "never-block"),
        ("2001:db8:77:1::9", "never-block"),
        ("64:ff9b::192.0.2.99", "never-block"),
        // Kibana has a rule of its own here, so ufw's word comes before the requester's.
        ("10.9.0.2", "ufw-allow"),
        ("198.18.0.0/23", "too-wide"),
    ] {
        let answer = world.post(&json!({ "ip": address }));
        assert_eq!((answer.status, answer.outcomes()), (422, vec!["refused"]), "{address}");
        assert_eq!(answer.json["results"][0]["reason"], reason, "{address}");
        assert!(answer.message().starts_with("Refused to block"), "{answer:?}");
    }
    assert_eq!(world.ufw("status numbered"), before);
    assert_eq!(world.post(&json!({ "ip": "192.0.2.129" })).outcomes(), ["blocked"]);
}

#[test]
fn the_requester_is_never_blocked_by_its_own_request() {
    let world = World::with(
        "",
        "ufw allow 22/tcp; ufw allow in on lan0; ufw delete allow proto tcp from 10.9.0.2 to any port 5001",
    );
    for address in ["10.9.0.2", "::ffff:10.9.0.2", "10.9.0.2/31"] {
        let answer = world.post(&json!({ "ip": address }));
        assert_eq!(answer.json["results"][0]["reason"], "requester", "{address}: {answer:?}");
    }
}

#[test]
fn the_operator_is_bound_by_protection_and_not_by_width() {
    let world = World::new();
    let (text, code) = world.ctl(&["block", "203.0.113.1"]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("an address of this host"), "{text}");
    let (text, code) = world.ctl(&["block", "198.18.0.0/15"]);
    assert_eq!(code, 0, "{text}");
}

#[test]
fn an_ipv6_host_takes_its_network_along_where_that_is_configured() {
    let world = World::with("ipv6-prefix = 64", "ufw allow 22/tcp");
    let answer = world.block("2001:db8:5::7");
    assert_eq!(answer.json["results"][0]["enforced_as"], "2001:db8:5::/64");
    assert_eq!(world.block("2001:db8:5::8").outcomes(), ["already-blocked"]);
    // The server's own address is in the attacker's network: the host alone then.
    let answer = world.block("2001:db8:1::7");
    assert_eq!(answer.json["results"][0]["enforced_as"], "2001:db8:1::7");
}

#[test]
fn a_full_table_says_which_key_to_raise() {
    let world = World::with("max-blocks = 2", "ufw allow 22/tcp");
    world.block("198.51.100.1");
    let answer = world.post(&json!({ "ips": ["198.51.100.1", "198.51.100.2", "198.51.100.3"] }));
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!(answer.outcomes(), ["already-blocked", "blocked", "unavailable"]);
    assert!(answer.message().contains("max-blocks = 2"), "{answer:?}");
}
