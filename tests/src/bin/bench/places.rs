//! The worlds that are compared.

use std::net::Ipv4Addr;
use std::os::unix::fs::chown;
use std::time::Duration;

use serde_json::json;
use tests::world::UID;
use tests::{Engine, World};

use crate::client::{connect, exchange};

/// Daemons with the ufw engine, and as many rules of the administrator's.
pub fn ufw(rules: usize) -> World {
    let mut world = bare(rules);
    world.engine = Engine::Ufw;
    world.configure("max-blocks = 10000\nmax-new-blocks-per-minute = 100000", MANY_CONNECTIONS);
    world.start();
    world
}

/// Daemons with the nftables engine, as shipped: blocks end, and both keep an audit log.
pub fn nftables() -> World {
    let mut world = bare(0);
    world.engine = Engine::Nftables;
    // Each daemon's own, as privd goes without the right to write into the other's.
    std::fs::create_dir(world.path("audit")).unwrap();
    chown(world.path("audit"), Some(UID), Some(UID)).unwrap();
    let [privd, webhookd] = ["state/audit.ndjson", "audit/audit.ndjson"].map(|log| world.path(log));
    world.configure(
        &format!("block-for = [\"1d\", \"7d\", \"30d\", \"permanent\"]\naudit-log = \"{privd}\""),
        &format!("audit-log = \"{webhookd}\"\n{MANY_CONNECTIONS}"),
    );
    world.start();
    world
}

/// The same with as many live blocks, which came by alerts of up to 10,000.
pub fn filled(blocks: usize, addresses: &mut Addresses) -> World {
    let world = nftables();
    let mut left = blocks;
    while left > 0 {
        let count = left.min(LARGEST);
        block_all(&world, &addresses.take(count));
        left -= count;
    }
    assert_eq!(live(&world), blocks);
    world
}

/// No daemons, and as many rules.
pub fn bare(rules: usize) -> World {
    let world = World::without_daemons("ufw allow 22/tcp");
    // ufw's own format, put in front as ufw would: a thousand single runs would take minutes.
    let text = world.read("ufw/user.rules");
    let mut added = String::new();
    for rule in 0..rules {
        let address = format!("198.19.{}.{}", rule / 250, rule % 250 + 1);
        added += &format!(
            "\n### tuple ### deny any any 0.0.0.0/0 any {address} in\n-A ufw-user-input -s {address} -j DROP\n"
        );
    }
    world.write(
        "ufw/user.rules",
        &text.replacen("### RULES ###\n", &format!("### RULES ###\n{added}"), 1),
    );
    world.ufw("reload");
    world
}

/// One alert of many addresses over a new connection: how long until the answer is there, which says
/// that all of them are blocked.
pub fn block_all(world: &World, addresses: &[String]) -> Duration {
    let request = world.alert(&json!({ "ips": addresses }).to_string());
    let mut buffer = Vec::new();
    let (took, blocked) = world.kibana.inside(|| {
        let began = std::time::Instant::now();
        let answer = exchange(&mut connect(world, PORT), &request, &mut buffer);
        (began.elapsed(), answer.matches("\"outcome\":\"blocked\"").count())
    });
    let answer = String::from_utf8_lossy(&buffer);
    assert_eq!(blocked, addresses.len(), "{:.2000}\n{:.9000}", answer, world.logs());
    took
}

/// Lifts everything, so that the next round begins as the one before.
pub fn lift_all(world: &World) {
    let (words, status) = world.ctl(&["unblock", "--all", "--immune-for", "0s"]);
    assert_eq!(status, 0, "{words}");
}

/// How many blocks are in force.
pub fn live(world: &World) -> usize {
    let status = world.ctl_json("status");
    status["live_blocks"].as_u64().unwrap_or_else(|| panic!("{status}")).try_into().unwrap()
}

/// How long a command takes on the server, without the start of what enters it.
pub fn timed(world: &World, command: &str) -> Duration {
    let script = format!("s=$(date +%s%N); {command}; e=$(date +%s%N); echo $((e-s))");
    Duration::from_nanos(world.server.sh(&script).trim().parse().unwrap())
}

/// How many elements a set of nftables has; none where there is no set.
pub fn elements(world: &World, set: &str) -> usize {
    counted(world, &format!("nft list set {set} 2>/dev/null"))
}

/// How many addresses of [`Addresses`] a command lists.
pub fn counted(world: &World, list: &str) -> usize {
    let count = format!("{list} | grep -oE '198([.][0-9]+){{3}}' | wc -l");
    world.server.sh(&count).trim().parse().unwrap()
}

/// Addresses that nobody has: each is given out once.
#[derive(Default)]
pub struct Addresses(u32);

impl Addresses {
    /// The next ones.
    pub fn take(&mut self, count: usize) -> Vec<String> {
        let count = u32::try_from(count).unwrap();
        let begin = u32::from(Ipv4Addr::new(198, 18, 0, 1)) + self.0;
        self.0 += count;
        (begin..begin + count).map(|address| Ipv4Addr::from(address).to_string()).collect()
    }
}

/// From one address come as many as from many sources.
const MANY_CONNECTIONS: &str = "limits.max-connections = 1024";
/// webhookd's.
pub const PORT: u16 = 5001;
/// Addresses that one alert may have.
pub const LARGEST: usize = 10_000;
