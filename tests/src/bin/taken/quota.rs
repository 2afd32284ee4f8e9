//! Ways around what bounds webhookd's blocks: other networks around the same hosts, all connections at
//! once, blocks that end at once, other names of what is protected, other requesters.

use std::net::IpAddr;

use protocol::{Request, Target, Term};
use tests::frames::{block_of, encoded, mapped};
use tests::world::{KIBANA, SERVER, SERVER6};
use tests::{Peer, Random};

use crate::floods::CONNECTIONS;
use crate::raid::{Raid, address, any_address, around};

/// Whatever is blocked is counted: all of it together is bounded.
pub fn evade(raid: &Raid) {
    raid.each(
        CONNECTIONS,
        |thread| (thread, raid.served()),
        |(thread, peer), random| {
            let targets: Vec<Target> = match *thread % 4 {
                0 => {
                    let host = any_address(random);
                    (24..=32).map(|prefix| around(host, prefix)).collect()
                }
                1 => {
                    let group = random.from(0..1 << 16);
                    (64..=128)
                        .map(|prefix| format!("2001:db8:5:{group:x}::/{prefix}"))
                        .map(parsed)
                        .collect()
                }
                2 => (0..300).map(|_| any_address(random)).collect(),
                _ => (0..20).map(address).collect(),
            };
            let Request::Block(mut block) = block_of(targets.clone()) else { unreachable!() };
            block.term = Term::seconds(1);
            raid.judge(&peer.ask(Request::Block(block)), &targets);
        },
    );
}

/// Each of these names, narrow, wide and disguised, is refused whoever is said to have asked.
pub fn name_what_is_protected(raid: &Raid) {
    let hosts = [
        KIBANA.to_owned(),
        SERVER.to_owned(),
        SERVER6.to_owned(),
        "127.0.0.1".to_owned(),
        "::1".to_owned(),
        // 6to4 and NAT64 of the server and of Kibana.
        "2002:cb00:7101::1".to_owned(),
        format!("64:ff9b::{KIBANA}"),
        format!("64:ff9b::{SERVER}"),
    ];
    raid.each(
        // Those in disguise need places too.
        CONNECTIONS / 2,
        |_| raid.served(),
        |peer, random| {
            let hosts = hosts.iter().map(|host| parsed(host.clone()));
            let targets: Vec<Target> = hosts
                .flat_map(|host| {
                    let longest = host.net().max_prefix_len();
                    (longest - 24..=longest).map(move |prefix| around(host, prefix))
                })
                .collect();
            let Request::Block(mut block) = block_of(targets.clone()) else { unreachable!() };
            block.requester = requester(random);
            raid.judge(&peer.ask(Request::Block(block)), &targets);
            raid.note("asked", targets.len());
            disguise(raid, random);
        },
    );
}

fn requester(random: &mut Random) -> Option<IpAddr> {
    match random.from(0..4) {
        0 => None,
        1 => Some(KIBANA.parse().unwrap()),
        2 => Some(SERVER6.parse().unwrap()),
        _ => Some(any_address(random).net().addr()),
    }
}

/// An IPv4 address in the dress of IPv6 is no target; a connection of its own ends by it.
fn disguise(raid: &Raid, random: &mut Random) {
    let IpAddr::V4(host) = KIBANA.parse().unwrap() else { unreachable!() };
    let prefix = u8::try_from(random.from(96..129)).unwrap();
    let mut peer = Peer::at(&raid.socket);
    peer.send(&encoded(0, Request::Status));
    peer.send(&mapped(host.octets(), prefix));
    let rest = peer.rest();
    // Turned away where all places are taken.
    let answered = rest.len() > 5;
    raid.note(if answered { "disguised" } else { "turned-away" }, 1);
}

fn parsed(text: String) -> Target {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}
