//! The table of what documents say: each action with the category, type and outcome that the Elastic
//! Common Schema has for it ("Event categorization fields", ECS 8.17).
//!
//! webhook-privd alone says `ip-*`, webhookd alone `webhook-*`: so nothing counts twice. None is an
//! `ssh_login`, and none comes from `system.auth`: a detection rule that counts these would count
//! its own effects.

/// What happened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Action {
    /// A block came into force.
    Blocked,
    /// It was in force already.
    AlreadyBlocked,
    /// Observe mode: nothing was changed.
    WouldBlock,
    /// Policy forbids it.
    BlockRefused,
    /// Too many new blocks a minute.
    BlockOverQuota,
    /// ufw failed, or the block could not be read back.
    BlockFailed,
    /// Not finished yet.
    BlockPending,
    /// Nothing can be blocked now.
    BlockUnavailable,
    /// A block was lifted before its time.
    Unblocked,
    /// There was no block to lift.
    NotBlocked,
    /// A block ended at its time.
    Expired,
    /// A block could not be lifted.
    UnblockFailed,
    /// A block that was missing from the firewall was put back.
    Restored,
    /// It could not be put back.
    RestoreFailed,
    /// A block that the ledger did not know was taken over from the firewall's rules.
    Adopted,
    /// A peer asked for what its account may not.
    RequestForbidden,
    /// A connection to webhook-privd was closed: a stranger, or one too many.
    PeerRefused,
    /// Documents of webhook-privd were left out.
    BlocksSuppressed,
    /// A request whose addresses were put to webhook-privd.
    RequestAccepted,
    /// A request of somebody who may post that was none: path, method, type or body.
    RequestRejected,
    /// Somebody who may not post.
    AuthFailed,
    /// A connection to webhookd was closed unheard.
    ConnectionRefused,
    /// webhookd serves.
    Started,
    /// webhookd ended.
    Stopped,
    /// webhookd read its files again.
    Reloaded,
    /// Documents of webhookd were left out.
    RequestsSuppressed,
}

/// One action in the words of ECS.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    /// `event.action`.
    pub(crate) name: &'static str,
    /// `event.category`.
    pub(crate) category: &'static [&'static str],
    /// `event.type`: each is expected for one of the categories.
    pub(crate) kind: &'static [&'static str],
    /// `event.outcome`, unless the document says otherwise.
    pub(crate) outcome: &'static str,
}

impl Action {
    /// Every action there is.
    pub const ALL: [Self; 26] = [
        Self::Blocked,
        Self::AlreadyBlocked,
        Self::WouldBlock,
        Self::BlockRefused,
        Self::BlockOverQuota,
        Self::BlockFailed,
        Self::BlockPending,
        Self::BlockUnavailable,
        Self::Unblocked,
        Self::NotBlocked,
        Self::Expired,
        Self::UnblockFailed,
        Self::Restored,
        Self::RestoreFailed,
        Self::Adopted,
        Self::RequestForbidden,
        Self::PeerRefused,
        Self::BlocksSuppressed,
        Self::RequestAccepted,
        Self::RequestRejected,
        Self::AuthFailed,
        Self::ConnectionRefused,
        Self::Started,
        Self::Stopped,
        Self::Reloaded,
        Self::RequestsSuppressed,
    ];

