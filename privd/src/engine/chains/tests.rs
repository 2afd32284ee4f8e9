use super::*;

/// `iptables -S` of ufw 0.36.2 with a few rules: `deny from 198.51.100.7` first, then `allow 22`.
const UFW: &str = include_str!("ufw4.txt");
const UFW6: &str = include_str!("ufw6.txt");

fn standing(listing: &str, target: &str, direction: Direction) -> String {
    let target: Target = target.parse().unwrap();
    let [out, input] = Path::both(listing, target.is_ipv6());
    let path = if direction == Direction::In { input } else { out };
    match path.standing(target) {
        KernelStanding::Bypassed(rule) => format!("bypassed by {rule}"),
        other => format!("{other:?}"),
    }
}

fn with_line(before: &str, line: &str) -> String {
    assert!(UFW.contains(before), "{before}");
    UFW.replacen(before, &format!("{line}\n{before}"), 1)
}

const FIRST_INPUT: &str = "-A INPUT -j ufw-before-logging-input";
const USER_JUMP: &str = "-A ufw-before-input -j ufw-user-input";

#[test]
fn ufws_own_rules_let_the_drop_be_reached() {
    assert_eq!(standing(UFW, "198.51.100.7", Direction::In), "Dropped");
    assert_eq!(standing(UFW, "198.51.100.7", Direction::Out), "Dropped");
    assert_eq!(standing(UFW6, "2001:db8:9::/64", Direction::In), "Dropped");
}

#[test]
fn another_address_is_not_taken_for_it() {
    for other in ["198.51.100.70", "198.51.100.0/24", "198.51.100.6"] {
        assert_eq!(standing(UFW, other, Direction::In), "Absent", "{other}");
    }
}

#[test]
fn a_drop_behind_an_accept_is_bypassed() {
    // 192.0.2.5 is denied behind `allow 22`.
    assert_eq!(
        standing(UFW, "192.0.2.5", Direction::In),
        "bypassed by -A ufw-user-input -p tcp -m tcp --dport 22 -j ACCEPT"
    );
}

#[test]
fn what_accepts_ahead_of_ufw_is_named() {
    for (before, line) in [
        (USER_JUMP, "-A ufw-before-input -p tcp -m tcp --dport 22 -j ACCEPT"),
        (USER_JUMP, "-A ufw-before-input -i eth1 -j ACCEPT"),
        (USER_JUMP, "-A ufw-before-input -p tcp -m tcp --dport 22 -j RETURN"),
        (FIRST_INPUT, "-A INPUT -j ACCEPT"),
        (FIRST_INPUT, "-A INPUT -s 198.51.0.0/16 -j ACCEPT"),
        (FIRST_INPUT, "-A INPUT ! -s 10.0.0.0/8 -j ACCEPT"),
        (FIRST_INPUT, "-A INPUT ! -i eth0 -j ACCEPT"),
        (FIRST_INPUT, "-A INPUT -p tcp -j NFQUEUE --queue-num 0"),
        (FIRST_INPUT, "-A INPUT -m conntrack --ctstate NEW,ESTABLISHED -j ACCEPT"),
        (FIRST_INPUT, "-A INPUT -p udp -m udp --dport 5353 -j ACCEPT"),
    ] {
        let listing = with_line(before, line);
        assert_eq!(
            standing(&listing, "198.51.100.7", Direction::In),
            format!("bypassed by {line}")
        );
    }
}

#[test]
fn what_cannot_accept_the_target_does_not_matter() {
    for (before, line) in [
        (FIRST_INPUT, "-A INPUT -s 10.0.0.0/8 -j ACCEPT"),
        (FIRST_INPUT, "-A INPUT ! -s 198.51.100.0/24 -j ACCEPT"),
        (FIRST_INPUT, "-A INPUT -p tcp -m tcp --dport 22 -j DROP"),
        (FIRST_INPUT, "-A INPUT -p tcp -j LOG --log-prefix \"x -j ACCEPT \""),
        (USER_JUMP, "-A ufw-before-input -i lo -j ACCEPT"),
    ] {
        let listing = with_line(before, line);
        assert_eq!(standing(&listing, "198.51.100.7", Direction::In), "Dropped", "{line}");
    }
}

#[test]
fn an_accept_inside_another_tools_chain_is_found() {
    let fail2ban =
        "-N f2b\n-A INPUT -p tcp -j f2b\n-A f2b -s 9.9.9.9/32 -j REJECT\n-A f2b -j RETURN";
    let listing = with_line(FIRST_INPUT, fail2ban);
    assert_eq!(standing(&listing, "198.51.100.7", Direction::In), "Dropped");
    let listing = with_line(FIRST_INPUT, "-N vpn\n-A INPUT -j vpn\n-A vpn -i tun0 -j ACCEPT");
    assert_eq!(
        standing(&listing, "198.51.100.7", Direction::In),
        "bypassed by -A vpn -i tun0 -j ACCEPT"
    );
    let listing = with_line(FIRST_INPUT, "-N vpn\n-A INPUT -s 10.0.0.0/8 -j vpn\n-A vpn -j ACCEPT");
    assert_eq!(standing(&listing, "198.51.100.7", Direction::In), "Dropped");
}

#[test]
fn a_user_chain_behind_a_condition_does_not_count() {
    let listing = UFW.replace(USER_JUMP, "-A ufw-before-input -i eth0 -j ufw-user-input");
    assert_eq!(standing(&listing, "198.51.100.7", Direction::In), "NotReached");
}

#[test]
fn flushed_and_deleted_chains_are_told_apart() {
    let flushed: String = UFW
        .lines()
        .filter(|line| !line.starts_with("-A"))
        .map(|line| format!("{line}\n"))
        .collect();
    assert_eq!(standing(&flushed, "198.51.100.7", Direction::In), "NotReached");
    let only_ours = format!("{flushed}-A ufw-user-input -s 198.51.100.7/32 -j DROP\n");
    assert_eq!(standing(&only_ours, "198.51.100.7", Direction::In), "NotReached");
    assert_eq!(standing("-P INPUT ACCEPT\n", "198.51.100.7", Direction::In), "NoChain");
}

#[test]
fn a_narrower_drop_is_not_the_block() {
    for narrower in [
        "-A ufw-user-input -s 198.51.100.7/32 -p tcp -j DROP",
        "-A ufw-user-input -s 198.51.100.7/32 -i eth0 -j DROP",
        "-A ufw-user-input -s 198.51.100.7/32 -d 10.0.0.1/32 -j DROP",
        "-A ufw-user-input ! -s 198.51.100.7/32 -j DROP",
    ] {
        let listing = UFW.replace("-A ufw-user-input -s 198.51.100.7/32 -j DROP", narrower);
        assert_eq!(standing(&listing, "198.51.100.7", Direction::In), "Absent", "{narrower}");
    }
}
