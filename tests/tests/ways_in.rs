//! Who gets in, and over which TLS: a token in one of two headers or a client certificate, each
//! alone.

use std::net::TcpStream;

use rustls::version::{TLS12, TLS13};
use rustls::{ALL_VERSIONS, ProtocolVersion};
use serde_json::json;
use tests::https::{self, Client, Connection, JSON, exchange, request};
use tests::{World, certificates};

/// A token of the right length that nobody was given.
const WRONG: &str = "0123456789abcdef0123456789abcdef";

/// Two authorities, and certificates that they sign: `NAME-of-CA`.
const CERTIFICATES: &str = "
    for ca in ours theirs; do
        root $ca
        for name in client server; do
            request $name-of-$ca kibana-$ca
            sign $name-of-$ca $ca 2 extendedKeyUsage=${name}Auth
        done
    done
";

/// webhookd alone, which takes certificates by one of the authorities.
fn world(client_ca: Option<&str>) -> World {
    let mut world = World::without_daemons("true");
    certificates::make(&world, CERTIFICATES);
    configure(&world, client_ca);
    world.start_webhookd();
    world
}

fn configure(world: &World, client_ca: Option<&str>) {
    let line = client_ca.map(|ca| format!("tls.client-ca = \"{}\"", world.path(ca)));
    world.configure("", &line.unwrap_or_default());
}

fn read_again(world: &World, until: &str) {
    world.write("webhookd.log", "");
    world.hang_up();
    world.wait_for("read again: ", "webhookd.log");
    world.wait_for(until, "webhookd.log");
}

/// A client that shows a certificate, if it is given a name.
fn client(world: &World, certificate: Option<&str>) -> Client {
    let at = world.directory.path();
    let own =
        certificate.map(|name| (at.join(format!("{name}.pem")), at.join(format!("{name}.key"))));
    let own = own.as_ref().map(|(certificate, key)| (certificate.as_path(), key.as_path()));
    Client::with(&at.join("cert.pem"), own, ALL_VERSIONS)
}

fn connect(world: &World, client: &Client, name: &str) -> Connection {
    let stream = world.kibana.inside(|| TcpStream::connect("10.9.0.1:5001")).unwrap();
    client.handshake(stream, name)
}

/// What is heard with these headers: 404 is who got in, as there is nothing at /.
fn status(connection: &mut Connection, authorization: &[&str]) -> u16 {
    let headers: Vec<(&str, &str)> =
        authorization.iter().map(|value| ("Authorization", *value)).collect();
    exchange(connection, &request("GET", "/", &headers, "")).expect("an answer").status
}

fn basic(user: &str, password: &str) -> String {
    let encoded = std::process::Command::new("sh")
        .args(["-c", "printf %s \"$1\" | base64 -w0", "sh", &format!("{user}:{password}")])
        .output();
    format!("Basic {}", String::from_utf8(encoded.unwrap().stdout).unwrap())
}

#[test]
fn each_way_in_is_enough_and_without_one_nobody_gets_in() {
    let world = world(Some("ours.pem"));
    let second = "fedcba9876543210fedcba9876543210";
    let token = world.token.as_str();
    world.write("token", &format!("{token} # kibana\n{second} # siem 2026-11-23\n"));
    read_again(&world, "tokens: kibana, siem");
    let right = format!("Bearer {token}");
    let wrong = format!("Bearer {WRONG}");
    let ours = Some("client-of-ours");
    for (certificate, headers, status, words) in [
        (None, vec![right.clone()], 400, "token: kibana, client: 10.9.0.2, way: bearer"),
        (None, vec![format!("bearer {second}")], 400, "token: siem, client: 10.9.0.2, way: bearer"),
        (None, vec![basic("webhookd", token)], 400, "token: kibana, client: 10.9.0.2, way: basic"),
        (None, vec![basic("webhookd", second)], 400, "token: siem, client: 10.9.0.2, way: basic"),
        (ours, vec![], 400, "token: kibana-ours, client: 10.9.0.2, way: certificate"),
        (ours, vec![wrong.clone()], 400, "token: kibana-ours, client: 10.9.0.2, way: certificate"),
        (None, vec![], 401, "missing bearer"),
        (None, vec![wrong.clone()], 401, "bad token"),
        (None, vec![basic("webhookd", WRONG)], 401, "bad token"),
        (None, vec![basic("elastic", token)], 401, "bad token"),
        (None, vec![basic("", token)], 401, "bad token"),
        (None, vec![basic("webhookd", "kibana")], 401, "bad token"),
        (None, vec![basic("kibana", "")], 401, "bad token"),
        (None, vec![right.clone(), basic("webhookd", token)], 401, "bad token"),
        (ours, vec![right.clone(), right.clone()], 401, "bad token"),
    ] {
        world.write("webhookd.log", "");
        let mut all: Vec<(&str, &str)> = vec![JSON];
        all.extend(headers.iter().map(|value| ("Authorization", value.as_str())));
        let mut connection = connect(&world, &client(&world, certificate), "10.9.0.1");
        // Who gets in learns that the body asks for nothing.
        let answer = exchange(&mut connection, &request("POST", "/blockip", &all, "{}")).unwrap();
        assert_eq!(answer.status, status, "{certificate:?} {headers:?}: {answer:?}");
        let log = world.read("webhookd.log");
        assert!(log.contains(words), "{certificate:?} {headers:?}: no `{words}` in\n{log}");
        if status == 401 {
            assert_eq!(answer.json["reason"], words);
            // RFC 9110 15.5.2: a 401 names the ways in.
            let ways = answer.header("WWW-Authenticate").unwrap_or_default();
            assert!(ways.contains("Bearer") && ways.contains("Basic"), "{answer:?}");
        }
        for secret in
            [token, second, WRONG].iter().chain(headers.first().map(String::as_str).iter())
        {
            assert!(!log.contains(*secret), "{log}");
        }
        if words == "missing bearer" {
            for way in ["Authorization: Bearer", "user webhookd", "client certificate"] {
                assert!(answer.message().contains(way), "no {way}: {answer:?}");
            }
        }
    }
}

