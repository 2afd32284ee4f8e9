//! Which Kibana it is, and what it can do.

use std::fmt;
use std::str::FromStr;

/// The first two numbers of a Kibana's version.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(in crate::ctl) struct Version(u16, u16);

impl Version {
    /// The oldest that `apply` speaks to. Before it no API key could make a rule (Kibana's pull request
    /// 154189), and an action had no frequency of its own.
    pub(super) const OLDEST: Self = Self(8, 8);

    /// What is meant where nobody says.
    pub(super) const NEWEST: Self = Self(9, 2);

    /// Whether a connector says by itself whom it trusts, and has client certificates (pull request
    /// 161894).
    pub(super) fn has_connector_tls(self) -> bool {
        self >= Self(8, 10)
    }

    /// Whether a connector keeps headers secret (pull request 230042).
    pub(super) fn has_secret_headers(self) -> bool {
        self >= Self(9, 2)
    }
}

impl FromStr for Version {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut numbers = text.split('.').map(str::parse);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => Ok(Self(major, minor)),
            _ => Err("no version of Kibana; write for example 8.17"),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.0, self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_what_it_can_do() {
        for (text, tls, secret_headers) in [
            ("8.8", false, false),
            ("8.9.2", false, false),
            ("8.10.0", true, false),
            ("9.1.7", true, false),
            ("9.2.0-SNAPSHOT", true, true),
            ("10.0", true, true),
        ] {
            let version: Version = text.parse().unwrap();
            assert!(version >= Version::OLDEST, "{text}");
            let found = (version.has_connector_tls(), version.has_secret_headers());
            assert_eq!(found, (tls, secret_headers), "{text}");
        }
        assert!("8.7.1".parse::<Version>().unwrap() < Version::OLDEST);
        for text in ["", "8", "8.", "x.y", "8.x", "-1.2", "auto"] {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
    }
}
