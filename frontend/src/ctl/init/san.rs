//! A name that a certificate can be good for.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use rustls::pki_types::DnsName;

/// A host name or an address, as a "subject alternative name".
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum San {
    Name(String),
    Address(IpAddr),
}

impl San {
    /// As the host of a URL.
    pub(super) fn in_url(&self) -> String {
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
    fn what_no_certificate_can_name_is_refused() {
        for text in ["", ".", "a b", "https://web", "10.0.0.0/8", "web:5001", "ümlaut", "[::1]"] {
            assert!(text.parse::<San>().is_err(), "{text}");
        }
    }
}