#[test]
fn a_certificate_lets_in_by_its_authority_alone() {
    let told = world(Some("ours.pem"));
    for (name, gets_in) in [
        ("client-of-ours", true),
        ("client-of-theirs", false),
        // Made for servers.
        ("server-of-ours", false),
        // An authority is no client.
        ("theirs", false),
    ] {
        let mut connection = connect(&told, &client(&told, Some(name)), "10.9.0.1");
        let answer = exchange(&mut connection, &request("GET", "/", &[], ""));
        assert_eq!(answer.as_ref().is_ok_and(|answer| answer.status == 404), gets_in, "{name}");
        assert_eq!(answer.is_ok(), gets_in, "{name}: the handshake failed");
    }
    told.wait_for("refused, why: no TLS: invalid peer certificate", "webhookd.log");
    // Where none is asked for none is looked at.
    let untold = world(None);
    let mut connection = connect(&untold, &client(&untold, Some("client-of-ours")), "10.9.0.1");
    assert_eq!(status(&mut connection, &[]), 401);
}

#[test]
fn other_authorities_and_tokens_count_at_once_and_no_connection_ends() {
    let world = world(Some("ours.pem"));
    let token = world.bearer();
    let new = format!("Bearer {WRONG}");
    let mut by_certificate = connect(&world, &client(&world, Some("client-of-ours")), "10.9.0.1");
    let mut by_token = connect(&world, &client(&world, None), "10.9.0.1");
    let mut judged = |ours: u16, old: u16, wrong: u16| {
        assert_eq!(status(&mut by_certificate, &[]), ours);
        assert_eq!(status(&mut by_token, &[&token]), old);
        assert_eq!(status(&mut by_token, &[&new]), wrong);
    };
    let fresh = |name: &str| {
        let mut connection = connect(&world, &client(&world, Some(name)), "10.9.0.1");
        exchange(&mut connection, &request("GET", "/", &[], "")).is_ok_and(|one| one.status == 404)
    };
    judged(404, 404, 401);
    assert!(fresh("client-of-ours") && !fresh("client-of-theirs"));

    configure(&world, Some("theirs.pem"));
    read_again(&world, "client_ca: 1 client authorities, tokens: unchanged");
    judged(401, 404, 401);
    assert!(!fresh("client-of-ours") && fresh("client-of-theirs"));

    let secret = world.read("token");
    world.write("token", &format!("{WRONG} # new\n"));
    configure(&world, None);
    read_again(&world, "client_ca: none, tokens: new");
    judged(401, 401, 404);
    assert!(!fresh("client-of-ours") && !fresh("client-of-theirs"));

    // A mistake changes nothing.
    configure(&world, Some("token"));
    world.write("webhookd.log", "");
    world.hang_up();
    world.wait_for("tls.client-ca: ", "webhookd.log");
    judged(401, 401, 404);

    world.write("token", &secret);
    configure(&world, Some("ours.pem"));
    read_again(&world, "client_ca: 1 client authorities, tokens: kibana");
    judged(404, 404, 401);
}

