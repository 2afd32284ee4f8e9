//! The denies that the guide's script made: which there are, which do not work, and how they become
//! webhookd's.

use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::net::IpAddr;

use protocol::{
    Block, MAX_TARGETS, Outcome, Target, Targets, Term, Text, Untrusted, Verdict, canonical,
};
use serde::Serialize;

use crate::ctl::explained;
use crate::ctl::output::progress;
use crate::ctl::outside::Unreadable;
use crate::ctl::rules::Rule;
use crate::privd_client::{PrivdClient, PrivdError, new_event};

/// A deny that the guide's script may have made.
#[derive(Debug, Serialize)]
pub(super) struct Deny {
    pub(super) address: IpAddr,
    /// As `ufw status numbered` counted it.
    pub(super) position: usize,
    /// Whether it stands ahead of all that lets the address in.
    pub(super) works: bool,
    /// What became of it; None: nobody asked.
    pub(super) outcome: Option<&'static str>,
    #[serde(skip)]
    fate: Fate,
}

/// What became of a deny.
#[derive(Debug, Default, PartialEq)]
enum Fate {
    /// Nobody asked, or there was no answer.
    #[default]
    Open,
    Ours,
    /// Observe mode.
    Observed,
    /// It stays the administrator's, and why.
    Refused(String),
    Failed(String),
}

/// What is said at the end.
pub(super) struct Ending {
    pub(super) lines: Vec<String>,
    /// What was asked for was done.
    pub(super) well: bool,
}

impl Deny {
    /// All of them, in ufw's order. `::ffff:192.0.2.1` is left out: such a rule meets no packet.
    pub(super) fn all() -> Result<Vec<Self>, Unreadable> {
        Ok(Self::among(&Rule::all()?))
    }

    fn among(rules: &[Rule]) -> Vec<Self> {
        let late: Vec<usize> = Rule::late_denies(rules).iter().map(|rule| rule.position).collect();
        let theirs = rules.iter().filter(|rule| {
            rule.may_be_the_guides() && canonical(rule.source.addr()) == rule.source.addr()
        });
        let denies = theirs.map(|rule| Self {
            address: rule.source.addr(),
            position: rule.position,
            works: late.binary_search(&rule.position).is_err(),
            outcome: None,
            fate: Fate::Open,
        });
        denies.collect()
    }

    /// For people, before they decide.
    pub(super) fn list(denies: &[Self]) -> Vec<String> {
        if denies.is_empty() {
            return vec!["No deny is left that the guide's script could have made.".to_owned()];
        }
        let late = denies.iter().filter(|deny| !deny.works).count();
        let count = denies.len();
        let mut lines = vec![format!(
            "Denies that the guide's script may have made: {count}, not working: {late}"
        )];
        lines.extend(denies.iter().take(MOST_LINES).map(|deny| {
            let works =
                if deny.works { "" } else { ", does not work: what lets it in stands ahead" };
            format!("  {} (rule {}{works})", deny.address, deny.position)
        }));
        if count > MOST_LINES {
            let rest = count.saturating_sub(MOST_LINES);
            lines.push(format!("  and {rest} more: `ufw status numbered`"));
        }
        lines
    }
}

/// Makes them webhookd's, where the operator wants that.
pub(super) async fn take_over(
    privd: &PrivdClient,
    denies: &mut [Deny],
    told_to: bool,
    asks: bool,
) -> Ending {
    if denies.is_empty() {
        return Ending { lines: Vec::new(), well: true };
    }
    let wanted = told_to || (asks && consents(denies));
    if !wanted {
        let line =
            format!("To make them webhookd's, moved ahead of all that lets them in: {AGAIN}");
        return Ending { lines: vec![line], well: true };
    }
    let mut lines = Vec::new();
    let count = denies.len();
    let mut done = 0_usize;
    for part in denies.chunks_mut(MAX_TARGETS) {
        if let Err(error) = adopt(privd, part).await {
            lines.push(format!("{}.", explained(&error)));
            lines.push(format!("Start it with `systemctl start webhook-privd`, then: {AGAIN}"));
            break;
        }
        done = done.saturating_add(part.len());
        if count > MAX_TARGETS {
            progress(&format!("{done} of {count} denies asked for"));
        }
    }
    lines.extend(told(denies));
    let well = denies.iter().all(|deny| matches!(deny.fate, Fate::Ours | Fate::Refused(_)));
    Ending { lines, well }
}

/// Asked for with their rules: the rule goes where the block's own stands.
async fn adopt(privd: &PrivdClient, denies: &mut [Deny]) -> Result<(), PrivdError> {
    let targets: Vec<Target> = denies.iter().map(|deny| Target::host(deny.address)).collect();
    // As many as a request carries, and never none.
    let Ok(targets) = Targets::try_from(targets) else { return Ok(()) };
    let request = Block {
        event: new_event(),
        requester: None,
        targets,
        term: Some(Term::Permanent),
        reason: Text::truncated("from the guide's script"),
        rule_name: Text::default(),
        alert_id: Text::default(),
        adopt: true,
    };
    let verdicts = privd.block(request).await?;
    for (deny, verdict) in denies.iter_mut().zip(verdicts) {
        deny.outcome = Some(verdict.outcome.name());
        deny.fate = fate(&verdict);
    }
    Ok(())
}

fn fate(verdict: &Verdict) -> Fate {
    let detail = match Untrusted(&verdict.detail).to_string() {
        detail if detail.is_empty() => detail,
        detail => format!(" ({detail})"),
    };
    match &verdict.outcome {
        Outcome::Blocked(_) | Outcome::AlreadyBlocked(_) => Fate::Ours,
        Outcome::WouldBlock(_) => Fate::Observed,
        Outcome::Refused(refusal) => {
            Fate::Refused(format!("it is {}{detail}", refusal.explanation()))
        }
        other => Fate::Failed(format!("{}{detail}", other.name())),
    }
}

