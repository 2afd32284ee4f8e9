//! The page about one target, for people.

use protocol::{BlockInfo, Element, Outcome, Refusal, Target, Text, Untrusted};

use crate::ctl::nftables::set_of;
use crate::ctl::output::{bad, good, heading};
use crate::ctl::show::way::Named;
use crate::ctl::show::{Held, Seen};
use crate::times;

pub(super) fn lines(seen: &Seen<'_>) -> Vec<String> {
    let mut lines = vec![headline(seen)];
    if let Some(block) = &seen.shown.block {
        lines.extend(block_lines(block, seen));
    }
    lines.extend(ufw_lines(seen));
    match seen.shown.offences {
        0 => {}
        1 => lines.push(row("offences", "1 earlier block ended by itself")),
        many => lines.push(row("offences", &format!("{many} earlier blocks ended by themselves"))),
    }
    if let Some(end) = seen.shown.immune_until {
        let end = times::told(end, seen.now);
        lines.push(row("unblocked", &format!("by hand: no alert can block it until {end}")));
    }
    lines.push(row("an alert", &judged(seen)));
    lines
}

fn headline(seen: &Seen<'_>) -> String {
    let target = seen.target;
    match (&seen.shown.block, seen.shut_out_by()) {
        (Some(block), _) if block.in_force => {
            heading(&format!("{target} is blocked by webhookd{}.", around(block, target)))
        }
        (Some(block), _) => bad(&format!(
            "{target} is to be blocked by webhookd{}, but that is NOT in force: see `webhookctl \
             status`.",
            around(block, target)
        )),
        (None, Some(named)) => heading(&format!(
            "{target} is blocked, not by webhookd but by rule {} of ufw: {}.",
            named.position, named.rule
        )),
        (None, None) if seen.way.as_ref().is_some_and(|way| way.denies_some) => heading(&format!(
            "{target} is not blocked by webhookd, but ufw denies some of what it sends: see the \
             other rules."
        )),
        (None, None) => heading(&format!("{target} is not blocked.")),
    }
}

/// Where the block is wider than what was asked about.
fn around(block: &BlockInfo, target: Target) -> String {
    if block.target == target {
        String::new()
    } else {
        format!(", in the block of {}", block.target)
    }
}

fn block_lines(block: &BlockInfo, seen: &Seen<'_>) -> Vec<String> {
    let now = seen.now;
    let text =
        |text: &str| if text.is_empty() { "-".to_owned() } else { Untrusted(text).to_string() };
    let mut lines = vec![
        row("since", &times::told(block.since, now)),
        row("until", times::until(block.until, now).trim_start_matches("until ")),
        row("reason", &text(&block.reason)),
        row("rule", &text(&block.rule_name)),
    ];
    if !block.alert_id.is_empty() {
        lines.push(row("alert", &text(&block.alert_id)));
    }
    let asked = block.requester.map_or_else(
        || format!("webhookctl (uid {}, pid {})", block.peer_uid, block.peer_pid),
        |address| format!("{address} through webhookd"),
    );
    lines.push(row("asked by", &asked));
    let verified = match seen.status.verified_at {
        // It was read back when it was made, too.
        at if block.in_force => times::told(at.unwrap_or_default().max(block.since), now),
        Some(at) => times::told(at, now),
        None => "not yet".to_owned(),
    };
    let found = if block.in_force { good("in force") } else { bad("NOT in force") };
    lines.push(row("verified", &format!("{verified} by webhook-privd: {found}")));
    lines.extend(match &seen.held {
        Held::Rules => rule_lines(block, seen),
        Held::Element(found) => element_lines(block, found.as_ref()),
        Held::Nothing => Vec::new(),
    });
    lines
}

fn rule_lines(block: &BlockInfo, seen: &Seen<'_>) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(way) = &seen.way {
        lines.push(row(
            "in ufw",
            &match (&way.ours, way.let_in_by) {
                // For exactly this source webhookd adds none of its own.
                (None, _) => seen.shut_out_by().map_or_else(
                    || bad("no rule of webhookd's is there now"),
                    |theirs| format!("the administrator's {}", told(theirs)),
                ),
                (Some(ours), Some(before)) if before.position < ours.position => bad(&format!(
                    "{}, but rule {} lets some of it in before: {before}",
                    told(ours),
                    before.position
                )),
                (Some(ours), _) => told(ours),
            },
        ));
    }
    let hits = seen.hits.of(block.target);
    let counted = hits.map(|hits| dropped(hits, "ufw last loaded its rules"));
    lines.push(row("in kernel", &counted.unwrap_or_else(|| "packets are not counted".to_owned())));
    lines
}