#[test]
fn tls_is_1_2_or_1_3_and_the_certificate_names_address_and_host() {
    let world = world(None);
    let trusted = world.directory.path().join("cert.pem");
    for (versions, expected) in [
        (&[&TLS12][..], ProtocolVersion::TLSv1_2),
        (&[&TLS13], ProtocolVersion::TLSv1_3),
        (ALL_VERSIONS, ProtocolVersion::TLSv1_3),
    ] {
        for name in ["10.9.0.1", "localhost"] {
            let mut connection = connect(&world, &Client::with(&trusted, None, versions), name);
            assert_eq!(status(&mut connection, &[]), 401);
            assert_eq!(connection.conn.protocol_version(), Some(expected), "{name}");
        }
    }
    let handshake = |options: &str| {
        let script = format!(
            "openssl s_client -connect 10.9.0.1:5001 {options} </dev/null 2>&1 || echo failed"
        );
        world.kibana.sh(&script)
    };
    let lowest = "-cipher ALL:@SECLEVEL=0";
    assert!(!handshake(&format!("-tls1_2 {lowest}")).contains("failed"));
    for version in ["-tls1_1", "-tls1"] {
        let said = handshake(&format!("{version} {lowest}"));
        assert!(said.contains("SSL alert number"), "{version}: {said}");
    }
    // Whoever offers HTTP/2 is not taken up on it.
    assert!(handshake("-alpn h2,http/1.1").contains("No ALPN negotiated"));
    assert!(handshake("-reconnect -tls1_2").matches("Reused, ").count() == 0, "a session resumed");
}

#[test]
fn nothing_that_is_asked_is_answered_with_a_redirect() {
    let world = world(None);
    let right = world.bearer();
    for path in [
        "/",
        "/blockip",
        "/blockip/",
        "//blockip",
        "/blockip?x=http://example.org",
        "//example.org/%2f..",
        "/healthz/",
        "/readyz/",
        "/metrics",
        "http://example.org/blockip",
        "/.well-known/acme-challenge/x",
    ] {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"] {
            for headers in [&[JSON][..], &[JSON, ("Authorization", right.as_str())]] {
                let host = request(method, path, headers, "{}").replace("webhookd", "example.org");
                let mut connection = world.connection();
                connection.sock.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
                std::io::Write::write_all(&mut connection, host.as_bytes()).unwrap();
                let head = head(&mut connection);
                assert!(!head.contains("\r\nlocation:"), "{method} {path}: {head}");
                let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
                assert!(!(300..400).contains(&status), "{method} {path}: {head}");
            }
        }
    }
}

/// The head of an answer, which to HEAD is all of it.
fn head(connection: &mut Connection) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        std::io::Read::read_exact(connection, &mut byte).unwrap();
        head.extend(byte);
    }
    String::from_utf8(head).unwrap().to_ascii_lowercase()
}

#[test]
fn a_body_is_asked_for_when_its_sender_is_known() {
    let world = world(None);
    let right = world.bearer();
    let wrong = format!("Bearer {WRONG}");
    for (headers, expected) in [
        (vec![], "http/1.1 401"),
        (vec![("Authorization", wrong.as_str())], "http/1.1 401"),
        (vec![("Authorization", right.as_str())], "http/1.1 100"),
    ] {
        let all = [&headers[..], &[JSON, ("Expect", "100-continue")]].concat();
        let request = request("POST", "/blockip", &all, "{}");
        let mut connection = world.connection();
        let without_body = request.strip_suffix("{}").unwrap();
        std::io::Write::write_all(&mut connection, without_body.as_bytes()).unwrap();
        let first = head(&mut connection);
        assert!(first.starts_with(expected), "{headers:?}: {first}");
        if expected.ends_with("100") {
            std::io::Write::write_all(&mut connection, b"{}").unwrap();
            let answer = https::read_answer(&mut connection).unwrap();
            assert_eq!(answer.status, 400, "{answer:?}");
        }
    }
    let log = world.read("webhookd.log");
    assert_eq!(log.matches("reason: bad token").count(), 1, "each attempt counts once: {log}");
    // Without it, too, as everywhere.
    world.configure("", "allow-clients = [\"127.0.0.1\"]");
    read_again(&world, "allow_clients: 127.0.0.1");
    let headers = [("Authorization", right.as_str()), JSON, ("Expect", "100-continue")];
    let answer = world.send(&request("POST", "/blockip", &headers, "{}"));
    assert_eq!((answer.status, &answer.json["reason"]), (401, &json!("source not in allowlist")));
}
