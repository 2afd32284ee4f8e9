//! `webhookctl list`.

use protocol::{BlockInfo, List, Page, Untrusted};
use serde::Serialize;

use crate::ctl::output::Output;
use crate::ctl::{CtlError, Done};
use crate::privd_client::PrivdClient;
use crate::times::{local, rfc3339, until_local, until_rfc3339};

/// One block as JSON.
#[derive(Serialize)]
pub(super) struct Row {
    target: String,
    since: String,
    until: String,
    in_force: bool,
    reason: String,
    rule_name: String,
    alert_id: String,
    requester: Option<String>,
    peer_uid: u32,
    peer_pid: i32,
    offences: u32,
}

impl Row {
    pub(super) fn new(block: &BlockInfo) -> Self {
        Self {
            target: block.target.to_string(),
            since: rfc3339(block.since),
            until: until_rfc3339(block.until),
            in_force: block.in_force,
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

pub(super) async fn list(privd: &PrivdClient, output: &Output) -> Result<Done, CtlError> {
    let mut blocks: Vec<BlockInfo> = Vec::new();
    loop {
        let after = blocks.last().map(|block| block.target);
        let page = privd.list(List { after, limit: Page::MAX_BLOCKS }).await?;
        let more = page.more && !page.blocks.is_empty();
        blocks.extend(page.blocks);
        if !more {
            break;
        }
    }
    let rows: Vec<Row> = blocks.iter().map(Row::new).collect();
    let mut lines = vec![format!("{:<24} {:<19}  {:<19}  WHY", "ADDRESS", "SINCE", "UNTIL")];
    lines.extend(blocks.iter().map(|block| {
        let mark = if block.in_force { "" } else { " (NOT IN FORCE: see `webhookctl status`)" };
        format!(
            "{:<24} {:<19}  {:<19}  {}{mark}",
            block.target.to_string(),
            local(block.since),
            until_local(block.until),
            why(block)
        )
    }));
    if blocks.is_empty() {
        lines = vec!["Nothing is blocked.".to_owned()];
    }
    output.print(&rows, &lines)?;
    Ok(Done::Well)
}

/// The rule and the reason, whichever there is.
pub(super) fn why(block: &BlockInfo) -> String {
    let (rule, reason) = (Untrusted(&block.rule_name), Untrusted(&block.reason));
    match (block.rule_name.is_empty(), block.reason.is_empty()) {
        (false, false) => format!("{rule}: {reason}"),
        (false, true) => rule.to_string(),
        (true, false) => reason.to_string(),
        (true, true) => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use protocol::Text;

    use super::*;
    use crate::fake_privd::block_info;

    #[test]
    fn the_json_of_a_block_tells_its_end_and_its_offences() {
        let row = serde_json::to_value(Row::new(&block_info(2))).unwrap();
        let expected = serde_json::json!({
            "target": "198.51.100.0/24",
            "since": "2026-09-21T14:13:20Z",
            "until": "2026-09-21T15:13:20Z",
            "in_force": true,
            "reason": "",
            "rule_name": "SSH brute force",
            "alert_id": "x-1",
            "requester": "10.9.0.2",
            "peer_uid": 4711,
            "peer_pid": 12,
            "offences": 2,
        });
        assert_eq!(row, expected);
    }

    #[test]
    fn why_is_the_rule_and_the_reason_whichever_there_is() {
        let mut block = block_info(0);
        assert_eq!(why(&block), "SSH brute force");
        block.reason = Text::truncated("scan");
        assert_eq!(why(&block), "SSH brute force: scan");
        block.rule_name = Text::default();
        assert_eq!(why(&block), "scan");
        block.reason = Text::default();
        assert_eq!(why(&block), "-");
    }
}