fn element_lines(block: &BlockInfo, found: Result<&Option<Element>, &Text>) -> Vec<String> {
    let set = format!("set {} of table inet webhookd", set_of(block.target));
    let found = match found {
        Err(why) => return vec![row("in nftables", &format!("not told: {}", Untrusted(why)))],
        Ok(None) => return vec![row("in nftables", &bad(&format!("not in {set} now")))],
        Ok(Some(found)) => found,
    };
    let end = found.seconds_left.map_or_else(
        || "without a timeout".to_owned(),
        |left| format!("with a timeout in {}", times::in_words(left)),
    );
    vec![
        row("in nftables", &format!("{set}, {end}")),
        row("in kernel", &dropped(found.packets, "webhook-privd put it there")),
    ]
}

fn dropped(packets: u64, since: &str) -> String {
    let plural = if packets == 1 { "" } else { "s" };
    format!("{packets} packet{plural} dropped since {since}")
}

/// Other people's rules about it.
fn ufw_lines(seen: &Seen<'_>) -> Vec<String> {
    let Some(way) = &seen.way else {
        let why = match seen.held {
            Held::Rules => "ufw's rules cannot be read",
            Held::Element(_) | Held::Nothing => "ufw, which may have some, is not on here",
        };
        return vec![row("other rules", why)];
    };
    let mut label = "other rules";
    let mut lines = Vec::new();
    for named in way.about.iter().filter(|named| !named.ours).take(MOST_RULES) {
        lines.push(row(label, &told(named)));
        label = "";
    }
    let more = way.about.iter().filter(|named| !named.ours).count().saturating_sub(MOST_RULES);
    if more > 0 {
        lines.push(row("", &format!("and {more} more: see `ufw status numbered`")));
    }
    lines
}

fn told(named: &Named) -> String {
    format!("rule {}: {}", named.position, named.rule)
}

/// What would become of an alert about it now.
fn judged(seen: &Seen<'_>) -> String {
    let verdict = &seen.shown.verdict;
    let detail = Untrusted(&verdict.detail).to_string();
    let more = if detail.is_empty() { String::new() } else { format!(" ({detail})") };
    let what = match &verdict.outcome {
        Outcome::AlreadyBlocked(_) => "would change nothing, it is blocked already".to_owned(),
        Outcome::Blocked(enforced) | Outcome::WouldBlock(enforced) => {
            let wider = if enforced.target == seen.target {
                String::new()
            } else {
                format!(" as {}", enforced.target)
            };
            let until = times::until(enforced.until, seen.now);
            let observed =
                if seen.status.enforce { "" } else { ", if webhookd did not only observe" };
            format!("would block it{wider}, {until}{observed}")
        }
        // It need not be listed there.
        Outcome::Refused(Refusal::NeverBlock)
            if seen.shown.immune_until.is_some() && detail != Refusal::NeverBlock.name() =>
        {
            return "would be refused until then".to_owned();
        }
        Outcome::Refused(refusal) => format!("would be refused: it is {}", refusal.explanation()),
        other => format!("would be told: {}", other.name()),
    };
    format!("{what}{more}")
}

fn row(label: &str, text: &str) -> String {
    format!("{label:<13}{text}")
}

/// Beyond that ufw itself is the better list.
const MOST_RULES: usize = 10;

#[cfg(test)]
mod tests {
    use protocol::{Enforced, Shown, Status, Until, Verdict};

    use super::*;
    use crate::ctl::rules::Rule;
    use crate::ctl::show::Answer;
    use crate::ctl::show::way::Way;
    use crate::fake_privd::{block_info, status};
    use crate::times::local;

    const BLOCK: &str =
        "### tuple ### deny any any 0.0.0.0/0 any 198.51.100.0/24 in comment=776562686f6f6b643a\n";
    const PORT: &str = "### tuple ### allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in\n";
    const OTHER: &str = "### tuple ### deny tcp 25 0.0.0.0/0 any 198.51.100.7 in\n";
    const SINCE: u64 = 1_790_000_000;

    fn target() -> Target {
        "198.51.100.7".parse().unwrap()
    }

    fn shown(block: Option<BlockInfo>, outcome: Outcome, detail: &str) -> Shown {
        let verdict = Verdict { target: target(), outcome, detail: Text::truncated(detail) };
        Shown { block, offences: 0, immune_until: None, verdict }
    }

