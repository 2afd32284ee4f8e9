//! The two engines of webhook-privd. What it promises holds with both: the tests ask [`Standing`] what
//! is in the firewall, and are run once for each, as `WEBHOOKD_TEST_ENGINE` says.
//!
//! [`Standing`]: crate::Standing
//!
//! What is about ufw alone is in files that are not run for the other (`tests/run` names those that
//! are), or in a module `ufw` of its file, which is then left out.

use crate::{World, table};

/// Where webhook-privd puts its blocks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Engine {
    /// Rules of ufw's.
    Ufw,
    /// A table of its own.
    Nftables,
}

impl Engine {
    /// The one that the tests run for.
    ///
    /// # Panics
    /// When there is none of that name.
    #[must_use]
    pub fn tested() -> Self {
        match std::env::var("WEBHOOKD_TEST_ENGINE").as_deref() {
            Err(_) | Ok("ufw") => Self::Ufw,
            Ok("nftables") => Self::Nftables,
            Ok(other) => panic!("WEBHOOKD_TEST_ENGINE is `{other}`, not ufw or nftables"),
        }
    }

    /// Its name in privd.toml and in the status.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ufw => "ufw",
            Self::Nftables => "nftables",
        }
    }

    /// The line of privd.toml that chooses it: ufw is what none means.
    pub(crate) fn line(self) -> String {
        match self {
            Self::Ufw => String::new(),
            Self::Nftables => format!("firewall = \"{}\"\n", self.name()),
        }
    }

    /// The program that it changes the firewall with.
    #[must_use]
    pub const fn program(self) -> &'static str {
        match self {
            Self::Ufw => "ufw",
            Self::Nftables => "nft",
        }
    }
}

impl World {
    /// Takes a block out of the firewall behind webhook-privd's back, so that the target can connect.
    pub fn take_away(&self, target: &str) {
        let script = match self.engine {
            Engine::Ufw => format!("ufw delete deny from {target}"),
            Engine::Nftables => {
                let (set, address) = (table::set(target), target.split('/').next().unwrap());
                format!("nft delete element inet webhookd {set} '{{ {address} }}'")
            }
        };
        self.server.sh(&script);
    }

    /// Puts a program that fails in the place of all that the engine starts.
    pub fn take_programs_away(&self) {
        let programs = "ufw iptables ip6tables conntrack nft";
        self.confined
            .sh(&format!("for p in {programs}; do mount --bind /dev/null /usr/sbin/$p; done"));
    }
}
