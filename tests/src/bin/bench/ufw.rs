//! The ufw engine: webhookd's whole road against the bare ufw calls that it is worth.

use std::time::{Duration, Instant};

use serde_json::json;
use tests::World;
use tests::https::{self, JSON};

use crate::client::shake_hands;
use crate::places::{self, timed};
use crate::report::{Report, median, ms, resident};

/// A new block where more and more rules stand.
pub fn new_blocks(pairs: usize, report: &mut Report) {
    for rules in [0, 100, 1000] {
        new_block(rules, pairs, report);
    }
}

/// A new block over HTTPS, verified and cut, against the bare ufw calls it needs.
fn new_block(rules: usize, pairs: usize, report: &mut Report) {
    let world = places::ufw(rules);
    // Apart, so that privd's looking at what others change does not slow it down.
    let other = places::bare(rules);
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for pair in 0..=pairs {
        let address = format!("198.18.0.{}", pair + 1);
        let began = Instant::now();
        let answer = world.block(&address);
        let took = began.elapsed();
        assert_eq!(answer.outcomes(), ["blocked"]);
        let bare_took =
            bare_ufw(&other, &["deny", "out", "to", &address, "comment", "webhookd:bare"])
                + bare_ufw(&other, &["deny", "from", &address, "comment", "webhookd:bare"]);
        // The first pair warms caches.
        if pair > 0 {
            ours.push(took);
            bare.push(bare_took);
        }
    }
    let (ours, bare) = (median(&mut ours), median(&mut bare));
    let ratio = ours.as_secs_f64() / bare.as_secs_f64();
    let name = format!(
        "new block, verified and cut, {rules} rules present, against the two bare `ufw prepend` it is worth"
    );
    let shown = format!("{} against {} bare", ms(ours), ms(bare));
    report.line(&name, &shown, &format!("{ratio:.2} times"), "1.15 times", ratio <= 1.15);
}

/// A prepend, started as privd starts it.
fn bare_ufw(world: &World, rule: &[&str]) -> Duration {
    timed(world, &format!("env -i LC_ALL=C /usr/sbin/ufw prepend {} >/dev/null", rule.join(" ")))
}

/// A thousand addresses in one alert, and a hundred alerts over ten connections, against one bare
/// prepend where as many rules stand.
pub fn many_at_once(pairs: usize, report: &mut Report) {
    let rounds = pairs.div_ceil(4);
    let world = places::ufw(0);
    let (thousand, hundred) = (places::bare(2000), places::bare(200));
    let (mut alert, mut alerts) = (Vec::new(), Vec::new());
    let (mut bare_alert, mut bare_alerts) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        let address =
            |number: usize| format!("198.{}.{}.{}", 20 + round, number / 250, number % 250 + 1);
        let addresses: Vec<String> = (0..1000).map(address).collect();
        let began = Instant::now();
        let answer = world.post(&json!({ "ips": addresses }));
        let took = began.elapsed();
        assert_eq!(answer.status, 200, "{}", world.logs());
        assert_eq!(world.ctl(&["unblock", "--all", "--immune-for", "0s"]).1, 0);
        let began = Instant::now();
        std::thread::scope(|scope| {
            for connection in 0..10 {
                let addresses = &addresses[connection * 10..connection * 10 + 10];
                let world = &world;
                scope.spawn(move || one_after_another(world, addresses));
            }
        });
        let took_all = began.elapsed();
        assert_eq!(world.ctl(&["unblock", "--all", "--immune-for", "0s"]).1, 0);
        let rule = ["deny", "from", &address(1000)];
        let (after, after_all) = (bare_ufw(&thousand, &rule), bare_ufw(&hundred, &rule));
        if round > 0 {
            alert.push(took);
            bare_alert.push(after);
            alerts.push(took_all);
            bare_alerts.push(after_all);
        }
    }
    for (name, ours, bare, bar) in [
        (
            "1,000 addresses in one alert, against one bare `ufw prepend` where as many rules stand",
            &mut alert,
            &mut bare_alert,
            2.0,
        ),
        (
            "100 alerts over 10 connections, against one bare `ufw prepend`",
            &mut alerts,
            &mut bare_alerts,
            8.0,
        ),
    ] {
        let (ours, bare) = (median(ours), median(bare));
        let ratio = ours.as_secs_f64() / bare.as_secs_f64();
        let shown = format!("{} against {} bare", ms(ours), ms(bare));
        report.line(
            name,
            &shown,
            &format!("{ratio:.2} times"),
            &format!("{bar} times"),
            ratio <= bar,
        );
    }
}

/// One alert an address, over one connection that stays open.
fn one_after_another(world: &World, addresses: &[String]) {
    let mut connection = world.connection();
    for address in addresses {
        let body = json!({ "ip": address }).to_string();
        let answer = https::exchange(&mut connection, &world.alert(&body)).unwrap();
        assert_eq!(answer.outcomes(), ["blocked"]);
    }
}

/// What starts no process: an address that is blocked, and a bad token, against the handshake.
pub fn known_and_bad(pairs: usize, report: &mut Report) {
    let rounds = pairs.max(20) * 5;
    let world = places::ufw(0);
    world.block("198.18.0.1");
    let known = json!({ "ip": "198.18.0.1" }).to_string();
    let good = world.bearer();
    let request = |token: &str| {
        let headers = [("Authorization", token), JSON];
        https::request("POST", "/blockip", &headers, &known)
    };
    let (good, bad) = (request(&good), request("Bearer wrong"));
    // All from Kibana's network; entering it is not timed.
    let (mut fresh, mut open, mut refused, mut handshake) = (vec![], vec![], vec![], vec![]);
    world.kibana.inside(|| {
        let connect = || {
            let began = Instant::now();
            let mut connection = world.connect_here();
            shake_hands(&mut connection);
            (connection, began)
        };
        let (mut kept, _) = connect();
        for _ in 0..rounds {
            let (connection, began) = connect();
            handshake.push(began.elapsed());
            drop(connection);
            let (mut connection, began) = connect();
            assert_eq!(https::exchange(&mut connection, &good).unwrap().status, 200);
            fresh.push(began.elapsed());
            let (mut connection, began) = connect();
            assert_eq!(https::exchange(&mut connection, &bad).unwrap().status, 401);
            refused.push(began.elapsed());
            let began = Instant::now();
            assert_eq!(https::exchange(&mut kept, &good).unwrap().status, 200);
            open.push(began.elapsed());
        }
    });
    let [fresh, open, refused, handshake] =
        [&mut fresh, &mut open, &mut refused, &mut handshake].map(|times| median(times));
    let millis = Duration::from_millis;
    report.line("already blocked, new connection", &ms(fresh), "", "5 ms", fresh < millis(5));
    report.line("already blocked, open connection", &ms(open), "", "1 ms", open < millis(1));
    let shown = format!("{} against {} handshake", ms(refused), ms(handshake));
    let over = refused.saturating_sub(handshake);
    report.line(
        "bad token, above the TLS handshake alone",
        &shown,
        &format!("+{}", ms(over)),
        "+1 ms",
        over <= millis(1),
    );
    let (privd, webhookd) = world.daemons();
    for (name, pid, bar) in [
        ("webhook-privd, resident memory", privd, 6.0),
        ("webhookd, resident memory", webhookd, 15.0),
    ] {
        let megabytes = resident(pid);
        report.line(name, &format!("{megabytes:.1} MB"), "", &format!("{bar} MB"), megabytes < bar);
    }
}
