//! What ufw's settings say: whether it is on, and what it filters.

use std::path::Path;

use crate::ctl::outside::{Unreadable, read};

/// Whether ufw is on.
///
/// # Errors
/// Its settings cannot be read: it may not be installed.
pub(super) fn is_enabled() -> Result<bool, Unreadable> {
    let enabled = value(&read("/etc/ufw/ufw.conf")?, "ENABLED");
    Ok(enabled.as_deref() == Some("yes"))
}

/// Whether ufw filters IPv6.
///
/// # Errors
/// As [`is_enabled`].
pub(super) fn has_ipv6() -> Result<bool, Unreadable> {
    let wanted = value(&read(DEFAULTS)?, "IPV6");
    Ok(wanted.as_deref() == Some("yes") && Path::new("/proc/net/if_inet6").exists())
}

/// Whether ufw lets in what no rule of its is about.
///
/// # Errors
/// As [`is_enabled`].
pub(super) fn lets_all_in() -> Result<bool, Unreadable> {
    let policy = value(&read(DEFAULTS)?, "DEFAULT_INPUT_POLICY");
    Ok(policy.as_deref() == Some("accept"))
}

/// The last value of a `NAME=value` line, in lower case, as ufw reads its files.
fn value(text: &str, name: &str) -> Option<String> {
    let mut values = text.lines().filter_map(|line| {
        let (key, value) = line.split_once('=')?;
        (key.trim().eq_ignore_ascii_case(name))
            .then(|| value.trim().trim_matches(['"', '\'']).to_ascii_lowercase())
    });
    values.next_back()
}

const DEFAULTS: &str = "/etc/default/ufw";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_counts_without_quotes_and_case() {
        let text = "# ENABLED=no\nenabled=no\nENABLED = \"Yes\"\nLOGLEVEL=low\n";
        assert_eq!(value(text, "ENABLED").as_deref(), Some("yes"));
        assert_eq!(value(text, "IPV6"), None);
    }
}
