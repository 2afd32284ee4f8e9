//! `/healthz`, `/readyz` and `/metrics`: who may read what, and whether it is true.

use std::time::Instant;

use nix::sys::signal::Signal;
use serde_json::json;
use tests::https::request;
use tests::standing::Lock;
use tests::{Answer, World, until};

#[test]
fn without_the_token_it_says_whether_it_is_ready_and_nothing_about_the_host() {
    let mut world = World::new();
    for path in ["/healthz", "/readyz"] {
        let answer = get(&world, path, "");
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        let url = format!("https://10.9.0.1:5001{path}");
        let head = world.kibana.sh(&format!("curl --silent --insecure --head {url}"));
        assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    }
    assert_eq!(get(&world, "/readyz", "").message(), "ready");
    assert_eq!(get(&world, "/metrics", "").status, 401);
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(ask(&world, "POST", path, "").status, 401, "{path}");
        assert_eq!(ask(&world, "POST", path, &world.token).status, 405, "{path}");
    }
    // Who shows a token is judged by it.
    assert_eq!(get(&world, "/readyz", "wrong").status, 401);
    world.stop_privd(Signal::SIGTERM);
    let answer = get(&world, "/readyz", "");
    assert_eq!(answer.status, 503);
    assert_eq!(answer.message(), "not ready; with the token this says why");
    assert_eq!(get(&world, "/healthz", "").status, 200);
}

#[test]
fn with_the_token_it_says_what_is_wrong_and_what_to_run() {
    let mut world = World::with("max-blocks = 2", "ufw allow 22/tcp");
    let ready = |world: &World| get(world, "/readyz", &world.token);
    until("it is ready", 10, || ready(&world).status == 200);
    world.block("192.0.2.1");
    assert_eq!(ready(&world).message(), "ready: 1 blocks, all in force");
    world.block("192.0.2.2");
    let full = ready(&world);
    assert!(full.status == 503 && full.message().contains("raise max-blocks"), "{full:?}");
    assert_eq!(world.ctl(&["unblock", "192.0.2.2"]).1, 0);
    world.stop_privd(Signal::SIGTERM);
    let began = Instant::now();
    let away = ready(&world);
    assert_eq!(away.status, 503);
    assert!(away.message().contains("systemctl status webhook-privd"), "{away:?}");
    assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
    world.start_privd();
    until("it is ready without a restart", 10, || ready(&world).status == 200);
}

#[test]
fn the_metrics_tell_what_was_done() {
    let mut world = World::with("max-new-blocks-per-minute = 2", "ufw allow 22/tcp");
    assert_eq!(get(&world, "/metrics", "wrong").status, 401);
    world.block("192.0.2.1");
    world.block("192.0.2.1");
    let mixed = json!({ "ips": ["192.0.2.2", "127.0.0.1", "nonsense", "192.0.2.3"] });
    assert_eq!((world.post(&mixed).status, world.post(&json!({})).status), (429, 400));
    until("all is read back", 10, || {
        world.metrics().contains_key("webhook_privd_last_reconcile_timestamp_seconds")
    });
    let found = world.metrics();
    for (name, value) in [
        ("webhookd_requests_total{status=\"200\"}", 2.0),
        ("webhookd_requests_total{status=\"429\"}", 1.0),
        ("webhookd_requests_total{status=\"400\"}", 1.0),
        ("webhookd_addresses_total{outcome=\"blocked\"}", 2.0),
        ("webhookd_addresses_total{outcome=\"already-blocked\"}", 1.0),
        ("webhookd_addresses_total{outcome=\"over-quota\"}", 1.0),
        ("webhookd_addresses_total{outcome=\"invalid\"}", 1.0),
        ("webhookd_refusals_total{reason=\"reserved\"}", 1.0),
        ("webhookd_refusals_total{reason=\"gateway\"}", 0.0),
        ("webhookd_auth_failures_total{reason=\"bad token\"}", 1.0),
        ("webhook_privd_up", 1.0),
        ("webhook_privd_usable", 1.0),
        ("webhook_privd_live_blocks", 2.0),
        ("webhook_privd_blocks_not_in_force", 0.0),
        ("webhook_privd_queued_requests", 0.0),
        ("webhook_privd_drift_total", 0.0),
        ("webhook_privd_firewall_change_duration_seconds_count", 2.0),
        ("webhook_privd_firewall_change_duration_seconds_bucket{le=\"+Inf\"}", 2.0),
    ] {
        assert_eq!(found.get(name), Some(&value), "{name}: {found:#?}");
    }
    let now = world.server.sh("date +%s").trim().parse::<f64>().unwrap();
    let near = |name: &str, from: f64, to: f64| {
        let seconds = found[name] - now;
        assert!((from..to).contains(&seconds), "{name}: {seconds} s from now");
    };
    near("webhook_privd_last_reconcile_timestamp_seconds", -60.0, 2.0);
    near("webhookd_certificate_expiry_timestamp_seconds", 0.0, 4000.0 * 86_400.0);
    let took = found["webhook_privd_firewall_change_duration_seconds_sum"];
    assert!((0.001..60.0).contains(&took), "{took}");
    // Somebody else takes a rule away: it is put back, and counted.
    world.take_away("192.0.2.1");
    until("it is counted", 20, || world.metrics()["webhook_privd_drift_total"] == 1.0);
    world.stop_privd(Signal::SIGTERM);
    let found = world.metrics();
    assert_eq!(found["webhook_privd_up"], 0.0);
    assert!(!found.contains_key("webhook_privd_live_blocks"));
}

fn get(world: &World, path: &str, token: &str) -> Answer {
    ask(world, "GET", path, token)
}

fn ask(world: &World, method: &str, path: &str, token: &str) -> Answer {
    let bearer = format!("Bearer {token}");
    let headers = [("Authorization", bearer.as_str())];
    let shown = if token.is_empty() { &[][..] } else { &headers };
    world.send(&request(method, path, shown, ""))
}

/// What is so with ufw alone.
mod ufw {
    use super::*;

    #[test]
    fn a_block_that_waits_for_ufw_is_counted_as_long_as_it_waits() {
        let world = World::new();
        let queued = || world.metrics()["webhook_privd_queued_requests"];
        until("nothing is under way", 10, || queued() == 0.0);
        let held = Lock::of_the_host(&world);
        let answer = std::thread::scope(|scope| {
            let asking = scope.spawn(|| world.post(&json!({ "ip": "192.0.2.1" })));
            until("it is counted", 20, || asking.is_finished() || queued() == 1.0);
            assert!(!asking.is_finished(), "answered, and never counted");
            // What is on its way is no block that lacks its rules.
            assert_eq!(world.metrics()["webhook_privd_blocks_not_in_force"], 0.0);
            assert_eq!(get(&world, "/readyz", "").status, 200);
            drop(held);
            asking.join().unwrap()
        });
        assert_eq!(answer.status, 200, "{answer:?}");
        until("it is counted no more", 10, || queued() == 0.0);
    }

    #[test]
    fn while_it_is_off_nothing_is_ready_and_with_the_token_it_says_what_to_run() {
        let world = World::new();
        world.ufw("--force disable");
        until("it is not ready", 10, || get(&world, "/readyz", "").status == 503);
        let answer = get(&world, "/readyz", "");
        assert_eq!(answer.message(), "not ready; with the token this says why");
        assert_eq!(get(&world, "/healthz", "").status, 200);
        let ready = || get(&world, "/readyz", &world.token);
        until("it says that ufw is off", 10, || ready().message().contains("ufw enable"));
        world.ufw("--force enable");
        until("it is ready again", 10, || ready().status == 200);
    }
}
