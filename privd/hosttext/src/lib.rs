//! The texts that webhook-privd reads the host from, as types.
//!
//! Nothing here opens a file, starts a program or looks at a clock: a text goes in, a type comes
//! out, so that every parser that root trusts can be read, tested and fuzzed by itself.
//!
//! | text | module |
//! |---|---|
//! | ufw's `user.rules` and `user6.rules`: what stands in them, and the same text changed | [`rules_file`], [`mod@tuple`], [`edit`] |
//! | the comment that marks our rules | [`mark`] |
//! | `iptables -S`: whether a drop is really reached | [`chains`] |
//! | `conntrack -L`: who has a connection open | [`connections`] |
//! | `/proc/net/route`, `/proc/net/ipv6_route`, `resolv.conf`, `ufw.conf` | [`settings`] |

pub mod chains;
pub mod connections;
pub mod edit;
pub mod mark;
pub mod rules_file;
pub mod settings;
pub mod tuple;

/// Which packets a rule is about.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Direction {
    /// From the target.
    In,
    /// To the target.
    Out,
}

impl Direction {
    /// Both, in the order in which they are put in force: the last one is in front.
    pub const BOTH: [Self; 2] = [Self::Out, Self::In];
}
