//! The units, where systemd runs.

use crate::ctl::check::finding::{Finding, Findings};
use crate::ctl::check::host::Host;
use crate::ctl::outside::shown;
use crate::ctl::program::run;

/// What systemd says of one unit.
#[derive(Debug, Default)]
struct Unit {
    id: String,
    load: String,
    file: String,
    active: String,
    restarts: u64,
}

pub(super) fn units(_: &Host) -> Findings {
    if !Host::is_booted() {
        return Ok(vec![Finding::note(
            "systemd does not run here: start both daemons some other way",
        )]);
    }
    let properties = "--property=Id,LoadState,UnitFileState,ActiveState,NRestarts";
    let printed = run("systemctl", &[&["show", properties], UNITS].concat())?;
    let mut findings: Vec<Finding> = parse(&printed.text).iter().flat_map(judge).collect();
    if findings.is_empty() {
        findings.push(Finding::ok("enabled and active, both daemons, both sockets"));
    }
    Ok(findings)
}

/// `systemctl show`: blocks of `Name=value` lines, an empty line between two.
fn parse(text: &str) -> Vec<Unit> {
    let blocks = text.split("\n\n").filter(|block| !block.trim().is_empty());
    let units = blocks.map(|block| {
        let mut unit = Unit::default();
        for (name, value) in block.lines().filter_map(|line| line.split_once('=')) {
            let value = shown(value);
            match name {
                "Id" => unit.id = value,
                "LoadState" => unit.load = value,
                "UnitFileState" => unit.file = value,
                "ActiveState" => unit.active = value,
                "NRestarts" => unit.restarts = value.parse().unwrap_or_default(),
                _ => {}
            }
        }
        unit
    });
    units.collect()
}

fn judge(unit: &Unit) -> Option<Finding> {
    let id = &unit.id;
    // It runs once, ahead of ufw, and not at all where nothing was ever kept.
    let once = id == RECOVER;
    let journal = format!("journalctl -u {id} -n 20");
    if unit.load == "masked" {
        let mend = format!("systemctl unmask {id}\nsystemctl enable --now {id}");
        Some(Finding::problem(format!("{id} is masked: nothing can start it"), mend))
    } else if unit.load != "loaded" {
        let what = format!("{id} is {}", unit.load);
        Some(Finding::problem(what, "install the package webhookd again"))
    } else if unit.file != "enabled" {
        let what = format!("{id} is {}: it does not come back after a reboot", unit.file);
        Some(Finding::problem(what, format!("systemctl enable {id}")))
    } else if unit.active == "failed" || (unit.active != "active" && !once) {
        let mend = format!("{journal}\nsystemctl restart {id}");
        Some(Finding::problem(format!("{id} is {}", unit.active), mend))
    } else if unit.restarts > MANY_RESTARTS {
        let restarts = unit.restarts;
        Some(Finding::note(format!("{id} was started again {restarts} times: {journal}")))
    } else {
        None
    }
}

/// What `systemd-analyze security` counts.
pub(super) fn exposure(_: &Host) -> Findings {
    if !Host::is_booted() {
        return Ok(vec![Finding::note("not counted: systemd does not run here")]);
    }
    let mut findings = Vec::new();
    for (unit, most) in [("webhookd.service", 0.3), ("webhook-privd.service", 1.5)] {
        let printed = run("systemd-analyze", &["security", "--no-pager", unit])?;
        findings.push(match level(&printed.text) {
            Some(level) if level <= most => Finding::ok(format!("{unit} {level:.1}")),
            Some(level) => Finding::note(format!(
                "{unit} {level:.1}, {most:.1} as shipped with systemd 252: `systemctl cat {unit}` \
                 shows what was added"
            )),
            None => Finding::note(format!("{unit}: {}", printed.complaint())),
        });
    }
    Ok(findings)
}

/// `→ Overall exposure level for UNIT: 0.2 SAFE`
fn level(report: &str) -> Option<f64> {
    let line = report.lines().find(|line| line.contains("exposure level for"))?;
    line.split_once(": ")?.1.split_whitespace().next()?.parse().ok()
}

/// The main process of a unit.
pub(super) fn main_pid(unit: &str) -> Option<u32> {
    property(unit, "MainPID")?.parse().ok().filter(|pid| *pid != 0)
}

/// The capabilities that privd's unit permits, as systemd names them.
pub(super) fn capabilities_of_privd() -> Option<String> {
    property("webhook-privd.service", "CapabilityBoundingSet")
}

/// Whether a unit keeps its daemon from confining itself. An empty list permits all; one that begins
/// with ~ names what is refused.
pub(super) fn forbids_landlock(unit: &str) -> bool {
    let calls = property(&format!("{unit}.service"), "SystemCallFilter").unwrap_or_default();
    let named = calls.split_whitespace().any(|call| call.trim_start_matches('~') == LANDLOCK_CALL);
    !calls.is_empty() && named == calls.starts_with('~')
}

fn property(unit: &str, name: &str) -> Option<String> {
    let asked =
        Host::is_booted().then(|| run("systemctl", &["show", "--value", "--property", name, unit]));
    let printed = asked?.ok()?;
    printed.success.then(|| printed.text.trim().to_owned())
}

const UNITS: &[&str] = &[
    "webhookd.socket",
    "webhookd.service",
    "webhook-privd.socket",
    "webhook-privd.service",
    RECOVER,
];
const RECOVER: &str = "webhook-privd-recover.service";
/// The last of three.
const LANDLOCK_CALL: &str = "landlock_restrict_self";
/// More is no accident.
const MANY_RESTARTS: u64 = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::check::finding::State;

    #[test]
    fn each_state_of_a_unit_is_judged() {
        let text = "Id=a.service\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled\nNRestarts=3\n\n\
            Id=b.service\nLoadState=not-found\nActiveState=inactive\n\n\
            Id=c.socket\nLoadState=loaded\nActiveState=active\nUnitFileState=disabled\n\n\
            Id=d.service\nLoadState=loaded\nActiveState=failed\nUnitFileState=enabled\n\n\
            NRestarts=4\nId=e.service\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled\n\n\
            Id=f.service\nLoadState=masked\nActiveState=inactive\nUnitFileState=masked\n\n\
            Id=webhook-privd-recover.service\nLoadState=loaded\nActiveState=inactive\nUnitFileState=enabled\n";
        let judged: Vec<Option<(State, String)>> = parse(text)
            .iter()
            .map(|unit| judge(unit).map(|finding| (finding.state, finding.message)))
            .collect();
        let problem = |words: &str| Some((State::Problem, words.to_owned()));
        assert_eq!(judged[0], None);
        assert_eq!(judged[1], problem("b.service is not-found"));
        let disabled = "c.socket is disabled: it does not come back after a reboot";
        assert_eq!(judged[2], problem(disabled));
        assert_eq!(judged[3], problem("d.service is failed"));
        assert_eq!(judged[4].as_ref().unwrap().0, State::Note);
        assert_eq!(judged[5], problem("f.service is masked: nothing can start it"));
        assert_eq!((judged.len(), &judged[6]), (7, &None));
    }

    #[test]
    fn the_exposure_is_read_from_the_last_line_of_the_report() {
        let report =
            "  NAME  DESCRIPTION  EXPOSURE\n\n→ Overall exposure level for x.service: 1.4 OK :-)\n";
        assert_eq!(level(report), Some(1.4));
        assert_eq!(level("Unit x.service not found."), None);
    }
}
