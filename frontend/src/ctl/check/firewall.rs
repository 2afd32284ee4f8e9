//! ufw, iptables and IPv6: what every block depends on.

use std::net::Ipv6Addr;
use std::path::Path;

use crate::ctl::check::finding::{Finding, Findings, Unmade};
use crate::ctl::check::host::Host;
use crate::ctl::check::{confinement, units};
use crate::ctl::engine::Engine;
use crate::ctl::outside::{read, shown};
use crate::ctl::program::{find, run};
use crate::ctl::ufw;

pub(super) fn version(_: &Host) -> Findings {
    if find("ufw").is_none() {
        return Ok(vec![Finding::problem("is not installed", "apt install ufw")]);
    }
    let printed = run("ufw", &["version"])?;
    let version = shown(printed.text.split_whitespace().nth(1).unwrap_or("(unknown)"));
    let mut numbers = version.split('.').map_while(|number| number.parse::<u32>().ok());
    let release = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    Ok(vec![match release {
        (0, 36) => Finding::ok(format!("version {version}")),
        newer if newer > (0, 36) => {
            Finding::note(format!("version {version}; webhookd is tested with 0.36"))
        }
        _ => Finding::problem(
            format!("version {version} has no working `prepend`, which 0.36 brought"),
            "apt install ufw (of a newer release)",
        ),
    }])
}

pub(super) fn active(_: &Host) -> Findings {
    if !ufw::is_enabled()? {
        let enable = "ufw allow OpenSSH\nufw enable";
        return Ok(vec![Finding::problem("ufw is not active: nothing is filtered", enable)]);
    }
    let mut listings = vec![("iptables", "-A INPUT -j ufw-before-input")];
    if ufw::has_ipv6()? {
        listings.push(("ip6tables", "-A INPUT -j ufw6-before-input"));
    }
    for (program, jump) in listings {
        let listing = run(program, &["-w", "5", "-S", "INPUT"])?;
        if !listing.text.lines().any(|line| line == jump) {
            let what = format!(
                "ufw is enabled, but the kernel does not lead packets to its rules: no `{jump}` in \
                 `{program} -S INPUT`. Another tool has flushed them"
            );
            return Ok(vec![Finding::problem(what, START_ANEW)]);
        }
    }
    Ok(vec![Finding::ok("enabled, and the kernel leads every packet to its rules")])
}

pub(super) fn iptables(host: &Host) -> Findings {
    if host.engine() == Engine::Nftables && find("iptables").is_none() {
        return Ok(vec![Finding::ok("not here, and not needed")]);
    }
    let versions = ["iptables", "ip6tables"].map(|program| run(program, &["--version"]));
    let [v4, v6] = versions;
    let (v4, v6) = (v4?, v6?);
    let (version, legacy) = (v4.complaint(), is_legacy(&v4.text));
    if legacy != is_legacy(&v6.text) {
        let what = format!("one is nft's and one is legacy: {version}, {}", v6.complaint());
        return Ok(vec![Finding::problem(what, GO_TO_NFT)]);
    }
    let copied = legacy_drop_in(Path::new(DROP_IN_IN_USE), Path::new(DROP_IN));
    if !legacy {
        return Ok(vec![match copied {
            None => Finding::ok(version),
            // privd does not start with more than it needs.
            Some(_) => Finding::problem(
                format!(
                    "{version}, and {DROP_IN_IN_USE} gives webhook-privd what only legacy needs"
                ),
                format!(
                    "rm {DROP_IN_IN_USE}\nsystemctl daemon-reload\nsystemctl restart webhook-privd"
                ),
            ),
        }]);
    }
    if copied == Some(DropIn::Other) {
        let what =
            format!("{version}; {DROP_IN_IN_USE} is not what this package ships as {DROP_IN}");
        return Ok(vec![Finding::problem(what, format!("{COPY_DROP_IN}\n{RESTART}"))]);
    }
    let permitted = units::capabilities_of_privd();
    let permitted = permitted.is_some_and(|capabilities| capabilities.contains("cap_net_raw"));
    Ok(vec![if permitted || confinement::privd_has_net_raw(host) {
        Finding::note(format!("{version}; webhook-privd has what that needs more (CAP_NET_RAW)"))
    } else {
        let what = format!(
            "{version}: it needs CAP_NET_RAW, raw sockets and a lock of its own, which \
             webhook-privd has only with a drop-in"
        );
        Finding::problem(
            what,
            format!("{GO_TO_NFT}\nor, to stay with legacy:\n{COPY_DROP_IN}\n{RESTART}"),
        )
    }])
}

/// Whether this host's iptables is the legacy one; a host that needs none may have none.
pub(super) fn is_legacy_here() -> Result<bool, Unmade> {
    Ok(find("iptables").is_some() && is_legacy(&run("iptables", &["--version"])?.text))
}

/// The drop-in that the administrator copied.
#[derive(Debug, PartialEq)]
enum DropIn {
    AsShipped,
    /// Of another release, or edited. The shipped one's directives count, its remarks do not.
    Other,
}

