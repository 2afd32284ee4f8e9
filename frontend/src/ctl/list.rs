//! `webhookctl list`: which blocks there are, which of them are asked for, and in which order.

use std::cmp::Reverse;

use clap::ValueEnum;
use protocol::{BlockInfo, List, Page, Target, Until, Untrusted};
use serde::{Serialize, Serializer};

use crate::ctl::hits::Hits;
use crate::ctl::output::{Line, Output, bad};
use crate::ctl::table::Table;
use crate::ctl::{CtlError, Done, seconds, target};
use crate::privd_client::{PrivdClient, PrivdError};
use crate::times::{self, rfc3339, until_rfc3339};

/// Which blocks, and how.
#[derive(clap::Args, Default)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Sort by target, left (what ends first), since (the oldest first), rule, reason or hits
    /// (the most first)
    #[arg(long, value_enum, value_name = "COLUMN", default_value_t, hide_possible_values = true)]
    sort: Column,
    /// Sort the other way round
    #[arg(long)]
    reverse: bool,
    /// Only blocks by alerts of the rule with exactly this name
    #[arg(long, value_name = "NAME")]
    rule: Option<String>,
    /// Only blocks with this in their reason, in upper or lower case
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Only blocks within this network
    #[arg(long, value_name = "NET", value_parser = target)]
    within: Option<Target>,
    /// Only blocks that are not in force
    #[arg(long)]
    not_in_force: bool,
    /// Only blocks that never end by themselves
    #[arg(long)]
    permanent: bool,
    /// Only blocks that end within this time: 1h, 7d
    #[arg(long, value_name = "TIME", value_parser = seconds, conflicts_with = "permanent")]
    ending_within: Option<u32>,
    /// Cut nothing, however long the lines become
    #[arg(long)]
    wide: bool,
}

const EXAMPLES: &str = "\
Examples:
  webhookctl list --sort left
  webhookctl list --rule 'SSH brute force' --sort hits
  webhookctl list --within 198.51.100.0/24 --wide
  webhookctl list --not-in-force
  webhookctl list --ending-within 1h
  webhookctl list --permanent --json | jq -r '.[].target'

HITS are packets that the kernel has dropped for a block: with ufw since it last
loaded its rules, which each change of a rule does, with nftables since
webhook-privd started; - where they are not counted.
What is marked ! is not in force: see webhookctl status.";

/// What blocks can be sorted by.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Column {
    #[default]
    Target,
    Left,
    Since,
    Rule,
    Reason,
    Hits,
}

pub(super) async fn list(
    privd: &PrivdClient,
    output: &Output,
    arguments: &Arguments,
) -> Result<Done, CtlError> {
    let mut blocks = live(privd).await?;
    let (total, now) = (blocks.len(), times::now());
    arguments.choose(&mut blocks, now);
    let targets: Vec<Target> = blocks.iter().map(|block| block.target).collect();
    let hits = Hits::read(privd, &targets).await?;
    arguments.sort(&mut blocks, &hits);
    let rows = Rows { blocks: &blocks, hits: &hits, now };
    let columns = (!arguments.wide).then(|| output.columns());
    let lines =
        if output.is_json() { Vec::new() } else { lines(&blocks, total, &hits, now, columns) };
    output.print(&rows, &lines)?;
    Ok(Done::Well)
}

/// Every live block, in the order of their addresses.
pub(super) async fn live(privd: &PrivdClient) -> Result<Vec<BlockInfo>, PrivdError> {
    let mut blocks: Vec<BlockInfo> = Vec::new();
    loop {
        let after = blocks.last().map(|block| block.target);
        let page = privd.list(List { after, limit: Page::MAX_BLOCKS }).await?;
        let more = page.more && !page.blocks.is_empty();
        blocks.extend(page.blocks);
        if !more {
            return Ok(blocks);
        }
    }
}

impl Arguments {
    fn choose(&self, blocks: &mut Vec<BlockInfo>, now: u64) {
        let reason = self.reason.as_deref().map(str::to_lowercase);
        blocks.retain(|block| self.wants(block, reason.as_deref(), now));
    }

    fn sort(&self, blocks: &mut [BlockInfo], hits: &Hits) {
        // The order of addresses stays where the rest is equal.
        match self.sort {
            Column::Target => {}
            Column::Left => blocks.sort_by_key(|block| end(block.until)),
            Column::Since => blocks.sort_by_key(|block| block.since),
            Column::Rule => blocks.sort_by(|one, other| one.rule_name.cmp(&other.rule_name)),
            Column::Reason => blocks.sort_by(|one, other| one.reason.cmp(&other.reason)),
            Column::Hits => blocks.sort_by_key(|block| Reverse(hits.of(block.target))),
        }
        if self.reverse {
            blocks.reverse();
        }
    }

