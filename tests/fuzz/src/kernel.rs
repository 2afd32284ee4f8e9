//! `iptables -S`: whether a drop is really reached.

use hosttext::chains::{KernelStanding, Path};
use protocol::Target;

/// Nobody is said to be dropped without a rule that says so, nor behind one that accepts everything.
pub(crate) fn fuzz(bytes: &[u8]) {
    let listing = String::from_utf8_lossy(bytes);
    for stray in Path::strays(&listing) {
        assert!(stray.contains("-caps-test"));
    }
    for (target, ipv6) in [("198.51.100.7", false), ("2001:db8:9::/64", true)] {
        let target: Target = target.parse().unwrap();
        let net = target.net().to_string();
        for (path, (built_in, sign)) in
            Path::both(&listing, ipv6).iter().zip([("OUTPUT", "-d"), ("INPUT", "-s")])
        {
            if path.standing(target) == KernelStanding::Dropped {
                let says = |line: &str| {
                    line.contains("-user-") && line.contains(sign) && names(line, &net)
                };
                assert!(listing.lines().any(says), "no rule drops {target}");
            }
            let open = format!("-A {built_in} -j ACCEPT\n{listing}");
            let [out, input] = Path::both(&open, ipv6);
            let path = if built_in == "INPUT" { input } else { out };
            assert_ne!(path.standing(target), KernelStanding::Dropped, "behind an accept");
        }
    }
}

/// Quotes may stand anywhere in a word, and a network may be written with host bits.
fn names(line: &str, net: &str) -> bool {
    let line = line.replace(['"', '\\'], "");
    line.split(' ').any(|word| {
        let parsed: Option<ipnet::IpNet> = word.parse().ok();
        parsed.is_some_and(|parsed| parsed.trunc().to_string() == net)
    })
}
