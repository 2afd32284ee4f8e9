//! The units on a booted systemd: what the sandbox lets through, and what it does not.

use tests::Container;

#[test]
fn try_it() {
    let machine = Container::boot();
    println!("{}", machine.sh("systemctl --no-pager status 'webhook*' || true; ufw status; ls -la /run /run/webhook*"));
    println!("{}", machine.journal());
    println!("{:?}", machine.attacker_connects());
    println!("{:?}", machine.block("203.0.113.7"));
    println!("{:?}", machine.attacker_connects());
}