fn told(denies: &[Deny]) -> Vec<String> {
    let mut lines = Vec::new();
    let count = |fate: &Fate| denies.iter().filter(|deny| deny.fate == *fate).count();
    match count(&Fate::Ours) {
        0 => {}
        ours => lines.push(format!(
            "Taken over: {ours}, permanent, ahead of all that lets them in; see `webhookctl list`."
        )),
    }
    match count(&Fate::Observed) {
        0 => {}
        observed => lines.push(format!(
            "Not taken over: {observed}, because webhook-privd observes only (enforce = false)."
        )),
    }
    lines.extend(denies.iter().filter_map(|deny| match &deny.fate {
        Fate::Refused(why) => Some(format!("{} stays as it was: {why}.", deny.address)),
        Fate::Failed(why) => Some(format!("{} could not be taken over: {why}.", deny.address)),
        Fate::Open | Fate::Ours | Fate::Observed => None,
    }));
    lines
}

/// Asks at the terminal. What is no clear yes is a no.
fn consents(denies: &[Deny]) -> bool {
    for line in Deny::list(denies) {
        progress(&line);
    }
    progress(
        "Make them webhookd's: moved ahead, with its comment, lifted by `webhookctl unblock`?",
    );
    let _ = write!(io::stderr().lock(), "[y/N] ");
    let mut answer = String::new();
    let read = io::stdin().lock().take(MOST_ANSWER).read_line(&mut answer);
    read.is_ok() && ["y", "yes"].contains(&answer.trim().to_lowercase().as_str())
}

/// Whether somebody is there who can be asked: not a script, nor who reads the report from a file.
pub(super) fn somebody_is_there() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal() && io::stderr().is_terminal()
}

const AGAIN: &str = "sudo webhookctl init --from-guide --take-over";
/// A longer list hides what follows it.
const MOST_LINES: usize = 20;
/// Bytes of an answer.
const MOST_ANSWER: u64 = 64;

#[cfg(test)]
mod tests {
    use protocol::{Enforced, Refusal, Reply, Until};

    use super::*;
    use crate::fake_privd::FakePrivd;

    const RULES: &str = "### tuple ### deny any any 0.0.0.0/0 any 198.51.100.1 in\n\
        ### tuple ### allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in\n\
        ### tuple ### deny any any 0.0.0.0/0 any 198.51.100.2 in\n\
        ### tuple ### deny any any 0.0.0.0/0 any 198.51.100.3 in comment=41\n\
        ### tuple ### deny any any ::/0 any ::ffff:198.51.100.4 in\n";

    fn denies() -> Vec<Deny> {
        Deny::among(&Rule::parse_all(RULES))
    }

    fn verdict(outcome: Outcome) -> Verdict {
        let target = "198.51.100.1".parse().unwrap();
        Verdict { target, outcome, detail: Text::truncated("rule\n7") }
    }

    #[test]
    fn what_the_script_may_have_made_is_listed_with_what_does_not_work() {
        assert_eq!(
            Deny::list(&denies()),
            [
                "Denies that the guide's script may have made: 2, not working: 1",
                "  198.51.100.1 (rule 1)",
                "  198.51.100.2 (rule 3, does not work: what lets it in stands ahead)",
            ]
        );
        assert!(Deny::list(&[])[0].starts_with("No deny is left"));
    }

    #[tokio::test]
    async fn nothing_is_taken_over_unasked() {
        let privd = PrivdClient::new(std::path::Path::new("/none"), std::time::Duration::ZERO);
        let ending = take_over(&privd, &mut denies(), false, false).await;
        assert!(ending.well && ending.lines[0].ends_with(AGAIN), "{:?}", ending.lines);
        let ending = take_over(&privd, &mut denies(), true, false).await;
        let lines = ending.lines.join("\n");
        assert!(!ending.well && lines.contains("systemctl start webhook-privd"), "{lines}");
    }

    #[tokio::test]
    async fn each_deny_is_asked_for_as_one_to_adopt() {
        let target = "198.51.100.1".parse().unwrap();
        let enforced = Enforced { target, until: Until::Permanent };
        let verdicts = vec![
            verdict(Outcome::Blocked(enforced)),
            verdict(Outcome::Refused(Refusal::NeverBlock)),
        ];
        let fake = FakePrivd::answering(Reply::Block(verdicts));
        let privd = PrivdClient::new(&fake.socket(), std::time::Duration::ZERO);
        let ending = take_over(&privd, &mut denies(), true, false).await;
        let protocol::Request::Block(block) = fake.asked() else { panic!() };
        assert!(block.adopt && block.term == Some(Term::Permanent));
        assert_eq!(&*block.reason, "from the guide's script");
        assert_eq!(block.targets.as_slice().len(), 2);
        assert!(ending.well && ending.lines[0].starts_with("Taken over: 1,"), "{:?}", ending.lines);
        let refused = "198.51.100.2 stays as it was: it is listed in never-block (rule\\n7).";
        assert_eq!(ending.lines[1], refused);
    }

    #[test]
    fn a_failure_is_no_success_and_observing_neither() {
        for (outcome, expected) in [
            (Outcome::Unverified, Fate::Failed("unverified (rule\\n7)".into())),
            (
                Outcome::WouldBlock(Enforced {
                    target: "198.51.100.1".parse().unwrap(),
                    until: Until::Permanent,
                }),
                Fate::Observed,
            ),
        ] {
            assert_eq!(fate(&verdict(outcome)), expected);
        }
    }
}
