//! A name that a certificate can be good for.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use rustls::pki_types::DnsName;

/// A host name or an address, as a "subject alternative name".
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::ctl) enum San {
    Name(String),
    Address(IpAddr),
}

impl San {
    /// Whether it means the host itself wherever it is used.
    pub(in crate::ctl) fn is_local(&self) -> bool {
        match self {
            Self::Address(address) => address.is_loopback(),
            Self::Name(name) => name == "localhost" || name.starts_with("localhost."),
        }
    }

    /// Whether it stands for many names, as only others' certificates have it: `*.example.org`.
    pub(in crate::ctl) fn is_pattern(&self) -> bool {
        matches!(self, Self::Name(name) if name.starts_with('*'))
    }

    /// The name itself, or one of those that it stands for.
    pub(in crate::ctl) fn example(&self) -> String {
        self.to_string().replacen('*', "webhookd", 1)
    }

    /// As the host of a URL.
    pub(in crate::ctl) fn in_url(&self) -> String {
        match self {
            Self::Address(IpAddr::V6(address)) => format!("[{address}]"),
            other => other.to_string(),
        }
    }
}

impl FromStr for San {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        let name = text.trim_end_matches('.').to_ascii_lowercase();
        match DnsName::try_from(name.as_str()) {
            Ok(_) => Ok(Self::Name(name)),
            Err(_) => Err("neither a host name nor an address; \
                           write for example webhook.example.org or 203.0.113.10"),
        }
    }
}

impl fmt::Display for San {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(formatter),
            Self::Address(address) => address.fmt(formatter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_are_read_and_shown_as_a_url_needs_them() {
        for (text, shown, url) in [
            ("Web.Example.org.", "web.example.org", "web.example.org"),
            ("srv_1", "srv_1", "srv_1"),
            ("203.0.113.10", "203.0.113.10", "203.0.113.10"),
            ("2001:DB8::1", "2001:db8::1", "[2001:db8::1]"),
        ] {
            let san: San = text.parse().unwrap();
            assert_eq!((san.to_string().as_str(), san.in_url().as_str()), (shown, url));
        }
    }

    #[test]
    fn a_pattern_and_what_is_local_are_told_apart_from_names() {
        let pattern = San::Name("*.example.org".into());
        assert!(pattern.is_pattern() && !pattern.is_local());
        assert_eq!(pattern.example(), "webhookd.example.org");
        for (text, local) in
            [("localhost", true), ("127.0.0.1", true), ("::1", true), ("localhosts", false)]
        {
            let san: San = text.parse().unwrap();
            assert!(san.is_local() == local && !san.is_pattern(), "{text}");
        }
    }

    #[test]
    fn what_no_certificate_can_name_is_refused() {
        for text in ["", ".", "a b", "https://web", "10.0.0.0/8", "web:5001", "ümlaut", "[::1]"] {
            assert!(text.parse::<San>().is_err(), "{text}");
        }
    }
}
