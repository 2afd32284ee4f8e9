//! The account that webhookd runs as, and who else could act as it.

use nix::unistd::{Group, User};

use crate::ctl::check::finding::{Finding, Findings};
use crate::ctl::check::host::Host;
use crate::ctl::outside::{read, shown};

pub(super) fn account(host: &Host) -> Findings {
    host.privd()?;
    let Ok(user) = host.account() else {
        let what = "the user that frontend-user of privd.toml names does not exist";
        return Ok(vec![Finding::problem(what, "systemd-sysusers webhookd.conf")]);
    };
    let name = shown(&user.name);
    let mut findings = Vec::new();
    if user.uid.is_root() {
        let what = "frontend-user is root: the point is that webhookd has no privilege";
        findings.push(Finding::problem(what, "set frontend-user = \"webhookd\" in privd.toml"));
    }
    if !is_closed(&user) {
        let what = format!("{name} has a shell: {}", shown(&user.shell.to_string_lossy()));
        findings.push(Finding::problem(what, format!("usermod --shell /usr/sbin/nologin {name}")));
    }
    match Group::from_gid(user.gid).ok().flatten() {
        None => findings.push(Finding::problem(
            format!("the group of {name} does not exist"),
            "systemd-sysusers webhookd.conf",
        )),
        Some(group) => {
            let passwd = read("/etc/passwd")?;
            let primary = with_primary_group(&passwd, group.gid.as_raw());
            let members = group.mem.iter().map(String::as_str).chain(primary);
            for other in members.filter(|member| *member != user.name) {
                let (other, group) = (shown(other), shown(&group.name));
                findings.push(Finding::problem(
                    format!("{other} is in the group {group}, and so may ask for blocks and read the token"),
                    format!("gpasswd --delete {other} {group}"),
                ));
            }
        }
    }
    if findings.is_empty() {
        findings.push(Finding::ok(format!("{name} has no shell, and its group no other member")));
    }
    Ok(findings)
}

fn is_closed(user: &User) -> bool {
    let program = user.shell.file_name().unwrap_or_default();
    program == "nologin" || program == "false"
}

/// The users of passwd(5) whose own group this is.
fn with_primary_group(passwd: &str, gid: u32) -> impl Iterator<Item = &str> {
    passwd.lines().filter_map(move |line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(2)?.parse() == Ok(gid)).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_their_own_group() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nwebhookd:x:995:995::/:/usr/sbin/nologin\n\
            mallory:x:1000:995::/home/mallory:/bin/bash\n\nbroken:x\n";
        let found: Vec<&str> = with_primary_group(passwd, 995).collect();
        assert_eq!(found, ["webhookd", "mallory"]);
    }
}
