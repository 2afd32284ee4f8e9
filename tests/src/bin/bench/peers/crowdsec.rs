//! Debian's CrowdSec and its firewall bouncer, without the part that reads logs.

use std::fs;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use serde_json::json;
use tests::{World, until};

use crate::peers::dropped_all;
use crate::places;

/// A server that runs both.
pub struct CrowdSec {
    world: World,
    daemons: Vec<Child>,
    cscli: String,
    /// How often it was told to block.
    pub imports: usize,
    /// How often it then missed some.
    pub missed: usize,
}

impl CrowdSec {
    /// Starts what is unpacked in a folder, with everything it writes in the world's own.
    pub fn start(folder: &Path) -> Self {
        let world = places::bare(0);
        let programs = folder.join("usr/bin");
        let (programs, at) = (programs.display(), world.path("crowdsec"));
        world.server.sh(&format!(
            "mkdir -p {at}/data {at}/hub {at}/notifications {at}/plugins
             cp -r {from}/etc/crowdsec/profiles.yaml {from}/etc/crowdsec/simulation.yaml {at}",
            from = folder.display()
        ));
        fs::write(format!("{at}/config.yaml"), CONFIG.replace("AT", &at)).unwrap();
        fs::write(format!("{at}/bouncer.yaml"), BOUNCER).unwrap();
        let cscli = format!("{programs}/cscli -c {at}/config.yaml");
        world.server.sh(&format!(
            "{cscli} machines add bench --password bench --force -f {at}/client.yaml \
               --url http://127.0.0.1:8080
             {cscli} bouncers add bench -k {KEY}"
        ));
        let mut started = Self { world, daemons: Vec::new(), cscli, imports: 0, missed: 0 };
        started.spawn("crowdsec.log", &format!("{programs}/crowdsec -c {at}/config.yaml -no-cs"));
        started.world.wait_for("Local API listening", "crowdsec.log");
        let bouncer = format!("{programs}/crowdsec-firewall-bouncer -c {at}/bouncer.yaml");
        started.spawn("bouncer.log", &bouncer);
        until("the bouncer has made its table", 30, || {
            let set = "nft list set ip crowdsec crowdsec-blacklists";
            started.world.server.run(&["sh", "-c", set]).status.success()
        });
        started
    }

    fn spawn(&mut self, log: &str, program: &str) {
        let words: Vec<&str> = program.split(' ').collect();
        let log = fs::File::create(self.world.path(log)).unwrap();
        let mut command = self.world.server.command(&words);
        self.daemons.push(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
    }

    /// Imports all: how long until the kernel drops them, unless it misses some, or takes none at all
    /// ("database is locked").
    pub fn block(&mut self, addresses: &[String]) -> Option<Duration> {
        self.imports += 1;
        let took = self.import(addresses);
        self.missed += usize::from(took.is_none());
        self.lift_all();
        took
    }

    fn import(&self, addresses: &[String]) -> Option<Duration> {
        let decision = |address: &String| json!({ "duration": "24h", "reason": "bench", "scope": "ip", "type": "ban", "value": address });
        let decisions: Vec<_> = addresses.iter().map(decision).collect();
        self.world.write("decisions.json", &json!(decisions).to_string());
        let before = self.told();
        let began = Instant::now();
        let import =
            format!("{} decisions import -i {}", self.cscli, self.world.path("decisions.json"));
        self.world.server.run(&["sh", "-c", &import]).status.success().then_some(())?;
        // To list a large set takes the time that is measured: the bouncer's words come first.
        dropped_all(began, addresses.len(), || self.told() - before)?;
        dropped_all(began, addresses.len(), || dropped(&self.world))
    }

    /// How many it said that it added.
    fn told(&self) -> usize {
        let log = self.world.read("bouncer.log");
        let counts = log.lines().filter_map(|line| line.split_once(" decisions added"));
        let number = |words: &str| words.rsplit('"').next().unwrap().parse::<usize>().unwrap();
        counts.map(|(words, _)| number(words)).sum()
    }

    /// Lifts everything, so that the next round begins as the one before.
    fn lift_all(&self) {
        until("CrowdSec has lifted everything", 120, || {
            let lift = format!("{} decisions delete --all", self.cscli);
            self.world.server.run(&["sh", "-c", &lift]).status.success()
                && dropped(&self.world) == 0
        });
    }
}

fn dropped(world: &World) -> usize {
    places::elements(world, "ip crowdsec crowdsec-blacklists")
}

impl Drop for CrowdSec {
    fn drop(&mut self) {
        for daemon in &mut self.daemons {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

const KEY: &str = "0123456789abcdef0123456789abcdef";

/// As Debian ships it, but for places, what reports to its makers, and a write-ahead log: without one
/// an import of ten thousand is many times slower, and fails now and then ("database is locked").
const CONFIG: &str = "
common: {daemonize: false, log_media: stdout, log_level: info}
config_paths: {config_dir: AT, data_dir: AT/data, hub_dir: AT/hub, index_path: AT/hub/.index.json, simulation_path: AT/simulation.yaml, notification_dir: AT/notifications, plugin_dir: AT/plugins}
cscli: {output: raw}
db_config: {type: sqlite, db_path: AT/data/crowdsec.db, log_level: info, use_wal: true, flush: {max_items: 5000, max_age: 7d}}
api:
  client: {credentials_path: AT/client.yaml}
  server: {log_level: info, listen_uri: 127.0.0.1:8080, profiles_path: AT/profiles.yaml, console_path: AT/console.yaml}
prometheus: {enabled: false}
";

/// It asks every second, where it is shipped with ten: asking more often it was seen to miss some of
/// an import for good.
const BOUNCER: &str = "
mode: nftables
update_frequency: 1s
daemonize: false
log_mode: stdout
log_level: info
api_url: http://127.0.0.1:8080/
api_key: 0123456789abcdef0123456789abcdef
disable_ipv6: false
deny_action: DROP
supported_decisions_types: [ban]
blacklists_ipv4: crowdsec-blacklists
blacklists_ipv6: crowdsec6-blacklists
nftables:
  ipv4: {enabled: true, set-only: false, table: crowdsec, chain: crowdsec-chain}
  ipv6: {enabled: true, set-only: false, table: crowdsec6, chain: crowdsec6-chain}
prometheus: {enabled: false}
";