    fn blocked() -> Shown {
        let enforced = Enforced { target: target(), until: Until::Permanent };
        shown(Some(block_info(2)), Outcome::AlreadyBlocked(enforced), "")
    }

    /// The page and its JSON.
    fn told(shown: Shown, rules: Option<&str>) -> (Vec<String>, serde_json::Value) {
        told_where(Held::Rules, shown, rules)
    }

    fn told_where(
        held: Held,
        shown: Shown,
        rules: Option<&str>,
    ) -> (Vec<String>, serde_json::Value) {
        let rules = rules.map(Rule::parse_all);
        let seen = Seen {
            target: target(),
            way: rules.as_ref().map(|rules| Way::of(target(), rules)),
            held,
            hits: [("198.51.100.0/24".parse().unwrap(), 3)].into_iter().collect(),
            now: SINCE + 600,
            shown,
            status: Status { verified_at: Some(SINCE + 599), ..status() },
        };
        let lines = lines(&seen).into_iter();
        let lines = lines.map(|line| anstream::adapter::strip_str(&line).to_string()).collect();
        (lines, serde_json::to_value(Answer::new(&seen)).unwrap())
    }

    #[test]
    fn a_block_is_told_with_its_rule_its_time_and_its_reason() {
        let shown = Shown { offences: 2, ..blocked() };
        let (page, json) = told(shown, Some(&[BLOCK, PORT, OTHER].concat()));
        let at = local;
        let expected = [
            "198.51.100.7 is blocked by webhookd, in the block of 198.51.100.0/24.",
            &format!("since        {} (10 minutes ago)", at(SINCE)),
            &format!("until        {} (in 50 minutes)", at(SINCE + 3_600)),
            "reason       -",
            "rule         SSH brute force",
            "alert        x-1",
            "asked by     10.9.0.2 through webhookd",
            &format!("verified     {} (1 second ago) by webhook-privd: in force", at(SINCE + 599)),
            "in ufw       rule 1: deny from 198.51.100.0/24",
            "in kernel    3 packets dropped since ufw last loaded its rules",
            "other rules  rule 3: deny proto tcp from 198.51.100.7 to any port 25",
            "offences     2 earlier blocks ended by themselves",
            "an alert     would change nothing, it is blocked already",
        ];
        assert_eq!(page, expected);
        assert_eq!((&json["blocked"], &json["by"]), (&true.into(), &"webhookd".into()));
        assert_eq!((&json["offences"], &json["block"]["hits"]), (&2.into(), &3.into()));
        assert_eq!(json["rules"][1]["position"], 3);
    }

    #[test]
    fn a_block_of_the_nftables_engine_is_told_with_its_set_and_what_ufw_says_beside_it() {
        let element = |seconds_left| Ok(Some(Element { packets: 1, seconds_left }));
        let rules = [PORT, OTHER].concat();
        let (page, json) = told_where(Held::Element(element(Some(3_005))), blocked(), Some(&rules));
        let expected = [
            "in nftables  set v4_24 of table inet webhookd, with a timeout in 50 minutes 5 seconds",
            "in kernel    1 packet dropped since webhook-privd put it there",
            "other rules  rule 2: deny proto tcp from 198.51.100.7 to any port 25",
            "an alert     would change nothing, it is blocked already",
        ];
        assert_eq!(page[8..], expected);
        assert_eq!(json["element"], serde_json::json!({ "set": "v4_24", "seconds_left": 3_005 }));
        let of = |found| told_where(Held::Element(found), blocked(), None);
        let (page, json) = of(element(None));
        assert!(page[8].ends_with("webhookd, without a timeout"), "{page:#?}");
        assert!(page[10].starts_with("other rules  ufw, which may have some, is not on"));
        assert!(json["element"]["seconds_left"].is_null() && json["rules"].is_null());
        let (page, json) = of(Ok(None));
        assert_eq!(page[8], "in nftables  not in set v4_24 of table inet webhookd now");
        assert!(json["element"].is_null());
        let (page, _) = of(Err(Text::truncated("nf_tables: a\nb")));
        assert_eq!(page[8], r"in nftables  not told: nf_tables: a\nb");
    }

    #[test]
    fn a_block_that_does_not_work_is_told() {
        let mut missing = blocked();
        missing.block.as_mut().unwrap().in_force = false;
        let (page, json) = told(missing, Some(PORT));
        assert!(page[0].contains("NOT in force: see `webhookctl status`"), "{page:#?}");
        assert!(page.iter().any(|line| line.ends_with("no rule of webhookd's is there now")));
        assert_eq!((&json["blocked"], &json["by"]), (&false.into(), &serde_json::Value::Null));
        let (page, _) = told(blocked(), Some(&[PORT, BLOCK].concat()));
        let words = "but rule 1 lets some of it in before: allow proto tcp from any to any port 22";
        assert!(page.iter().any(|line| line.ends_with(words)), "{page:#?}");
    }

