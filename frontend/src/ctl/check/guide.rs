//! What the guide's set-up leaves behind, denies that come too late among it.

use crate::ctl::check::finding::{Finding, Findings};
use crate::ctl::check::host::Host;
use crate::ctl::engine::Engine;
use crate::ctl::guide::Leftover;
use crate::ctl::rules::{Rule, name};
use crate::ctl::ufw;

pub(super) fn leftovers(host: &Host) -> Findings {
    let mut findings: Vec<Finding> = Leftover::all()?
        .into_iter()
        .map(|left| {
            if left.harmless {
                Finding::note(format!("{}; {}", left.what, left.mend))
            } else {
                Finding::problem(left.what, left.mend)
            }
        })
        .collect();
    // Without ufw there are none.
    if host.engine() == Engine::Ufw || ufw::is_enabled().unwrap_or(false) {
        findings.extend(late_denies(&Rule::all()?, host.engine()));
    }
    if findings.is_empty() {
        findings.push(Finding::ok("nothing of its set-up is left"));
    }
    Ok(findings)
}

/// ufw appends what it is told to deny, behind what lets the same packets in.
fn late_denies(rules: &[Rule], engine: Engine) -> Vec<Finding> {
    let late = Rule::late_denies(rules);
    let rest = late.len().saturating_sub(MOST_DENIES);
    let mut findings: Vec<Finding> = late
        .iter()
        .take(MOST_DENIES)
        .map(|rule| {
            let (net, position) = (name(&rule.source), rule.position);
            let what = format!("rule {position}, `{rule}`, stands behind one that lets {net} in");
            if engine == Engine::Nftables {
                // Which drops ahead of all of ufw's, and leaves the rule as it is.
                let block = format!("webhookctl block {net} --for permanent");
                return Finding::problem(what, format!("{block}\nufw delete {rule}"));
            }
            let ahead = if rule.may_be_the_guides() {
                "webhookctl init --from-guide --take-over (moves all such ahead)".to_owned()
            } else {
                format!("webhookctl block {net} --for permanent (moves it ahead)")
            };
            Finding::problem(what, format!("{ahead}, or\nufw delete {rule}"))
        })
        .collect();
    if rest > 0 {
        let what = format!("{rest} further denies stand behind rules that let their sources in");
        findings.push(Finding::problem(what, "the same for each of `ufw status numbered`"));
    }
    findings
}

/// Each has two lines; a longer list hides the rest.
const MOST_DENIES: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_of_late_denies_is_cut() {
        let denies = (0..12)
            .map(|host| format!("### tuple ### deny any any 0.0.0.0/0 any 198.51.100.{host} in\n"));
        let text = "### tuple ### allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in\n".to_owned()
            + &denies.collect::<String>();
        let findings = late_denies(&Rule::parse_all(&text), Engine::Ufw);
        assert_eq!(findings.len(), 11);
        let first = &findings[0];
        assert!(first.message.contains("rule 2, `deny from 198.51.100.0`,"), "{findings:?}");
        assert!(first.mend.as_ref().unwrap().contains("init --from-guide --take-over"));
        assert!(findings[10].message.starts_with("2 further denies"));
    }

    #[test]
    fn what_the_guide_cannot_have_made_is_moved_one_by_one() {
        let rules = "### tuple ### allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in\n\
            ### tuple ### deny any any 0.0.0.0/0 any 198.51.100.0/24 in\n";
        let findings = late_denies(&Rule::parse_all(rules), Engine::Ufw);
        let mend = findings[0].mend.as_ref().unwrap();
        assert!(mend.starts_with("webhookctl block 198.51.100.0/24 --for permanent"), "{mend}");
        assert!(mend.ends_with("ufw delete deny from 198.51.100.0/24"), "{mend}");
        let findings = late_denies(&Rule::parse_all(rules), Engine::Nftables);
        let both = "webhookctl block 198.51.100.0/24 --for permanent\n\
            ufw delete deny from 198.51.100.0/24";
        assert_eq!(findings[0].mend.as_deref(), Some(both));
    }
}
