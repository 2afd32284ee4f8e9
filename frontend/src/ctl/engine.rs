//! Which engine holds the blocks.

use protocol::Status;

/// As `firewall` of privd.toml has it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Engine {
    Ufw,
    Nftables,
}

impl Engine {
    /// The one that webhook-privd runs with.
    pub(super) fn of(status: &Status) -> Self {
        Self::named(&status.firewall)
    }

    /// By its name in privd.toml; what is no engine's name is no choice either, and webhook-privd
    /// says so.
    pub(super) fn named(name: &str) -> Self {
        if name == "nftables" { Self::Nftables } else { Self::Ufw }
    }
}