/// None where there is no copy.
fn legacy_drop_in(copy: &Path, shipped: &Path) -> Option<DropIn> {
    let directives = |path: &Path| {
        let text = read(path).ok()?;
        let lines = text.lines().map(str::trim);
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with(['#', ';']));
        Some(lines.map(str::to_owned).collect::<Vec<_>>())
    };
    let copied = directives(copy)?;
    // Without the shipped one there is nothing to say.
    let same = directives(shipped).is_none_or(|shipped| shipped == copied);
    Some(if same { DropIn::AsShipped } else { DropIn::Other })
}

/// By what `--version` says.
fn is_legacy(version: &str) -> bool {
    version.contains("(legacy)")
}

pub(super) fn ipv6(_: &Host) -> Findings {
    // The file is missing where the kernel has no IPv6.
    let addresses = read("/proc/net/if_inet6").unwrap_or_default();
    let global = global_addresses(&addresses).next();
    Ok(vec![match (ufw::has_ipv6()?, global) {
        (true, _) if addresses.is_empty() => {
            Finding::note("on in ufw, and off in the kernel: only IPv4 can be blocked")
        }
        (true, _) => Finding::ok("on in ufw"),
        (false, None) => Finding::note("off in ufw, and this host has no global IPv6 address"),
        (false, Some(address)) => Finding::problem(
            format!("off in ufw, and this host has {address}: nothing is filtered there"),
            "set IPV6=yes in /etc/default/ufw\nufw reload",
        ),
    }])
}

pub(super) fn programs(_: &Host) -> Findings {
    let mut findings = Vec::new();
    if find("conntrack").is_none() {
        let what = "conntrack is missing: webhook-privd cuts open connections with it";
        findings.push(Finding::problem(what, "apt install conntrack"));
    }
    if find("nft").is_none() {
        findings.push(Finding::note("nft is missing; only firewall = \"nftables\" will need it"));
    }
    if findings.is_empty() {
        findings.push(Finding::ok("conntrack and nft are there"));
    }
    Ok(findings)
}

/// Addresses of global scope in /proc/net/if_inet6 (proc(5)).
fn global_addresses(text: &str) -> impl Iterator<Item = Ipv6Addr> {
    text.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [address, _, _, "00", ..] = fields.as_slice() else { return None };
        u128::from_str_radix(address, 16).ok().map(Ipv6Addr::from)
    })
}

/// `ufw reload` alone, and also `disable` and `enable`, leave INPUT closed for everybody where a
/// chain of ufw's still stands (measured). So what is left is taken away first.
const START_ANEW: &str = "ufw allow OpenSSH
/lib/ufw/ufw-init flush-all && ufw reload (then restart Docker and fail2ban, where they are)";
const GO_TO_NFT: &str = "update-alternatives --set iptables /usr/sbin/iptables-nft
update-alternatives --set ip6tables /usr/sbin/ip6tables-nft
ufw reload && systemctl restart webhook-privd";
const COPY_DROP_IN: &str = "install -D -m 644 /usr/share/webhookd/iptables-legacy.conf \
    /etc/systemd/system/webhook-privd.service.d/iptables-legacy.conf";
const RESTART: &str = "systemctl daemon-reload && systemctl restart webhook-privd";
const DROP_IN: &str = "/usr/share/webhookd/iptables-legacy.conf";
const DROP_IN_IN_USE: &str = "/etc/systemd/system/webhook-privd.service.d/iptables-legacy.conf";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_global_addresses_count() {
        let text = "fe800000000000000000000000000001 02 40 20 80     eth0\n\
            20010db8000000000000000000000001 02 40 00 80     eth0\n\
            00000000000000000000000000000001 01 80 10 80       lo\n\ngarbage\n";
        let addresses: Vec<String> = global_addresses(text).map(|it| it.to_string()).collect();
        assert_eq!(addresses, ["2001:db8::1"]);
    }

    #[test]
    fn a_copied_drop_in_is_held_against_the_shipped_one() {
        let folder = tempfile::tempdir().unwrap();
        let [copy, shipped] = ["copy", "shipped"].map(|name| folder.path().join(name));
        assert_eq!(legacy_drop_in(&copy, &shipped), None);
        std::fs::write(&copy, "# old words\n[Service]\nA=1\n").unwrap();
        assert_eq!(legacy_drop_in(&copy, &shipped), Some(DropIn::AsShipped));
        std::fs::write(&shipped, "[Service]\n# new words\nA=1\n").unwrap();
        assert_eq!(legacy_drop_in(&copy, &shipped), Some(DropIn::AsShipped));
        std::fs::write(&shipped, "[Service]\nA=1\nB=2\n").unwrap();
        assert_eq!(legacy_drop_in(&copy, &shipped), Some(DropIn::Other));
    }

    #[test]
    fn the_variant_stands_in_the_version() {
        assert!(is_legacy("iptables v1.8.9 (legacy)\n"));
        assert!(!is_legacy("iptables v1.8.9 (nf_tables)\n"));
    }
}