    /// The action with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.name() == name)
    }

    /// What documents call it: `event.action`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    pub(crate) const fn row(self) -> Row {
        match self {
            Self::Blocked => row("ip-blocked", CHANGE, &["denied", "creation"], SUCCESS),
            Self::AlreadyBlocked => {
                row("ip-already-blocked", VERDICT, &["denied", "info"], SUCCESS)
            }
            Self::WouldBlock => row("ip-would-block", VERDICT, &["allowed", "info"], SUCCESS),
            // What was asked for is not so: a failure, also where that is as it should be.
            Self::BlockRefused => row("ip-block-refused", VERDICT, &["allowed", "info"], FAILURE),
            Self::BlockOverQuota => {
                row("ip-block-over-quota", VERDICT, &["allowed", "info"], FAILURE)
            }
            // ECS expects "error" for neither category.
            Self::BlockFailed => row("ip-block-failed", VERDICT, &["info"], FAILURE),
            Self::BlockPending => row("ip-block-pending", VERDICT, &["info"], UNKNOWN),
            Self::BlockUnavailable => row("ip-block-unavailable", VERDICT, &["info"], FAILURE),
            Self::Unblocked => row("ip-unblocked", END, &["deletion", "allowed"], SUCCESS),
            Self::NotBlocked => row("ip-not-blocked", END, &["info"], SUCCESS),
            Self::Expired => row("ip-expired", END, &["deletion", "allowed"], SUCCESS),
            Self::UnblockFailed => row("ip-unblock-failed", END, &["info"], FAILURE),
            Self::Restored => row("ip-restored", CHANGE, &["denied", "creation"], SUCCESS),
            Self::RestoreFailed => row("ip-restore-failed", VERDICT, &["info"], FAILURE),
            Self::Adopted => row("ip-adopted", END, &["info"], SUCCESS),
            Self::RequestForbidden => row("ip-request-forbidden", NETWORK, &["denied"], FAILURE),
            Self::PeerRefused => {
                row("ip-peer-refused", NETWORK, &["connection", "denied"], FAILURE)
            }
            Self::BlocksSuppressed => row("ip-lines-suppressed", NETWORK, &["info"], UNKNOWN),
            Self::RequestAccepted => row("webhook-accepted", WEB, &["access"], SUCCESS),
            Self::RequestRejected => row("webhook-rejected", WEB, &["error"], FAILURE),
            Self::AuthFailed => row("webhook-auth-failed", &["authentication"], &["info"], FAILURE),
            Self::ConnectionRefused => {
                row("webhook-connection-refused", NETWORK, &["connection", "denied"], FAILURE)
            }
            Self::Started => row("webhook-started", &["process"], &["start"], SUCCESS),
            Self::Stopped => row("webhook-stopped", &["process"], &["end"], SUCCESS),
            Self::Reloaded => row("webhook-reloaded", &["configuration"], &["change"], SUCCESS),
            Self::RequestsSuppressed => row("webhook-lines-suppressed", WEB, &["info"], UNKNOWN),
        }
    }
}

const fn row(
    name: &'static str,
    category: &'static [&'static str],
    kind: &'static [&'static str],
    outcome: &'static str,
) -> Row {
    Row { name, category, kind, outcome }
}

const CHANGE: &[&str] = &["network", "intrusion_detection", "configuration"];
const VERDICT: &[&str] = &["network", "intrusion_detection"];
const END: &[&str] = &["configuration", "network"];
const NETWORK: &[&str] = &["network"];
const WEB: &[&str] = &["web"];
const SUCCESS: &str = "success";
const FAILURE: &str = "failure";
const UNKNOWN: &str = "unknown";

#[cfg(test)]
mod tests {
    use super::*;

    /// The types that ECS expects for a category ("Allowed values: event.category").
    fn expected(category: &str) -> &'static [&'static str] {
        match category {
            "authentication" => &["start", "end", "info"],
            "configuration" => &["access", "change", "creation", "deletion", "info"],
            "intrusion_detection" => &["allowed", "denied", "info"],
            "network" => {
                &["access", "allowed", "connection", "denied", "end", "info", "protocol", "start"]
            }
            "process" => &["access", "change", "end", "info", "start"],
            "web" => &["access", "error", "info"],
            other => panic!("{other} is no category"),
        }
    }

    #[test]
    fn each_action_is_one_of_its_own_in_the_words_of_ecs() {
        let mut names = Vec::new();
        for action in Action::ALL {
            let row = action.row();
            names.push(row.name);
            assert_eq!(Action::named(row.name), Some(action));
            assert!(row.name.starts_with("ip-") || row.name.starts_with("webhook-"));
            assert!([SUCCESS, FAILURE, UNKNOWN].contains(&row.outcome), "{}", row.name);
            assert!(!row.category.is_empty() && !row.kind.is_empty(), "{}", row.name);
            for kind in row.kind {
                let fits = row.category.iter().any(|category| expected(category).contains(kind));
                assert!(fits, "{kind} is no type of {:?}: {}", row.category, row.name);
            }
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Action::ALL.len());
    }
}
