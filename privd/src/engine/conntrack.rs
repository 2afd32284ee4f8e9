//! Ends the connections that a new block would otherwise leave alive.
//!
//! ufw's before.rules accept packets of established connections ahead of every deny (measured), so
//! a block needs its entries in the connection table gone, in both directions: on the next packet
//! from either side the flow counts as new and meets the drop.

use protocol::{Target, Text};

use crate::program::Program;

/// Forgets every connection from and to the target.
///
/// # Errors
/// What stopped it, in words. The block itself holds; connections that are open may live on.
pub fn cut(target: Target) -> Result<(), Text> {
    let family = if target.is_ipv6() { "ipv6" } else { "ipv4" };
    let forget = |side| {
        // Exit status 1 means that nothing matched.
        match Program::Conntrack.run(&["-D", "-f", family, side, &target.to_string()]) {
            Ok(output) if output.success || output.text.contains(NONE_MATCHED) => Ok(()),
            Ok(output) => Err(unable(output.complaint())),
            Err(error) => Err(unable(&error.to_string())),
        }
    };
    // Both sides in any case.
    let (from, to) = (forget("-s"), forget("-d"));
    from.and(to)
}

fn unable(why: &str) -> Text {
    let why = protocol::Untrusted(why);
    Text::truncated(&format!("open connections could not be cut ({why}); is conntrack installed?"))
}

/// conntrack 1.4's words for "no entry matched", in the C locale.
const NONE_MATCHED: &str = "0 flow entries have been deleted";