    #[test]
    fn a_rule_of_the_administrators_is_named_where_webhookd_has_no_block() {
        let theirs = "### tuple ### reject any any 0.0.0.0/0 any 198.51.0.0/16 in\n";
        let unseen = || shown(None, Outcome::Unavailable, "the table is full");
        let (page, json) = told(unseen(), Some(&[theirs, PORT].concat()));
        let expected = [
            "198.51.100.7 is blocked, not by webhookd but by rule 1 of ufw: reject from 198.51.0.0/16.",
            "other rules  rule 1: reject from 198.51.0.0/16",
            "an alert     would be told: unavailable (the table is full)",
        ];
        assert_eq!(page, expected);
        assert_eq!((&json["blocked"], &json["by"]), (&true.into(), &"administrator".into()));
        let (page, json) = told(unseen(), Some(PORT));
        assert_eq!(page[0], "198.51.100.7 is not blocked.");
        assert_eq!(json["blocked"], false);
        let (page, json) = told(unseen(), None);
        assert!(page[1].starts_with("other rules  ufw's rules cannot be read"), "{page:#?}");
        assert!(json["rules"].is_null());
    }

    #[test]
    fn a_deny_of_the_administrators_that_does_the_work_is_named_in_its_place() {
        let theirs = "### tuple ### deny any any 0.0.0.0/0 any 198.51.100.0/24 in\n";
        let (page, _) = told(blocked(), Some(&[theirs, PORT].concat()));
        let words = "in ufw       the administrator's rule 1: deny from 198.51.100.0/24";
        assert!(page.iter().any(|line| line == words), "{page:#?}");
    }

    #[test]
    fn who_is_denied_some_ports_is_not_called_not_blocked() {
        let unseen = || shown(None, Outcome::Unavailable, "");
        for rules in [[OTHER, PORT].concat(), [PORT, OTHER].concat()] {
            let (page, _) = told(unseen(), Some(&rules));
            assert!(page[0].contains("not blocked by webhookd, but ufw denies some"), "{page:#?}");
        }
    }

    #[test]
    fn a_block_was_verified_when_it_was_made() {
        let mut young = blocked();
        young.block.as_mut().unwrap().since = SINCE + 600;
        let (page, _) = told(young, Some(BLOCK));
        let words = format!("verified     {} (now)", local(SINCE + 600));
        assert!(page.iter().any(|line| line.starts_with(&words)), "{page:#?}");
    }

    #[test]
    fn what_an_alert_would_be_told_is_told_of_those_never_seen_too() {
        let last = |shown| told(shown, Some(PORT)).0.pop().unwrap();
        let refused = shown(None, Outcome::Refused(Refusal::Gateway), "via eth0");
        let words = "would be refused: it is this host's default gateway (via eth0)";
        assert_eq!(last(refused.clone()), format!("an alert     {words}"));
        assert_eq!(told(refused, None).1["refused_because"], "gateway");
        let wider = "198.51.100.0/24".parse().unwrap();
        let enforced = Enforced { target: wider, until: Until::Permanent };
        let would = shown(None, Outcome::WouldBlock(enforced), "");
        assert_eq!(
            last(would.clone()),
            "an alert     would block it as 198.51.100.0/24, permanent"
        );
        let json = told(would.clone(), None).1;
        assert_eq!(json["verdict"]["enforced_as"], "198.51.100.0/24");
        let immune = Shown { immune_until: Some(SINCE + 660), ..would };
        let (page, _) = told(immune, Some(PORT));
        let words = format!(
            "unblocked    by hand: no alert can block it until {} (in 1 minute)",
            local(SINCE + 660)
        );
        assert!(page.contains(&words), "{page:#?}");
    }

    #[test]
    fn what_was_unblocked_by_hand_is_not_called_listed() {
        let last = |detail| {
            let refused = shown(None, Outcome::Refused(Refusal::NeverBlock), detail);
            let immune = Shown { immune_until: Some(SINCE + 660), ..refused };
            told(immune, Some(PORT)).0.pop().unwrap()
        };
        let until_then = "an alert     would be refused until then";
        assert_eq!(last("198.51.100.7 was unblocked by hand"), until_then);
        assert!(last("never-block").ends_with("it is listed in never-block (never-block)"));
    }
}
