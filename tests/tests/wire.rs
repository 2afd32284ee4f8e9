//! The HTTP contract of `POST /blockip`, request by request.

use std::fmt::Write as _;
use std::io::{Read, Write};

use serde_json::json;
use tests::https::{Connection, JSON, exchange, read_answer, request};
use tests::world::{KIBANA, SERVER};
use tests::{Answer, World, until};

/// In TEST-NET-1, where no test's host lives.
const ADDRESS: &str = "192.0.2.45";
const ALERT: &str = r#"{"ip":"192.0.2.45"}"#;

#[test]
fn a_stranger_hears_only_that_he_is_not_in_the_allowlist() {
    let world = webhookd_alone(r#"allow-clients = ["127.0.0.0/8", "10.9.0.1/32", "fc00::/7"]"#);
    let right = world.bearer();
    let right = ("Authorization", right.as_str());
    let mut heard = Vec::new();
    for (method, path, headers) in [
        ("POST", "/blockip", vec![right, JSON]),
        ("POST", "/blockip", vec![JSON]),
        ("POST", "/blockip", vec![right]),
        ("POST", "/blockip", vec![right, JSON, ("Content-Encoding", "gzip")]),
        ("POST", "/blockip", vec![right, JSON, ("X-Forwarded-For", "127.0.0.1")]),
        ("POST", "/blockip", vec![right, JSON, ("Forwarded", "for=127.0.0.1")]),
        ("GET", "/blockip", vec![right]),
        ("POST", "/", vec![right, JSON]),
        ("DELETE", "/nowhere", vec![]),
        ("GET", "/healthz", vec![]),
        ("GET", "/readyz", vec![right]),
        ("GET", "/metrics", vec![right]),
    ] {
        let answer = ask(&world, method, path, &headers, ALERT);
        assert_eq!(answer.status, 401, "{method} {path}: {answer:?}");
        assert_eq!(answer.json["error"], "unauthorized", "{method} {path}");
        assert_eq!(answer.json["reason"], "source not in allowlist", "{method} {path}");
        assert!(answer.message().contains("allow-clients"), "{answer:?}");
        heard.push(answer.json);
    }
    heard.dedup();
    assert_eq!(heard.len(), 1, "the answer tells whether the token was right");
    let line = world.lines("webhookd.log", &["unauthorized", "source not in allowlist"]);
    assert!(line[0].contains(&format!("client: {KIBANA}, event: ")), "{}", line[0]);
}

#[test]
fn without_the_token_nothing_but_401_is_said() {
    let world = webhookd_alone("");
    let token = world.token.as_str();
    let mut last = token.to_owned();
    last.pop();
    let bearing = |token: &str| format!("Bearer {token}");
    let wrong = [
        (None, "missing bearer"),
        (Some(String::new()), "missing bearer"),
        (Some("Bearer".to_owned()), "missing bearer"),
        (Some("Basic x".to_owned()), ""),
        // webhookd:wrong, and a user without a colon.
        (Some("Basic d2ViaG9va2Q6d3Jvbmc=".to_owned()), ""),
        (Some("Basic d2ViaG9va2Q=".to_owned()), ""),
        (Some(format!("Basic {token}")), ""),
        (Some(format!("Token {token}")), "missing bearer"),
        (Some(format!("Bearer: {token}")), "missing bearer"),
        (Some(token.to_owned()), "missing bearer"),
        (Some(bearing("")), ""),
        (Some(bearing(" ")), ""),
        (Some(bearing(&format!("{token}x"))), "bad token"),
        (Some(bearing(&format!("x{token}"))), "bad token"),
        (Some(bearing(&format!("{token} {token}"))), "bad token"),
        (Some(bearing(&format!("\"{token}\""))), "bad token"),
        (Some(bearing(&last)), "bad token"),
        (Some(bearing(&"0".repeat(64))), "bad token"),
        (Some(bearing("kibana")), "bad token"),
        (Some(bearing("# for tests")), "bad token"),
        (Some(bearing("é")), ""),
    ];
    for (header, reason) in wrong {
        for (method, path) in [
            ("POST", "/blockip"),
            ("GET", "/blockip"),
            ("POST", "/nowhere"),
            ("GET", "/metrics"),
            ("POST", "/healthz"),
            ("OPTIONS", "/blockip"),
        ] {
            // Neither a type nor a coding that is wrong may show before the token does.
            for extra in [JSON, ("Content-Encoding", "gzip")] {
                let mut headers = vec![extra];
                headers.extend(header.as_deref().map(|value| ("Authorization", value)));
                let answer = ask(&world, method, path, &headers, ALERT);
                let asked = format!("{method} {path} {header:?}: {answer:?}");
                assert_eq!(answer.status, 401, "{asked}");
                assert_eq!(answer.json["error"], "unauthorized", "{asked}");
                let said = answer.json["reason"].as_str().unwrap_or_default();
                assert!(["missing bearer", "bad token"].contains(&said), "{asked}");
                assert!(reason.is_empty() || said == reason, "{asked}");
                assert!(answer.message().contains("Authorization"), "{asked}");
            }
        }
    }
    // Of two headers a proxy on the way could look at the other one.
    let (right, other) = (world.bearer(), bearing(&"1".repeat(64)));
    for both in [[&other, &right], [&right, &other], [&right, &right]] {
        let headers = both.map(|value| ("Authorization", value.as_str()));
        let headers = [&headers[..], &[JSON]].concat();
        let answer = ask(&world, "POST", "/blockip", &headers, ALERT);
        assert_eq!((answer.status, &answer.json["reason"]), (401, &json!("bad token")));
        assert!(answer.message().contains("more than one Authorization"), "{answer:?}");
    }
    // In other places the right token is not one.
    for headers in [[("X-Token", token), JSON], [("Cookie", token), JSON]] {
        assert_eq!(ask(&world, "POST", "/blockip", &headers, ALERT).status, 401);
    }
    let path = format!("/blockip?token={token}");
    assert_eq!(ask(&world, "POST", &path, &[JSON], ALERT).status, 401);
    assert!(!world.read("webhookd.log").contains(token));
}

#[test]
fn with_the_token_each_mistake_is_named() {
    let world = World::new();
    let right = world.bearer();
    let token = ("Authorization", right.as_str());
    let typed = |value| vec![token, ("Content-Type", value)];
    let coded = |value| vec![token, JSON, ("Content-Encoding", value)];
    let header = "add the header `Content-Type: application/json`";
    for (method, path, headers, status, words) in [
        ("POST", "/", vec![token, JSON], 404, "POST /blockip"),
        ("POST", "/blockip/", vec![token, JSON], 404, "POST /blockip"),
        ("POST", "//blockip", vec![token, JSON], 404, "POST /blockip"),
        ("POST", "/BLOCKIP", vec![token, JSON], 404, "POST /blockip"),
        ("POST", "/blockip/../blockip", vec![token, JSON], 404, "POST /blockip"),
        ("GET", "/nowhere", vec![token], 404, "POST /blockip"),
        ("GET", "/blockip", vec![token, JSON], 405, "takes POST"),
        ("PUT", "/blockip", vec![token, JSON], 405, "takes POST"),
        ("PATCH", "/blockip", vec![token], 405, "takes POST"),
        ("DELETE", "/blockip", vec![token, JSON], 405, "takes POST"),
        ("OPTIONS", "/blockip", vec![token], 405, "takes POST"),
        ("BREW", "/blockip", vec![token, JSON], 405, "takes POST"),
        ("POST", "/blockip", coded("gzip"), 415, "compressed"),
        ("POST", "/blockip", coded("br"), 415, "compressed"),
        ("POST", "/blockip", coded("deflate, gzip"), 415, "compressed"),
        ("POST", "/blockip", vec![token], 400, header),
        ("POST", "/blockip", typed(""), 400, header),
        ("POST", "/blockip", typed("text/plain"), 400, header),
        ("POST", "/blockip", typed("application/x-www-form-urlencoded"), 400, header),
        ("POST", "/blockip", typed("multipart/form-data; boundary=x"), 400, header),
        ("POST", "/blockip", typed("application/jsonp"), 400, header),
        ("POST", "/blockip", typed("text/plain; application/json"), 400, header),
        // What Kibana and its neighbours really send.
        ("POST", "/blockip", typed("application/json"), 200, ADDRESS),
        ("POST", "/blockip", typed("application/json; charset=utf-8"), 200, ADDRESS),
        ("POST", "/blockip", typed("application/json;charset=UTF-8"), 200, ADDRESS),
        ("POST", "/blockip", typed("Application/JSON"), 200, ADDRESS),
        ("POST", "/blockip", coded("identity"), 200, ADDRESS),
        ("POST", "/blockip?from=kibana", vec![token, JSON], 200, ADDRESS),
    ] {
        let answer = ask(&world, method, path, &headers, ALERT);
        assert_eq!(answer.status, status, "{method} {path} {headers:?}: {answer:?}");
        assert!(answer.message().contains(words), "{method} {path} {headers:?}: {answer:?}");
    }
    // RFC 9110 11.1: the scheme's case does not matter.
    let lower = right.replace("Bearer", "bearer");
    let answer = ask(&world, "POST", "/blockip", &[("Authorization", &lower), JSON], ALERT);
    assert_eq!(answer.status, 200, "{answer:?}");
    let asked = world.lines("privd.log", &["INFO block,"]);
    assert_eq!(asked.len(), 7, "privd was asked by a request that is wrong: {asked:#?}");
}

#[test]
fn each_unusable_body_is_answered_with_what_to_mend() {
    // privd does not run: a body that were taken for an alert would be answered 503.
    let world = webhookd_alone("");
    let good = "{{context.alerts.0.source.ip}}";
    let many: Vec<String> =
        (0..=10_000).map(|n| format!("198.{}.{}.7", n / 256, n % 256)).collect();
    let many = json!({ "ips": many }).to_string();
    let deep = "[".repeat(100_000);
    let deep_elsewhere = format!("{{\"x\":{deep}");
    for (body, words) in [
        ("", "it is empty"),
        (" ", "it is empty"),
        ("ip=203.0.113.45", "is a form"),
        ("{\"ip\":}", "a value is missing"),
        ("{\"ip\":\"203.0.113.45\"", "not JSON"),
        ("{\"ip\":\"203.0.113.45\"} x", "not JSON"),
        ("{'ip':'203.0.113.45'}", "quotes are not JSON's"),
        ("{\"ip\":203.0.113.45}", "no quotes"),
        ("{\"ips\":[\"203.0.113.45\",]}", "a comma too many"),
        ("{\"alerts\":[{\\\"_id\\\":\\\"8f\\\"}]}", "write three"),
        (deep.as_str(), "64 deep"),
        (deep_elsewhere.as_str(), "64 deep"),
        // Kibana sends a template that did not render to JSON as a JSON string.
        ("\"{\\\"ip\\\":}\"", "a value is missing"),
        ("\"error rendering mustache template \\\"{{x}\\\": Unclosed tag at 4\"", "Unclosed tag"),
        ("[]", "missing or invalid 'ip'"),
        ("7", "must be a JSON object"),
        ("true", "must be a JSON object"),
        ("null", "must be a JSON object"),
        ("{}", "missing or invalid 'ip'"),
        ("{\"IP\":\"203.0.113.45\"}", "missing or invalid 'ip'"),
        ("{\"host\":{\"ip\":\"203.0.113.45\"}}", "missing or invalid 'ip'"),
        ("{\"alerts\":[{\"host\":{\"ip\":\"203.0.113.45\"}}]}", "name no `source.ip`"),
        ("{\"ip\":203}", "Invalid IP: 203 not a text"),
        ("{\"ip\":null}", "missing or invalid 'ip'"),
        ("{\"ip\":true}", "Invalid IP: true not a text"),
        ("{\"ip\":{}}", "Invalid IP: {...} is an object"),
        ("{\"ip\":\"\"}", "never fill {{context.source.ip}}"),
        ("{\"ip\":\" \\t \"}", "missing or invalid 'ip'"),
        ("{\"ip\":\"{{context.alerts.0.source.ip}}\"}", "not rendered"),
        ("{\"ip\":\"{{{context.source.ip}}}\"}", "not rendered"),
        ("{\"ips\":[\"203.0.113.45\",\"{{x}}\"]}", "not rendered"),
        ("{\"alerts\":{{{context.alerts.asJSON}}}}", "not rendered"),
        ("{\"ips\":{\"0\":\"203.0.113.45\"}}", "Invalid IP: {...} is an object"),
        ("{\"ips\":null}", "missing or invalid 'ip'"),
        ("{\"ips\":[7]}", "Invalid IP: 7 not a text"),
        ("{\"ips\":[]}", "missing or invalid 'ip"),
        ("{\"ips\":[\"\",\" \"]}", "missing or invalid 'ip"),
        (many.as_str(), "more than 10000 addresses"),
        ("{\"ip\":\"203.0.113.45\",\"reason\":7}", "'reason'"),
        ("{\"ip\":\"203.0.113.45\",\"rule_name\":[]}", "'rule_name'"),
        ("{\"ip\":\"203.0.113.45\",\"alert_id\":{}}", "'alert_id'"),
    ] {
        let shown = &body[..body.len().min(80)];
        let answer = proper(world.post_text(body));
        assert_eq!(answer.status, 400, "{shown}: {answer:?}");
        assert!(answer.message().contains(words), "{shown}: {answer:?}");
        let outcomes = answer.json["results"].as_array();
        assert!(
            outcomes.is_none_or(|all| all.iter().all(|one| one["outcome"] == "invalid")),
            "{shown}: {answer:?}"
        );
    }
    // A template that is wrong is told the one that works; Kibana's Test button, what to send.
    for body in ["", "[]", "{}", "{\"ip\":7}", "{\"ip\":\"\"}"] {
        assert!(world.post_text(body).message().contains(good), "{body}");
    }
    let test_button = world.post_text("{\"ip\":\"{{context.alerts.0.source.ip}}\"}");
    let body = "{\"ip\":\"203.0.113.45\",\"duration\":\"1m\"}";
    assert!(test_button.message().contains(body), "{test_button:?}");

    let mut connection = world.connection();
    let head = request(
        "POST",
        "/blockip",
        &[("Authorization", &world.bearer()), JSON, ("Connection", "close")],
        "{\"ip\":\"xx\"}",
    );
    let not_utf8: Vec<u8> =
        head.bytes().map(|byte| if byte == b'x' { 0xff } else { byte }).collect();
    connection.write_all(&not_utf8).unwrap();
    let answer = proper(read_answer(&mut connection).unwrap());
    assert_eq!(answer.status, 400, "{answer:?}");
    assert!(answer.message().contains("not JSON"), "{answer:?}");
}

#[test]
fn what_a_template_renders_is_understood_in_whatever_form() {
    let world = World::new();
    let two = ["198.51.100.23", "198.51.100.24"];
    for (body, addresses) in [
        ("\"198.51.100.23\"", &two[..1]),
        ("198.51.100.23,198.51.100.24", &two),
        ("[\"198.51.100.23\",\"198.51.100.24\"]", &two),
        ("{\"ip\":\"198.51.100.23\",\"ips\":[\"198.51.100.24\"]}", &two),
        ("{\"ips\":\"198.51.100.23,198.51.100.24\"}", &two),
        ("{\"ips\":[[\"198.51.100.23\"],null]}", &two[..1]),
        (
            "{\"alerts\":[{\"source\":{\"ip\":\"198.51.100.23\"}},{\"source.ip\":\"198.51.100.24\"}]}",
            &two,
        ),
        ("{\"context\":{\"hits\":[{\"_source\":{\"source.ip\":\"198.51.100.23\"}}]}}", &two[..1]),
    ] {
        let answer = proper(world.post_text(body));
        assert_eq!(answer.status, 200, "{body}: {answer:?}");
        let results = answer.json["results"].as_array().unwrap();
        let answered: Vec<&str> = results.iter().map(|one| one["ip"].as_str().unwrap()).collect();
        assert_eq!(answered, addresses, "{body}: {answer:?}");
    }
    let glued = proper(world.post(&json!({ "ips": ["198.51.100.23", "198.51.100.7203.0.113.7"] })));
    assert_eq!((glued.status, glued.outcomes()), (207, vec!["already-blocked", "invalid"]));
    assert!(glued.message().contains("{\"alerts\":{{{context.alerts.asJSON}}}}"), "{glued:?}");
}

#[test]
fn a_recovered_notification_is_answered_200_and_blocks_nobody() {
    let world = webhookd_alone("");
    for body in [
        json!({ "ip": "203.0.113.45", "alert": { "actionGroup": "recovered" } }),
        json!({ "alerts": [{ "source.ip": "203.0.113.45", "kibana.alert.status": "recovered" }] }),
    ] {
        let answer = proper(world.post(&body));
        assert_eq!((answer.status, answer.outcomes()), (200, vec![]), "{answer:?}");
        assert!(answer.message().contains("recovered"), "{answer:?}");
    }
}

#[test]
fn an_address_that_could_be_read_in_two_ways_is_invalid() {
    let world = webhookd_alone("");
    for text in [
        "010.0.0.1",
        "203.0.113.045",
        "1.2.3",
        "1.2.3.4.5",
        "1.2.3.256",
        "3405803821",
        "0xcb.0.113.45",
        "203.0.113.45/33",
        "203.0.113.0/024",
        "203.0.113.0/+24",
        "203.0.113.0/",
        "203.0.113.0/255.255.255.0",
        "203.0.113.45/24",
        "2001:db8::7/64",
        "2001:db8::/129",
        "0.0.0.0/0",
        "::/0",
        "::ffff:0:0/96",
        "fe80::1%eth0",
        "[2001:db8::7]",
        "2001:db8:::7",
        "2001:db8::7::",
        "203.0.113.45:22",
        "203.0.113.45\u{0}",
        "２０３.０.１１３.４５",
        "any",
        "0",
        "-1",
        "--help",
        "$(id)",
        "203.0.113.45; id",
        "example.org",
        "null",
        "undefined",
        "[object Object]",
    ] {
        for body in [json!({ "ip": text }), json!({ "ips": [text] })] {
            let answer = proper(world.post(&body));
            assert_eq!((answer.status, answer.outcomes()), (400, vec!["invalid"]), "{answer:?}");
            assert!(answer.message().starts_with("Invalid IP: "), "{answer:?}");
        }
    }
    let told = world.post(&json!({ "ip": "203.0.113.45/24" }));
    assert!(told.message().contains("the network is 203.0.113.0/24"), "{told:?}");
}

#[test]
fn an_address_that_must_not_be_blocked_is_refused_with_the_reason() {
    let mut world = World::without_daemons("ufw allow 22/tcp");
    world.configure("never-block = [\"198.51.100.0/28\"]\nwidest-v4 = 20", "");
    world.start();
    let rules = world.ufw("status numbered");
    for (address, reason) in [
        ("127.0.0.1", "reserved"),
        ("0.0.0.0", "reserved"),
        ("255.255.255.255", "reserved"),
        ("224.0.0.1", "reserved"),
        ("169.254.169.254", "reserved"),
        ("::1", "reserved"),
        ("::", "reserved"),
        ("fe80::1", "reserved"),
        ("ff02::1", "reserved"),
        ("::ffff:127.0.0.1", "reserved"),
        (SERVER, "own-address"),
        ("203.0.113.0/24", "own-address"),
        ("2001:db8:1::1", "own-address"),
        (KIBANA, "ufw-allow"),
        ("198.51.100.7", "never-block"),
        ("198.51.100.0/24", "never-block"),
        ("172.16.0.0/19", "too-wide"),
        ("2001:db8:8000::/33", "too-wide"),
    ] {
        let answer = proper(world.post(&json!({ "ip": address })));
        assert_eq!((answer.status, answer.outcomes()), (422, vec!["refused"]), "{answer:?}");
        assert_eq!(answer.json["results"][0]["reason"], reason, "{answer:?}");
        assert_eq!(answer.json["ip"], address);
        assert!(answer.message().starts_with(&format!("Refused to block {address}: ")));
    }
    let mixed = proper(world.post(&json!({ "ips": ["127.0.0.1", "nonsense"] })));
    assert_eq!((mixed.status, mixed.outcomes()), (422, vec!["refused", "invalid"]));
    assert_eq!(world.ufw("status numbered"), rules, "a refused address changed the rules");
    assert_eq!(world.ctl_json("list"), json!([]));
}

#[test]
fn the_guides_contract_holds_for_a_block() {
    let world = World::new();
    let answer = proper(world.post_text(ALERT));
    assert_eq!(
        (answer.status, answer.json),
        (
            200,
            json!({
                "status": "ok",
                "ip": ADDRESS,
                "output": "Blocked IP: 192.0.2.45",
                "message": "Blocked IP: 192.0.2.45",
                "results": [{
                    "ip": ADDRESS,
                    "outcome": "blocked",
                    "message": "Blocked IP: 192.0.2.45",
                    "enforced_as": ADDRESS,
                    "until": "permanent",
                }],
            })
        )
    );
    let again = proper(world.post_text(ALERT));
    assert_eq!(again.status, 200);
    assert_eq!(again.json["status"], "ok");
    assert_eq!(again.json["ip"], ADDRESS);
    assert_eq!(again.json["output"], "IP already blocked: 192.0.2.45");
    // The same address in another dress.
    for dress in [" 192.0.2.45 ", "192.0.2.45/32", "::ffff:192.0.2.45", "::FFFF:c000:22d"] {
        let answer = proper(world.post(&json!({ "ip": dress })));
        assert_eq!((answer.status, answer.outcomes()), (200, vec!["already-blocked"]), "{dress}");
        assert_eq!(answer.json["results"][0]["enforced_as"], ADDRESS, "{dress}");
    }
    let several = proper(world.post(&json!({ "ips": [ADDRESS, "192.0.2.46", ADDRESS] })));
    assert_eq!(several.status, 200);
    assert_eq!(several.json["ip"], ADDRESS);
    assert_eq!(several.json["output"], "IP already blocked: 192.0.2.45; Blocked IP: 192.0.2.46");
}

#[test]
fn nothing_from_outside_can_forge_a_log_line_and_no_token_is_logged() {
    let world = World::new();
    let token = world.bearer();
    let right = ("Authorization", token.as_str());
    let forgery = "x\n<0>forged\r\nNov 22 00:00:00.000 CRIT forged\u{1b}[2J\u{7f}\u{85}\u{9b}31m\
                   \u{2028}\u{202e}\u{2066}\u{0}\"\\";
    let flood = format!("{forgery}{}", "y".repeat(100_000));
    let alert =
        json!({ "ip": ADDRESS, "reason": forgery, "rule_name": flood, "alert_id": forgery });
    assert_eq!(proper(world.post(&alert)).status, 200);
    // Repeated, refused and mixed with what is no address: each has its own line.
    assert_eq!(proper(world.post(&alert)).outcomes(), ["already-blocked"]);
    let refused =
        json!({ "ips": ["127.0.0.1", forgery, flood], "reason": flood, "rule_name": forgery });
    let answer = proper(world.post(&refused));
    assert_eq!((answer.status, answer.outcomes()), (422, vec!["refused", "invalid", "invalid"]));
    assert_eq!(proper(world.post(&json!({ "ip": forgery }))).status, 400);
    let body = json!({ "ip": "192.0.2.46", forgery: 7 }).to_string();
    assert_eq!(proper(world.post_text(&body)).status, 200);
    let query = format!("/blockip?token={}&x=%0a%3c0%3eforged", world.token);
    let agent = ("User-Agent", "x\u{9b}31m\u{2028}<0>forged");
    for path in [
        "/x%0a%3c0%3eforged",
        "/x%0d%0aNov%2022%2000:00:00.000%20CRIT%20forged%1b[2J",
        "/x\u{9b}31m\u{2028}\u{202e}forged",
        query.as_str(),
    ] {
        for headers in
            [&[right, JSON, agent][..], &[("Authorization", "Bearer \u{9b}\t<0>x"), agent]]
        {
            // Some of these the HTTP library turns away by itself: then only the logs count.
            let _ = exchange(&mut world.connection(), &request("POST", path, headers, ALERT));
        }
    }
    for raw in [
        "POST /x%0a<0>forged HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
        format!("POST /blockip HTTP/1.1\r\nHost: x\r\nAuthorization {token}\r\n\r\n"),
        format!("POST /blockip HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\u{1b}[2J\r\n\r\n"),
        format!("POST {token} HTTP/1.1\r\nHost: x\r\n\r\n"),
        format!("{token}\u{1b}[2J\r\n\r\n"),
    ] {
        let _ = exchange(&mut world.connection(), &raw);
    }
    // The line of an answer is written before the answer.
    for log in ["webhookd.log", "privd.log"] {
        let text = world.read(log);
        assert!(text.ends_with('\n'), "{log}");
        for line in text.lines() {
            assert!(begins_with_a_time(line), "{log}: a line was forged: {line:?}");
            let steers = line.chars().find(|c| steers_a_terminal(*c));
            assert_eq!(steers, None, "{log}: {line:?}");
            assert!(line.len() < 4096, "{log}: a line was flooded: {} bytes", line.len());
        }
        assert!(!text.contains(&world.token), "{log} holds the token");
    }
    // Escaped, it is there.
    let told = world.lines("privd.log", &[ADDRESS, "outcome: blocked"]);
    assert!(told[0].contains(r"x\n<0>forged\r\nNov"), "{told:#?}");
    assert!(!world.lines("webhookd.log", &["path: /x%0a%3c0%3eforged"]).is_empty());
    // Nor does the operator's terminal see it raw.
    for command in [&["list"][..], &["show", ADDRESS], &["status"]] {
        let (text, code) = world.ctl(command);
        assert_eq!(code, 0, "{text}");
        let steers = text.chars().find(|c| *c != '\n' && steers_a_terminal(*c));
        assert_eq!(steers, None, "{command:?}: {text:?}");
        assert!(!text.lines().any(|line| line.starts_with("<0>")), "{text}");
    }
}

#[test]
fn the_lines_of_both_daemons_about_one_request_carry_one_event() {
    let world = World::new();
    let mut events = Vec::new();
    for (body, status) in [
        (json!({ "ip": ADDRESS }), 200),
        (json!({ "ip": ADDRESS }), 200),
        (json!({ "ip": "127.0.0.1" }), 422),
        (json!({ "ips": ["192.0.2.46", "192.0.2.47", "127.0.0.1"] }), 207),
    ] {
        let seen = world.read("webhookd.log").len();
        assert_eq!(world.post(&body).status, status);
        let log = world.read("webhookd.log");
        let line = log[seen..].lines().find(|line| line.contains("webhook, ")).unwrap();
        assert!(line.contains(&format!("status: {status}, token: kibana, client: {KIBANA}")));
        let event = line.split("event: ").nth(1).unwrap().to_owned();
        assert!(event.len() == 32 && event.bytes().all(|b| b.is_ascii_hexdigit()), "{line}");
        let told = world.lines("privd.log", &["block, ", &format!("event: {event}, ")]);
        let targets = body["ips"].as_array().map_or(1, Vec::len);
        assert_eq!(told.len(), targets, "one line a target: {told:#?}");
        for line in told {
            assert!(line.contains(&format!("requester: {KIBANA}, ")), "{line}");
            assert!(line.contains("peer: uid 4711 gid 4711 pid "), "{line}");
        }
        events.push(event);
    }
    events.sort_unstable();
    events.dedup();
    assert_eq!(events.len(), 4, "two requests shared an event");
}

#[test]
fn a_connection_stays_in_step_whatever_was_answered() {
    let mut world = World::without_daemons("ufw allow 22/tcp");
    world.configure("", "limits = { max-body = \"64KiB\" }");
    world.start();
    world.block(ADDRESS);
    let right = world.bearer();
    let token = ("Authorization", right.as_str());
    let good = request("POST", "/blockip", &[token, JSON], ALERT);
    // Whoever reads a refused body as the next request blocks this one.
    let smuggled = request("POST", "/blockip", &[token, JSON], r#"{"ip":"198.51.100.66"}"#);
    let over = format!("{}{smuggled}", " ".repeat(65_537 - smuggled.len()));
    let far_over = smuggled.repeat(5_000);
    let filled = format!("{ALERT}{}", " ".repeat(65_536 - ALERT.len()));
    let chunked = |first, body: &str| {
        let headers = [first, JSON, ("Transfer-Encoding", "chunked")];
        let head = request("POST", "/blockip", &headers, "").replace("Content-Length: 0\r\n", "");
        format!("{head}{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
    };
    let mut connection = world.connection();
    let mut kept = 0;
    for (what, text, status) in [
        ("a good one", good.clone(), 200),
        ("a good one in chunks", chunked(token, ALERT), 200),
        ("a body of exactly max-body", request("POST", "/blockip", &[token, JSON], &filled), 200),
        ("no token, no body", request("POST", "/blockip", &[JSON], ""), 401),
        ("no token", request("POST", "/blockip", &[JSON], &smuggled), 401),
        ("no token, in chunks", chunked(("Authorization", "Bearer x"), &smuggled), 401),
        ("nowhere", request("POST", "/nowhere", &[token, JSON], &smuggled), 404),
        ("nowhere, no body", request("GET", "/nowhere", &[token], ""), 404),
        ("GET with a body", request("GET", "/blockip", &[token, JSON], &smuggled), 405),
        (
            "gzip",
            request("POST", "/blockip", &[token, ("Content-Encoding", "gzip")], &smuggled),
            415,
        ),
        ("no type", request("POST", "/blockip", &[token], &smuggled), 400),
        ("not JSON", request("POST", "/blockip", &[token, JSON], &smuggled), 400),
        ("one byte over", request("POST", "/blockip", &[token, JSON], &over), 413),
        ("far over", request("POST", "/blockip", &[token, JSON], &far_over), 413),
        ("far over, in chunks", chunked(token, &far_over), 413),
        ("no token and far over", request("POST", "/blockip", &[JSON], &far_over), 401),
    ] {
        let answer = exchange(&mut connection, &text);
        let answer = proper(answer.unwrap_or_else(|error| panic!("{what}: {error}")));
        assert_eq!(answer.status, status, "{what}: {answer:?}");
        if status == 413 {
            assert!(answer.message().contains("limits.max-body of 65536 bytes"), "{answer:?}");
        }
        if announces_its_end(&answer) {
            assert_eq!(connection.read(&mut [0; 1]).unwrap_or(0), 0, "{what}: a second answer");
            connection = world.connection();
        } else {
            kept += 1;
        }
        // On the same connection where it was kept.
        let next = exchange(&mut connection, &good);
        let next = proper(next.unwrap_or_else(|error| panic!("after {what}: {error}")));
        assert_eq!((next.status, &next.json["ip"]), (200, &json!(ADDRESS)), "after {what}");
        assert!(!announces_its_end(&next), "after {what}: {next:?}");
    }
    assert!(kept >= 6, "only {kept} answers left their connection open");

    connection.write_all(good.repeat(3).as_bytes()).unwrap();
    for _ in 0..3 {
        assert_eq!(proper(read_answer(&mut connection).unwrap()).status, 200);
    }
    // Kibana asks for the end of the connection in each request.
    let last = request("POST", "/blockip", &[token, JSON, ("Connection", "close")], ALERT);
    let answer = exchange(&mut connection, &last).unwrap();
    assert_eq!(answer.status, 200);
    assert!(announces_its_end(&answer), "{answer:?}");
    assert_eq!(connection.read(&mut [0; 1]).unwrap(), 0, "the end comes with close_notify");

    assert_eq!(world.ctl_json("list").as_array().unwrap().len(), 1, "a body was obeyed");
    assert!(!world.read("privd.log").contains("198.51.100.66"));
}

#[test]
fn nothing_of_a_body_is_awaited_before_its_sender_is_known() {
    let world = webhookd_alone("");
    let right = world.bearer();
    let token = ("Authorization", right.as_str());
    for (method, path, headers, status) in [
        ("POST", "/blockip", vec![JSON], 401),
        ("POST", "/blockip", vec![("Authorization", "Bearer x"), JSON], 401),
        ("POST", "/nowhere", vec![token, JSON], 404),
        ("PUT", "/blockip", vec![token, JSON], 405),
        ("POST", "/blockip", vec![token, ("Content-Encoding", "gzip")], 415),
        ("POST", "/blockip", vec![token], 400),
    ] {
        let head = request(method, path, &headers, "");
        let head = head.replace("Content-Length: 0", "Content-Length: 1000000");
        let answer = proper(exchange(&mut world.connection(), &head).unwrap());
        assert_eq!(answer.status, status, "{method} {path} {headers:?}");
        assert!(announces_its_end(&answer), "{method} {path} {headers:?}: {answer:?}");
    }
}

#[test]
fn what_is_not_http_ends_its_own_connection_alone() {
    let world = webhookd_alone("");
    let token = world.bearer();
    let mut bystander = world.connection();
    let alive = request("GET", "/healthz", &[], "");
    let head = format!("POST /blockip HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n");
    let json = format!("{head}Content-Type: application/json\r\n");
    for text in [
        "\r\n\r\n\u{0}\u{1}\u{2}\r\n\r\n".to_owned(),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        "SSH-2.0-OpenSSH_9.2p1\r\n\r\n".to_owned(),
        format!("{head}No colon here\r\n\r\n"),
        format!("{head}X: {}\r\n\r\n", "x".repeat(200_000)),
        // Two lengths: where a proxy and we could disagree about the end of a request.
        format!("{json}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{ALERT}"),
        format!("{json}Content-Length: 19\r\nContent-Length: 2\r\n\r\n{ALERT}"),
        format!("{json}Content-Length: -1\r\n\r\n{ALERT}"),
        format!("{json}Transfer-Encoding: chunked\r\n\r\nzz\r\n{ALERT}\r\n0\r\n\r\n"),
    ] {
        let shown = &text[..text.len().min(300)];
        let mut connection = world.connection();
        // The server may have gone before the last byte.
        let _ = connection.write_all(text.as_bytes()).and_then(|()| connection.flush());
        let heard = hear_out(&mut connection);
        let statuses: Vec<&str> =
            heard.split("HTTP/1.1 ").skip(1).filter_map(|answer| answer.get(..3)).collect();
        assert!(statuses.iter().all(|status| ["400", "431"].contains(status)), "{shown}: {heard}");
        assert!(!heard.contains(&world.token), "{shown}: {heard}");
        assert_eq!(exchange(&mut bystander, &alive).unwrap().status, 200, "after {shown}");
    }
    // No TLS at all.
    let plain = world.kibana.connect("10.9.0.1:5001".parse().unwrap(), PATIENCE);
    let mut plain = plain.unwrap();
    plain.set_read_timeout(Some(PATIENCE)).unwrap();
    plain.write_all(request("POST", "/blockip", &[JSON], ALERT).as_bytes()).unwrap();
    let mut heard = Vec::new();
    let _ = plain.read_to_end(&mut heard);
    assert!(!String::from_utf8_lossy(&heard).contains("HTTP"), "{heard:?}");
    assert_eq!(exchange(&mut bystander, &alive).unwrap().status, 200);
    until("webhookd lives", 5, || world.post_text("{}").status == 400);
}

#[test]
fn lines_off_systemd_begin_with_the_time_in_utc_wherever_the_host_is() {
    let world = World::new();
    let date = || world.server.sh("date -u +'%b %d %H:%M'").trim().to_owned();
    let before = date();
    world.block(ADDRESS);
    let now = [before, date()];
    for log in ["webhookd.log", "privd.log"] {
        let text = world.read(log);
        let line = text.lines().last().unwrap();
        assert!(begins_with_a_time(line), "{log}: {line}");
        assert!(now.iter().any(|now| line.starts_with(now)), "{log}: at {now:?}: {line}");
    }
}

/// A world in which only webhookd runs: whatever would reach privd is answered 503.
fn webhookd_alone(webhookd_toml: &str) -> World {
    let mut world = World::without_daemons("true");
    world.configure("", webhookd_toml);
    world.start_webhookd();
    world
}

fn ask(world: &World, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    proper(world.send(&request(method, path, headers, body)))
}

/// Checks what is promised of every answer.
fn proper(answer: Answer) -> Answer {
    let head = answer.head.to_ascii_lowercase();
    assert!(head.contains("\r\ncontent-type: application/json\r\n"), "{answer:?}");
    assert!(!(300..400).contains(&answer.status), "a redirect: {answer:?}");
    assert!(!head.contains("\r\nlocation:"), "a redirect: {answer:?}");
    assert!(answer.json.is_object(), "{answer:?}");
    let message = answer.message();
    assert!(!message.is_empty(), "{answer:?}");
    assert!(!message.chars().any(steers_a_terminal), "{answer:?}");
    let (status, error) = (&answer.json["status"], &answer.json["error"]);
    if answer.status < 300 {
        assert!(status == "ok" && error.is_null(), "{answer:?}");
    } else {
        assert_eq!(status, "error", "{answer:?}");
        let expected = if answer.status == 401 { "unauthorized" } else { message };
        assert_eq!(error, expected, "{answer:?}");
    }
    let text = answer.json.to_string();
    for words in ["Rule added", "Rule inserted", "Skipping", "ERROR:", "WARN:", "/etc/ufw"] {
        assert!(!text.contains(words), "ufw's raw output: {answer:?}");
    }
    answer
}

fn announces_its_end(answer: &Answer) -> bool {
    answer.head.to_ascii_lowercase().contains("\r\nconnection: close\r\n")
}

/// Reads to the end, however it comes.
fn hear_out(connection: &mut Connection) -> String {
    let (mut heard, mut chunk) = (String::new(), [0; 4096]);
    while let Ok(read @ 1..) = connection.read(&mut chunk) {
        write!(heard, "{}", String::from_utf8_lossy(&chunk[..read])).unwrap();
    }
    heard
}

/// Whether a line begins as slog-term's do: `Nov 22 18:13:11.404 INFO `.
fn begins_with_a_time(line: &str) -> bool {
    let shape = "Aaa 00 00:00:00.000 AAAA ";
    let fits = |(shape, c): (char, char)| match shape {
        'A' => c.is_ascii_uppercase(),
        'a' => c.is_ascii_lowercase(),
        '0' => c.is_ascii_digit(),
        other => c == other,
    };
    line.len() > shape.len() && shape.chars().zip(line.chars()).all(fits)
}

/// Control characters, C1 included, line separators and what turns the direction of writing.
fn steers_a_terminal(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);
