//! `--recover`: the step ahead of the network at boot. A crash in the middle of writing a rules file
//! would otherwise cost every rule in it, the one that lets the administrator in included; and
//! nftables forgets its tables, where ufw has its files.

use std::fmt::Display;
use std::path::Path;

use protocol::{Target, Untrusted};
use slog::{Logger, error, info, warn};

use crate::batch::marked;
use crate::{StartError, clock};
use firewall::nft::Nft;
use firewall::ufw::files::{self, RULES, RulesFiles, Unreadable};
use firewall::{Firewall, Mark};
use ledger::{Ledger, Live};
use policy::config::{Config, Engine};

/// Restores ufw's rules files where they are damaged; with nftables, puts the ledger's blocks in force.
///
/// # Errors
/// A damaged file could not be restored, or the blocks are not in force. The one does not stop the
/// other.
pub fn run(config: &Path, log: &Logger) -> Result<(), StartError> {
    // A mistake in the configuration must cost neither the administrator's rules nor the blocks.
    let config = Config::load(config).unwrap_or_else(|problem| {
        let config = Config::salvage(config);
        warn!(log, "of the configuration only this is used"; "why" => %problem,
            "firewall" => config.firewall.name(), "enforce" => config.enforce,
            "ledger" => %Untrusted(&config.ledger.0.display().to_string()));
        config
    });
    let restored = restore_rules(&config, log);
    // Second: a ledger over which redb panics costs no rules.
    let loaded = load_blocks(&config, log);
    if let (Err(_), Err(problem)) = (&restored, &loaded) {
        error!(log, "{problem}");
    }
    restored.and(loaded)
}

/// Restores what is damaged from its verified copy; whole files are left alone.
fn restore_rules(config: &Config, log: &Logger) -> Result<(), StartError> {
    if !RulesFiles::are_there() {
        return Ok(());
    }
    let copies = RulesFiles::new(&config.ledger.0);
    let mut outcome = Ok(());
    for (which, file) in RULES.iter().enumerate() {
        let damage: Box<dyn Display> = match files::read(which) {
            Ok(_) => {
                info!(log, "whole"; "file" => file);
                continue;
            }
            Err(Unreadable::Damaged(damage)) => Box::new(damage),
            Err(Unreadable::Failed(error)) => Box::new(error),
        };
        match copies.restore(which) {
            Ok(()) => {
                warn!(log, "restored from the verified copy"; "file" => file, "why" => %damage)
            }
            Err(error) => {
                warn!(log, "damaged, and not restored"; "file" => file, "why" => %damage, "error" => %error);
                outcome = Err(StartError::NotRecovered);
            }
        }
    }
    outcome
}

/// Has nftables hold what the ledger says and nothing else, as the daemon does when it starts.
fn load_blocks(config: &Config, log: &Logger) -> Result<(), StartError> {
    let path = &config.ledger.0;
    if config.firewall != Engine::Nftables || !config.enforce || !path.exists() {
        return Ok(());
    }
    // Open to the end: a daemon that starts meanwhile changes nothing, and is started again.
    let (_ledger, records) = match Ledger::open(path) {
        Err(problem) if problem.is_in_use() => {
            info!(log, "webhook-privd runs, and sees to its blocks itself");
            return Ok(());
        }
        opened => opened?,
    };
    if !records.adopted {
        return Ok(());
    }
    let due = due(records.blocks.iter(), clock::now().wall);
    Nft::new(path, log.clone()).load(&due).map_err(StartError::NotLoaded)?;
    info!(log, "blocks are in nftables again"; "blocks" => due.len());
    Ok(())
}

/// Those of a ledger's blocks that are to be in the firewall now, as it takes them.
pub fn due<'a>(blocks: impl Iterator<Item = &'a Live>, wall: u64) -> Vec<(Target, Mark)> {
    let live = blocks.filter(|live| !live.is_over(wall));
    live.map(marked).collect()
}

#[cfg(test)]
mod tests {
    use protocol::{BlockInfo, EventId, Text, Until};

    use super::*;

    fn live(target: &str, until: Until) -> Live {
        let info = BlockInfo {
            target: target.parse().unwrap(),
            since: 0,
            until,
            reason: Text::default(),
            rule_name: Text::default(),
            alert_id: Text::default(),
            peer_uid: 0,
            peer_pid: 0,
            requester: None,
            offences: 0,
            in_force: false,
        };
        Live { info, event: EventId(7), of_this_run: false }
    }

    #[test]
    fn what_is_over_is_not_put_into_the_firewall() {
        let ends = [Until::At(99), Until::At(100), Until::At(101), Until::Permanent];
        let blocks: Vec<Live> = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::/64"]
            .into_iter()
            .zip(ends)
            .map(|(target, until)| live(target, until))
            .collect();
        let due: Vec<Target> = due(blocks.iter(), 100).into_iter().map(|due| due.0).collect();
        assert_eq!(due, [blocks[2].info.target, blocks[3].info.target]);
    }
}