    fn wants(&self, block: &BlockInfo, reason: Option<&str>, now: u64) -> bool {
        let within = |network: Target| network.net().contains(&block.target.net());
        let ending = |time: u32| end(block.until).saturating_sub(now) <= u64::from(time);
        self.rule.as_deref().is_none_or(|name| *block.rule_name == *name)
            && reason.is_none_or(|part| block.reason.to_lowercase().contains(part))
            && self.within.is_none_or(within)
            && self.ending_within.is_none_or(ending)
            && (!self.not_in_force || !block.in_force)
            && (!self.permanent || block.until == Until::Permanent)
    }
}

const fn end(until: Until) -> u64 {
    match until {
        Until::At(seconds) => seconds,
        Until::Permanent => u64::MAX,
    }
}

fn lines(
    blocks: &[BlockInfo],
    total: usize,
    hits: &Hits,
    now: u64,
    columns: Option<usize>,
) -> Vec<Line> {
    let shown = blocks.len();
    let missing = blocks.iter().filter(|block| !block.in_force).count();
    let mut lines: Vec<Line> = vec![
        match (total, shown) {
            (0, _) => "Nothing is blocked.".to_owned(),
            (_, 0) => format!("0 of {total} blocks are what was asked for."),
            (1, _) => "1 block".to_owned(),
            _ if shown == total => format!("{total} blocks"),
            _ => format!("{shown} of {total} blocks"),
        }
        .into(),
    ];
    if missing > 0 {
        let words = format!("{missing} NOT IN FORCE, marked !: see `webhookctl status`");
        lines.push(bad(&words).into());
    }
    if shown == 0 {
        return lines;
    }
    let mut table = Table::new(["TARGET", "LEFT", "HITS", "RULE", "REASON"], 2).counting(2);
    for block in blocks {
        let target = block.target.to_string();
        table.push([
            if block.in_force { target } else { bad(&format!("!{target}")) },
            times::left_short(block.until, now),
            hits.of(block.target).map_or_else(|| "-".to_owned(), |hits| hits.to_string()),
            or_dash(&block.rule_name),
            or_dash(&block.reason),
        ]);
    }
    lines.extend(table.lines(columns));
    lines
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { Untrusted(text).to_string() }
}

/// All as JSON, made one by one while they are printed, and only then: there may be a million.
struct Rows<'a> {
    blocks: &'a [BlockInfo],
    hits: &'a Hits,
    now: u64,
}

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.blocks.iter().map(|block| Row::new(block, self.hits, self.now)))
    }
}

/// One block as JSON.
#[derive(Serialize)]
pub(super) struct Row {
    target: String,
    since: String,
    until: String,
    /// None: permanent.
    seconds_left: Option<u64>,
    in_force: bool,
    /// None: not counted.
    hits: Option<u64>,
    reason: String,
    rule_name: String,
    alert_id: String,
    requester: Option<String>,
    peer_uid: u32,
    peer_pid: i32,
    offences: u32,
}

