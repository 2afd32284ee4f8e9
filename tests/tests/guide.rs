//! The guide's contract, request by request: what its `webhook_server.py` checks, in its order, and what
//! it answers. In each row everything that would be checked later is wrong too, where that can be.

use std::time::Duration;

use serde_json::{Value, json};
use tests::https::{self, Client, exchange, request};
use tests::world::{KIBANA, SERVER};
use tests::{Answer, World};

const JSON: Option<&str> = Some("application/json");
const RIGHT: Option<&str> = Some("Bearer TOKEN");
const ALERT: &str = r#"{"ip":"198.51.100.7"}"#;

/// Who asks, `Authorization` (TOKEN stands for the token), `Content-Type`, body; then status and keys of
/// the answer. An `error` begins with the guide's words and goes on with what to mend.
type Row = (Asker, Option<&'static str>, Option<&'static str>, &'static str, u16, Value);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Asker {
    Kibana,
    /// Somebody whom ufw lets in and allow-clients does not.
    Stranger,
}

fn contract() -> Vec<Row> {
    use Asker::{Kibana, Stranger};
    let stranger = json!({ "error": "unauthorized", "reason": "source not in allowlist" });
    let missing = json!({ "error": "unauthorized", "reason": "missing bearer" });
    let bad = json!({ "error": "unauthorized", "reason": "bad token" });
    let unauthorized = json!({ "error": "unauthorized" });
    let content_type = json!({ "error": "content-type must be application/json" });
    let no_ip = json!({ "error": "missing or invalid 'ip'" });
    let ok = |ip: &str, output: String| json!({ "status": "ok", "ip": ip, "output": output });
    let blocked = |ip| ok(ip, format!("Blocked IP: {ip}"));
    let already = |ip| ok(ip, format!("IP already blocked: {ip}"));
    vec![
        // 1) IP allowlist
        (Stranger, None, None, "", 401, stranger.clone()),
        (Stranger, Some("Bearer wrong"), None, "", 401, stranger.clone()),
        (Stranger, RIGHT, JSON, ALERT, 401, stranger),
        // 2) Auth: Bearer token
        (Kibana, None, None, "", 401, missing.clone()),
        (Kibana, Some("Token TOKEN"), None, "", 401, missing.clone()),
        (Kibana, Some("TOKEN"), JSON, ALERT, 401, missing),
        (Kibana, Some("Bearer wrong"), None, "", 401, bad.clone()),
        (Kibana, Some("Bearer TOKENx"), JSON, ALERT, 401, bad.clone()),
        (Kibana, Some("Bearer wrong TOKEN"), JSON, ALERT, 401, bad),
        // The guide's ends in an exception and says 500.
        (Kibana, Some("Bearer"), JSON, ALERT, 401, unauthorized.clone()),
        // The guide's takes any word that begins so.
        (Kibana, Some("Bearers TOKEN"), JSON, ALERT, 401, unauthorized.clone()),
        // "missing bearer" in the guide; here it is another way in, with the token as password.
        (Kibana, Some("Basic d2ViaG9va2Q6d3Jvbmc="), JSON, ALERT, 401, unauthorized),
        // 3) Require JSON body with 'ip'
        (Kibana, RIGHT, None, "", 400, content_type.clone()),
        (Kibana, RIGHT, Some("text/plain"), "", 400, content_type.clone()),
        (
            Kibana,
            RIGHT,
            Some("application/x-www-form-urlencoded"),
            ALERT,
            400,
            content_type.clone(),
        ),
        // The guide's looks for the words anywhere in the header.
        (Kibana, RIGHT, Some("text/plain; x=application/json"), ALERT, 400, content_type),
        (Kibana, RIGHT, JSON, "{}", 400, no_ip.clone()),
        (Kibana, RIGHT, JSON, r#"{"ip":""}"#, 400, no_ip.clone()),
        (Kibana, RIGHT, JSON, r#"{"ip":null}"#, 400, no_ip.clone()),
        (Kibana, RIGHT, JSON, r#"{"host":"198.51.100.7"}"#, 400, no_ip),
        // "missing or invalid 'ip'" in the guide too; here the error says what is wrong with it.
        (Kibana, RIGHT, JSON, r#"{"ip":7}"#, 400, json!({ "status": "error" })),
        (Kibana, RIGHT, JSON, "", 400, json!({ "status": "error" })),
        (Kibana, RIGHT, JSON, r#"{"ip":}"#, 400, json!({ "status": "error" })),
        (Kibana, RIGHT, JSON, "not JSON", 400, json!({ "status": "error" })),
        (Kibana, RIGHT, JSON, "[]", 400, json!({ "status": "error" })),
        // "invalid ip format" in the guide's server; these are the words of its script, with the address.
        (
            Kibana,
            RIGHT,
            JSON,
            r#"{"ip":"999.1.1.1"}"#,
            400,
            json!({ "error": "Invalid IP: 999.1.1.1" }),
        ),
        (
            Kibana,
            RIGHT,
            JSON,
            r#"{"ip":"x; reboot"}"#,
            400,
            json!({ "error": "Invalid IP: x; reboot" }),
        ),
        (
            Kibana,
            RIGHT,
            JSON,
            r#"{"ip":"010.0.0.1"}"#,
            400,
            json!({ "error": "Invalid IP: 010.0.0.1" }),
        ),
        // 4) Block. The guide's `output` has ufw's own words before these, and a line's end after.
        (Kibana, RIGHT, JSON, ALERT, 200, blocked("198.51.100.7")),
        (Kibana, RIGHT, JSON, ALERT, 200, already("198.51.100.7")),
        (Kibana, Some("Bearer   TOKEN "), JSON, ALERT, 200, already("198.51.100.7")),
        (
            Kibana,
            RIGHT,
            Some("application/json; charset=utf-8"),
            ALERT,
            200,
            already("198.51.100.7"),
        ),
        (
            Kibana,
            RIGHT,
            JSON,
            r#"{"rule":"x","ip":"2001:db8:7::7"}"#,
            200,
            blocked("2001:db8:7::7"),
        ),
        // For the guide's 198.51.100.70 is the same: its text begins so.
        (Kibana, RIGHT, JSON, r#"{"ip":"198.51.100.70"}"#, 200, blocked("198.51.100.70")),
        // The guide's turns these away: the word in lower case, and a network.
        (Kibana, Some("bearer TOKEN"), JSON, ALERT, 200, already("198.51.100.7")),
        (Kibana, RIGHT, JSON, r#"{"ip":"192.0.2.0/28"}"#, 200, blocked("192.0.2.0/28")),
        // The guide's blocks these, and the host is off the network.
        (
            Kibana,
            RIGHT,
            JSON,
            r#"{"ip":"127.0.0.1"}"#,
            422,
            json!({ "status": "error", "ip": "127.0.0.1" }),
        ),
        (
            Kibana,
            RIGHT,
            JSON,
            r#"{"ip":"203.0.113.1"}"#,
            422,
            json!({ "status": "error", "ip": SERVER }),
        ),
        // The script's exit status 2: for the guide when ufw failed, here also when its rule would not work.
        (
            Kibana,
            RIGHT,
            JSON,
            r#"{"ip":"198.51.100.99"}"#,
            500,
            json!({ "status": "error", "ip": "198.51.100.99", "code": 2 }),
        ),
    ]
}

#[test]
fn each_request_is_answered_as_the_guides_server_answers_it() {
    let mut world = World::without_daemons("ufw allow proto tcp from 10.9.0.3 to any port 5001");
    world.configure("", &format!("allow-clients = [\"{KIBANA}/32\"]"));
    world.start();
    // The same host by another way: to the server's other address it goes with its own other one.
    world.server.sh("ip addr add 10.9.9.1/32 dev lan0");
    world.kibana.sh("ip addr add 10.9.0.3/24 dev eth0
         ip route add 10.9.9.1 dev eth0 src 10.9.0.3");
    // Another tool's rule, ahead of all of ufw's.
    world.server.sh("iptables -I INPUT 1 -s 198.51.100.99 -j ACCEPT");
    for (from, authorization, content_type, body, status, keys) in contract() {
        let token = authorization.map(|value| value.replace("TOKEN", &world.token));
        let headers = [("Authorization", token.as_deref()), ("Content-Type", content_type)];
        let headers = headers.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let headers: Vec<(&str, &str)> = headers.collect();
        let answer = ask(&world, from, &request("POST", "/blockip", &headers, body));
        let asked = format!("{from:?} {authorization:?} {content_type:?} {body}: {answer:?}");
        assert_eq!(answer.status, status, "{asked}");
        for (key, expected) in keys.as_object().unwrap() {
            let said = &answer.json[key];
            let begins = key == "error" && expected != "unauthorized";
            let as_expected = match (said.as_str(), expected.as_str()) {
                (Some(said), Some(expected)) if begins => said.starts_with(expected),
                _ => said == expected,
            };
            assert!(as_expected, "not {key}: {expected}: {asked}");
        }
        // Beyond the guide: what Kibana shows, always.
        assert!(!answer.message().is_empty(), "{asked}");
        assert_eq!(status < 300, answer.json["error"].is_null(), "{asked}");
        assert_eq!(
            status == 500,
            answer.json["output"].is_string() && !answer.json["code"].is_null()
        );
    }
}

#[test]
fn other_methods_and_paths_are_no_webhook() {
    let world = World::new();
    let token = world.bearer();
    let right = [("Authorization", token.as_str()), https::JSON];
    for (method, path, status) in [
        ("GET", "/blockip", 405),
        ("PUT", "/blockip", 405),
        ("POST", "/", 404),
        ("POST", "/x", 404),
    ] {
        assert_eq!(world.send(&request(method, path, &right, ALERT)).status, status);
        // The guide's tells everybody.
        assert_eq!(world.send(&request(method, path, &[], "")).status, 401, "{method} {path}");
    }
    assert_eq!(world.ctl_json("list"), json!([]));
}

fn ask(world: &World, from: Asker, request: &str) -> Answer {
    let address = if from == Asker::Stranger { "10.9.9.1:5001" } else { "10.9.0.1:5001" };
    let stream = world.kibana.connect(address.parse().unwrap(), Duration::from_secs(5)).unwrap();
    let client = Client::trusting(&world.directory.path().join("cert.pem"));
    exchange(&mut client.handshake(stream, "10.9.0.1"), request).expect("an answer")
}
