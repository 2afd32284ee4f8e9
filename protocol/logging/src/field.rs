//! The names of those fields that `webhookctl log` reads back; ECS 8.17, and ours under `webhookd`.

/// The moment, RFC 3339.
pub const AT: &str = "@timestamp";
/// What happened: the name of an [`Action`](crate::Action).
pub const ACTION: &str = "event.action";
/// Joins what both daemons say of one request.
pub const EVENT: &str = "event.id";
/// Why, in the words of whoever asked; of webhookd, what was answered.
pub const REASON: &str = "event.reason";
/// The address or network that it is about.
pub const SOURCE: &str = "source.address";
/// The address that asked webhookd.
pub const CLIENT: &str = "client.ip";
/// The detection rule.
pub const RULE: &str = "rule.name";
/// The user id of the process that asked webhook-privd.
pub const EFFECTIVE_USER: &str = "user.effective.id";
/// The HTTP status of an answer.
pub const STATUS: &str = "http.response.status_code";
/// The published word for what became of it; of webhookd, a list of them.
pub const OUTCOME: &str = "webhookd.outcome";
/// Why policy refused.
pub const REFUSAL: &str = "webhookd.refusal";
/// More in words.
pub const DETAIL: &str = "webhookd.detail";
/// When a block ends, RFC 3339; none for one without an end.
pub const UNTIL: &str = "webhookd.until";
/// The process that asked webhook-privd.
pub const PEER_PID: &str = "webhookd.peer.pid";
/// The verb that a peer may not use.
pub const VERB: &str = "webhookd.verb";
/// The name of the token that let in.
pub const TOKEN: &str = "webhookd.token";
/// How many addresses a request named.
pub const ADDRESSES: &str = "webhookd.addresses";
/// Documents that were left out before this one.
pub const SUPPRESSED: &str = "webhookd.suppressed";
/// What kind of documents was left out.
pub const KIND: &str = "webhookd.kind";