impl Row {
    pub(super) fn new(block: &BlockInfo, hits: &Hits, now: u64) -> Self {
        Self {
            target: block.target.to_string(),
            since: rfc3339(block.since),
            until: until_rfc3339(block.until),
            seconds_left: match block.until {
                Until::At(end) => Some(end.saturating_sub(now)),
                Until::Permanent => None,
            },
            in_force: block.in_force,
            hits: hits.of(block.target),
            reason: block.reason.to_string(),
            rule_name: block.rule_name.to_string(),
            alert_id: block.alert_id.to_string(),
            requester: block.requester.map(|address| address.to_string()),
            peer_uid: block.peer_uid,
            peer_pid: block.peer_pid,
            offences: block.offences,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use clap::Parser;
    use protocol::Text;

    use super::*;
    use crate::fake_privd::block_info;

    const NOW: u64 = 1_790_000_000;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn block(target: &str, left: Option<u64>, rule: &str, reason: &str) -> BlockInfo {
        BlockInfo {
            target: target.parse().unwrap(),
            until: left.map_or(Until::Permanent, |left| Until::At(NOW.saturating_add(left))),
            rule_name: Text::truncated(rule),
            reason: Text::truncated(reason),
            ..block_info(0)
        }
    }

    fn some() -> Vec<BlockInfo> {
        let missing = BlockInfo {
            in_force: false,
            since: NOW - 60,
            ..block("198.51.100.9", Some(60), "", "Port scan")
        };
        vec![
            block("192.0.2.0/28", None, "b", "by hand"),
            missing,
            block("198.51.100.77", Some(7_200), "a", "failures"),
            block("2001:db8::7", Some(3_600), "b", ""),
        ]
    }

    fn hits() -> Hits {
        [("192.0.2.0/28", 1), ("198.51.100.77", 30)]
            .map(|(target, packets)| (target.parse().unwrap(), packets))
            .into_iter()
            .collect()
    }

    fn chosen(line: &str) -> Vec<String> {
        let words = ["list"].into_iter().chain(line.split_whitespace());
        let arguments = Command::parse_from(words).arguments;
        let mut blocks = some();
        arguments.choose(&mut blocks, NOW);
        arguments.sort(&mut blocks, &hits());
        blocks.iter().map(|block| block.target.to_string()).collect()
    }

    fn text(blocks: &[BlockInfo], total: usize, columns: Option<usize>) -> Vec<String> {
        lines(blocks, total, &hits(), NOW, columns).iter().map(Line::plain).collect()
    }

    #[test]
    fn blocks_are_chosen_and_sorted_as_they_are_asked_for() {
        let all = ["192.0.2.0/28", "198.51.100.9", "198.51.100.77", "2001:db8::7"];
        let [network, nine, other, six] = all;
        for (line, expected) in [
            ("", &all[..]),
            ("--reverse", &[six, other, nine, network]),
            ("--sort left", &[nine, six, other, network]),
            ("--sort since", &[nine, network, other, six]),
            ("--sort rule", &[nine, other, network, six]),
            ("--sort reason", &[six, nine, network, other]),
            ("--sort hits", &[other, network, nine, six]),
            ("--sort hits --reverse", &[six, nine, network, other]),
            ("--rule b", &[network, six]),
            ("--rule B", &[]),
            ("--reason SCAN", &[nine]),
            ("--within 198.51.100.0/24", &[nine, other]),
            ("--within 192.0.2.1", &[]),
            ("--not-in-force", &[nine]),
            ("--permanent", &[network]),
            ("--ending-within 1h", &[nine, six]),
            ("--ending-within 1h --within 2001:db8::/32", &[six]),
        ] {
            assert_eq!(chosen(line), expected, "{line}");
        }
    }

    #[test]
    fn the_table_tells_what_is_left_and_marks_what_is_not_in_force() {
        let expected = [
            "4 blocks",
            "1 NOT IN FORCE, marked !: see `webhookctl status`",
            "TARGET         LEFT       HITS  RULE  REASON",
            "192.0.2.0/28   permanent     1  b     by hand",
            "!198.51.100.9  1m            -  -     Port scan",
            "198.51.100.77  2h           30  a     failures",
            "2001:db8::7    1h            -  b     -",
        ];
        assert_eq!(text(&some(), 4, Some(80)), expected);
        assert_eq!(text(&some()[..1], 4, Some(80))[0], "1 of 4 blocks");
        assert_eq!(text(&[], 4, Some(80)), ["0 of 4 blocks are what was asked for."]);
        assert_eq!(text(&[], 0, Some(80)), ["Nothing is blocked."]);
    }

    #[test]
    fn the_longest_that_there_can_be_fits_in_80_columns_and_hides_nothing_in_a_wide_table() {
        let longest = "fd00:1111:2222:3333:4444:5555:6666:7776/127";
        let (rule, reason) = ("r".repeat(64), "w".repeat(200));
        let blocks = [BlockInfo { in_force: false, ..block(longest, None, &rule, &reason) }];
        let lines = text(&blocks, 1, Some(80));
        assert!(lines.iter().all(|line| line.chars().count() <= 80), "{lines:#?}");
        assert!(lines[3].contains(longest) && lines[3].ends_with('…'), "{lines:#?}");
        let lines = text(&blocks, 1, None);
        assert!(lines[3].contains(&rule) && lines[3].ends_with(&reason), "{lines:#?}");
    }

    #[test]
    fn a_hundred_thousand_rows_are_made_in_no_time() {
        let mut blocks: Vec<BlockInfo> = (0..100_000_u32)
            .map(|host| {
                let address = std::net::Ipv4Addr::from(0x0b00_0000 | host);
                block(&address.to_string(), Some(u64::from(host)), "SSH brute force", "a scan")
            })
            .collect();
        let began = Instant::now();
        let arguments = Arguments { sort: Column::Reason, ..Arguments::default() };
        arguments.choose(&mut blocks, NOW);
        arguments.sort(&mut blocks, &hits());
        let lines = lines(&blocks, blocks.len(), &hits(), NOW, Some(80));
        let took = began.elapsed();
        assert_eq!(lines.len(), 100_002);
        // 0.3 s on two cores, little optimised.
        assert!(took < Duration::from_secs(2), "{took:?}");
    }

    #[test]
    fn the_json_of_a_block_tells_its_end_its_hits_and_its_offences() {
        let row =
            |hits: &Hits| serde_json::to_value(Row::new(&block_info(2), hits, NOW + 600)).unwrap();
        let expected = serde_json::json!({
            "target": "198.51.100.0/24",
            "since": "2026-09-21T14:13:20Z",
            "until": "2026-09-21T15:13:20Z",
            "seconds_left": 3000,
            "in_force": true,
            "hits": null,
            "reason": "",
            "rule_name": "SSH brute force",
            "alert_id": "x-1",
            "requester": "10.9.0.2",
            "peer_uid": 4711,
            "peer_pid": 12,
            "offences": 2,
        });
        assert_eq!(row(&hits()), expected);
        let counted = [("198.51.100.0/24".parse().unwrap(), 3)].into_iter().collect();
        assert_eq!(row(&counted)["hits"], 3);
    }
}
