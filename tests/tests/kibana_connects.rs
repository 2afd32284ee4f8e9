//! Kibana's own client at the door: every way in, and each error that an operator reads when Kibana
//! cannot connect. The README explains these, row by row.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tests::node::{base64_of, connector, merged};
use tests::{Kibana, World, certificates};

/// The versions of axios that Kibana came with, the newest first.
const CLIENTS: [&str; 2] = ["axios", "axios-old"];

const TEMPLATE: &str = r#"{"ip":"{{context.alerts.0.source.ip}}"}"#;

#[test]
fn each_token_that_kibana_can_keep_lets_in_and_no_other() {
    let world = World::new();
    let mut kibana = Kibana::at(&world.kibana);
    let (token, wrong) = (&world.token, "0".repeat(64));
    let bearer = |token: &str| json!({ "Authorization": format!("Bearer {token}") });
    let in_clear = |token| {
        let mut headers = bearer(token);
        headers["Content-Type"] = "application/json".into();
        json!({ "headers": headers })
    };
    let basic = json!({ "hasAuth": true, "authType": "webhook-authentication-basic" });
    let before_8_10 = json!({ "hasAuth": true, "authType": null });
    let oauth2 = json!({ "hasAuth": true, "authType": "webhook-oauth2-client-credentials" });
    let user = |password: &str| json!({ "user": "webhookd", "password": password });
    let secret = |token| json!({ "secretHeaders": bearer(token) });
    // The same headers as Kibana merges them: basic, then configured ones, then secret ones.
    let user_and_secret = |password, token| merged(user(password), &secret(token));
    let ways = [
        ("a header in clear", in_clear(token), json!({}), true),
        ("a secret header", json!({}), secret(token), true),
        ("user and password", basic.clone(), user(token), true),
        ("user and password before 8.10", before_8_10, user(token), true),
        (
            "an access token",
            oauth2.clone(),
            json!({ "accessToken": format!("Bearer {token}") }),
            true,
        ),
        ("a secret header over one in clear", in_clear(&wrong), secret(token), true),
        ("a header over a password", merged(basic.clone(), &in_clear(token)), user(&wrong), true),
        ("a secret header over a password", basic.clone(), user_and_secret(&wrong, token), true),
        ("nothing", json!({}), json!({}), false),
        ("a wrong header in clear", in_clear(&wrong), json!({}), false),
        ("a wrong secret header", json!({}), secret(&wrong), false),
        ("a wrong secret header over a right one", in_clear(token), secret(&wrong), false),
        ("a wrong password", basic.clone(), user(&wrong), false),
        ("a wrong user", basic.clone(), json!({ "user": "kibana", "password": token }), false),
        (
            "a wrong access token",
            oauth2,
            json!({ "accessToken": format!("Bearer {wrong}") }),
            false,
        ),
        (
            "no word before",
            json!({}),
            json!({ "secretHeaders": { "Authorization": token } }),
            false,
        ),
        ("another header", json!({}), json!({ "secretHeaders": { "X-Token": token } }), false),
    ];
    for (row, (way, config, secrets, lets_in)) in ways.iter().enumerate() {
        for (column, client) in CLIENTS.iter().enumerate() {
            let mut connector = connector(&world);
            connector["secrets"] = json!({});
            let changes = json!({ "config": config, "secrets": secrets, "client": client });
            let connector = merged(connector, &changes);
            let address = format!("198.18.{column}.{row}");
            let alerts = json!({ "rule": "threshold", "addresses": [address] });
            let mut judgements = kibana.runs(&connector, TEMPLATE, &alerts);
            if *lets_in {
                assert_eq!(judgements[0].message, None, "{way}, {client}");
                assert_eq!(judgements[0].answer["results"][0]["outcome"], "blocked", "{way}");
                continue;
            }
            // Said three times an alert: that must lock nobody out.
            for again in [Some((30, 30)), Some((0, 300)), None] {
                let message = judgements[0].message.clone().unwrap_or_default();
                assert!(message.starts_with("[401] Unauthorized: "), "{way}, {client}: {message}");
                assert!(message.contains("Authorization"), "{way}, {client}: {message}");
                assert_eq!(judgements[0].again, again, "{way}, {client}");
                judgements = kibana.again();
            }
            assert_eq!(judgements.len(), 0);
        }
    }
    let expected = ways.iter().filter(|(.., lets_in)| *lets_in).count() * CLIENTS.len();
    assert_eq!(world.ctl_json("list").as_array().unwrap().len(), expected);
    assert!(!world.logs().contains(token.as_str()));
}

#[test]
fn a_client_certificate_lets_in_without_any_token() {
    let mut world = World::without_daemons("ufw allow 22/tcp");
    let at = world.path("");
    certificates::make(&world, CLIENT_CERTIFICATES);
    world.configure("", &format!("tls.client-ca = \"{at}/clients.pem\""));
    world.start();
    let mut kibana = Kibana::at(&world.kibana);
    let pair = |name: &str| {
        let base64 = |end| base64_of(&world.directory.path().join(format!("{name}.{end}")));
        json!({ "crt": base64("pem"), "key": base64("key") })
    };
    let pfx = base64_of(&world.directory.path().join("kibana.pfx"));
    let locked = merged(pair("locked"), &json!({ "password": "secret" }));
    let shows = |kind: &str, secrets: Value| {
        let ssl =
            json!({ "hasAuth": true, "authType": "webhook-authentication-ssl", "certType": kind });
        json!({ "config": ssl, "secrets": secrets })
    };
    let nobody = json!({ "config": { "hasAuth": false } });
    let secret = json!({ "pfx": pfx, "password": "secret" });
    for (row, (who, changes, error)) in [
        ("a certificate", shows("ssl-crt-key", pair("kibana")), None),
        ("a key with a passphrase", shows("ssl-crt-key", locked), None),
        ("both in one file", shows("ssl-pfx", secret), None),
        ("nothing", nobody, Some("[401] Unauthorized: ")),
        ("another CA's certificate", shows("ssl-crt-key", pair("stranger")), Some(UNKNOWN_CLIENT)),
        ("the server's own", shows("ssl-crt-key", pair("cert")), Some(UNKNOWN_CLIENT)),
    ]
    .into_iter()
    .enumerate()
    {
        for (column, client) in CLIENTS.iter().enumerate() {
            let mut connector = connector(&world);
            connector["secrets"] = json!({});
            let connector = merged(merged(connector, &changes), &json!({ "client": client }));
            let body = json!({ "ip": format!("198.18.{column}.{row}") }).to_string();
            let message = kibana.test_button(&connector, &body).message;
            let as_expected = match (&message, error) {
                (Some(message), Some(error)) => message.starts_with(error),
                (message, error) => message.is_none() && error.is_none(),
            };
            assert!(as_expected, "{who}, {client}: {message:?}");
        }
    }
    assert_eq!(world.ctl_json("list").as_array().unwrap().len(), 3 * CLIENTS.len());
}

#[test]
fn what_webhookctl_init_prints_is_a_connector_that_works() {
    let mut world = World::without_daemons("ufw allow 22/tcp");
    let folder = world.path("made");
    let init = ["init", "--directory", &folder, "--san", "webhook.test", "--show-token", "--json"];
    let (text, status) = world.ctl(&init);
    assert_eq!(status, 0, "{text}");
    let told: Value = serde_json::from_str(&text).unwrap();
    let told = &told["kibana"];
    for (made, used) in
        [("tls/cert.pem", "cert.pem"), ("tls/key.pem", "key.pem"), ("token", "token")]
    {
        world.write(used, &world.read(&format!("made/{made}")));
    }
    world.start();
    world.write("hosts", "10.9.0.1 webhook.test\n");
    world.kibana.sh(&format!("mount --bind {} /etc/hosts", world.path("hosts")));

    let mut kibana = Kibana::at(&world.kibana);
    let ca = base64_of(Path::new(told["ca"].as_str().unwrap()));
    let (_, path) = told["url"].as_str().unwrap().rsplit_once(':').unwrap();
    let mut addresses = (1..).map(|host| format!("198.18.0.{host}"));
    for client in CLIENTS {
        for name in ["10.9.0.1", "webhook.test"] {
            let connector = json!({ "client": client, "config": {
                "url": format!("https://{name}:{path}"),
                "method": told["method"].as_str().unwrap().to_lowercase(),
                "headers": told["headers"],
                "ca": ca,
            }});
            let address = addresses.next().unwrap();
            let alerts = json!({ "rule": "threshold", "addresses": [address] });
            let template = told["body"].as_str().unwrap();
            let judgements = kibana.runs(&connector, template, &alerts);
            assert_eq!(judgements[0].message, None, "{client} {name}");
            assert_eq!(judgements[0].answer["output"], format!("Blocked IP: {address}"));
        }
    }
    // A name that is not in it, and a certificate whose CA was forgotten.
    world.write("hosts", "10.9.0.1 webhook.test other.test\n");
    let url = |name: &str| json!({ "config": { "url": format!("https://{name}:{path}") } });
    let connector = merged(connector(&world), &json!({ "config": { "ca": ca } }));
    for (changes, words) in [
        (url("webhook.test"), None),
        (url("other.test"), Some("[ERR_TLS_CERT_ALTNAME_INVALID] ")),
        (json!({ "config": { "ca": null } }), Some("[UNABLE_TO_VERIFY_LEAF_SIGNATURE] ")),
    ] {
        let message = kibana.test_button(&merged(connector.clone(), &changes), "{}").message;
        let message = message.filter(|message| !message.starts_with("[4"));
        assert_eq!(message.is_some(), words.is_some(), "{changes}: {message:?}");
        let message = message.unwrap_or_default();
        assert!(message.starts_with(words.unwrap_or_default()), "{changes}: {message}");
    }
}

#[test]
fn each_certificate_that_kibana_does_not_take_has_an_error_of_its_own() {
    let mut world = World::without_daemons("true");
    certificates::make(&world, CERTIFICATES);
    world.start_webhookd();
    let mut kibana = Kibana::at(&world.kibana);
    let connector = connector(&world);
    for (served, ca, mode, error) in CERTIFICATE_ERRORS {
        let key = if ["own", "guide"].contains(served) { served } else { "leaf" };
        world.stop_webhookd(Signal::SIGTERM);
        world.write("cert.pem", &world.read(&format!("{served}.pem")));
        world.write("key.pem", &world.read(&format!("{key}.key")));
        world.start_webhookd();
        let ca = match *ca {
            "" => Value::Null,
            name => base64_of(&world.directory.path().join(format!("{name}.pem"))).into(),
        };
        let changes = json!({ "config": { "ca": ca, "verificationMode": mode } });
        let connector = merged(connector.clone(), &changes);
        // Where Kibana connects, webhookd finds a mistake in the body.
        let error = if error.is_empty() { "[400] Bad Request: " } else { error };
        assert_fails(&mut kibana, &connector, error);
    }
}

#[test]
fn each_port_without_webhookd_has_an_error_of_its_own() {
    let world = World::without_daemons("true");
    let mut kibana = Kibana::at(&world.kibana);
    let connector = connector(&world);
    for (says, error) in PORT_ERRORS {
        let listener = says.map(|says| (world.server.listen("10.9.0.1:5001"), says));
        // Joined only when it was heard: a client that never comes must fail, not hang.
        let server = std::thread::spawn(move || {
            let Some((listener, says)) = listener else { return };
            for _ in CLIENTS {
                let mut stream = listener.accept().unwrap().0;
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(says.as_bytes());
            }
        });
        assert_fails(&mut kibana, &connector, error);
        server.join().unwrap();
    }
}

#[test]
fn a_port_that_ufw_keeps_shut_shows_as_a_timeout() {
    let world = World::new();
    let mut kibana = Kibana::at(&world.kibana);
    let connector = connector(&world);
    assert_fails(&mut kibana, &connector, "[400] Bad Request: ");
    world.ufw("delete allow proto tcp from 10.9.0.2 to any port 5001");
    // Milliseconds; Kibana's own are 60,000.
    let hasty = merged(connector, &json!({ "timeout": 400 }));
    assert_fails(&mut kibana, &hasty, SHUT_PORT_ERROR);
}

#[test]
fn the_readme_explains_these_errors_and_no_others() {
    let certificates = CERTIFICATE_ERRORS.iter().map(|row| row.3);
    let errors = certificates.chain(PORT_ERRORS.iter().map(|row| row.1));
    let errors = errors.chain([SHUT_PORT_ERROR, UNKNOWN_CLIENT]);
    let codes: BTreeSet<&str> =
        errors.filter_map(|error| error.strip_prefix('[')?.split(']').next()).collect();
    assert_eq!(codes, explained(), "left: what is tested, right: what the README explains");
}

/// What the Test button says with either client begins so.
fn assert_fails(kibana: &mut Kibana, connector: &Value, error: &str) {
    for client in CLIENTS {
        let connector = merged(connector.clone(), &json!({ "client": client }));
        let message = kibana.test_button(&connector, "{}").message.unwrap();
        assert!(message.starts_with(error), "{client}: not {error}: {message}");
        let wrong_version = error.starts_with("[EPROTO]");
        assert_eq!(message.contains("wrong version number"), wrong_version, "{client}: {message}");
    }
}

/// The codes of the README's table.
fn explained() -> BTreeSet<&'static str> {
    let section = README.split("\n## ").find(|part| part.starts_with("When Kibana cannot connect"));
    let rows = section.expect("the README has the section").lines();
    rows.filter_map(|row| row.strip_prefix("| `")?.split('`').next()).collect()
}

const README: &str = include_str!("../../README.md");

/// What webhookd shows, what the connector has as CA (nothing: Node.js's own), its verification mode,
/// and what the operator reads; nothing where Kibana connects.
const CERTIFICATE_ERRORS: &[(&str, &str, &str, &str)] = &[
    ("own", "own", "full", ""),
    ("own", "", "full", SELF_SIGNED),
    ("own", "", "certificate", SELF_SIGNED),
    ("own", "root", "full", SELF_SIGNED),
    ("own", "", "none", ""),
    // Without any address in it, and the CN does not count.
    ("guide", "", "full", SELF_SIGNED),
    (
        "guide",
        "guide",
        "full",
        "[ERR_TLS_CERT_ALTNAME_INVALID] Hostname/IP does not match certificate's",
    ),
    ("guide", "guide", "certificate", ""),
    ("leaf", "", "full", UNVERIFIED),
    // Neither certificate between it and the CA is sent; then one of the two; then both.
    ("leaf", "root", "full", UNVERIFIED),
    (
        "half",
        "root",
        "full",
        "[UNABLE_TO_GET_ISSUER_CERT_LOCALLY] unable to get local issuer certificate",
    ),
    ("whole", "root", "full", ""),
    ("with_root", "own", "full", "[SELF_SIGNED_CERT_IN_CHAIN] self-signed certificate in"),
    ("expired", "root", "full", "[CERT_HAS_EXPIRED] certificate has expired"),
];
const SELF_SIGNED: &str = "[DEPTH_ZERO_SELF_SIGNED_CERT] self-signed certificate";
const UNVERIFIED: &str = "[UNABLE_TO_VERIFY_LEAF_SIGNATURE] unable to verify the first certificate";

/// What listens on the port says to anything, if something listens; and what the operator reads.
const PORT_ERRORS: &[(Option<&str>, &str)] = &[
    (None, "[ECONNREFUSED] connect ECONNREFUSED 10.9.0.1:5001"),
    (Some("HTTP/1.1 400 Bad Request\r\n\r\n"), "[EPROTO] write EPROTO "),
    (Some(""), "[ECONNRESET] Client network socket disconnected before secure TLS connection"),
];
/// Where the client's certificate is not by the CA of `tls.client-ca`.
const UNKNOWN_CLIENT: &str = "[ERR_SSL_TLSV1_ALERT_UNKNOWN_CA] ";

/// Where nothing answers.
const SHUT_PORT_ERROR: &str = "[ECONNABORTED] timeout of 400ms exceeded";

/// root signs upper, upper signs lower, lower signs leaf; guide is the guide's, without any SAN.
const CERTIFICATES: &str = "
    cp cert.pem own.pem; cp key.pem own.key
    openssl req -x509 -newkey rsa:2048 -nodes -keyout guide.key -out guide.pem -days 365 -subj /CN=host
    root root; request upper; request lower; request leaf
    sign upper root 2 basicConstraints=critical,CA:TRUE
    sign lower upper 2 basicConstraints=critical,CA:TRUE
    sign leaf root -1 subjectAltName=IP:10.9.0.1 expired
    sign leaf lower 2 subjectAltName=IP:10.9.0.1
    cat leaf.pem lower.pem >half.pem
    cat half.pem upper.pem >whole.pem
    cat whole.pem root.pem >with_root.pem
";

/// clients signs kibana, strangers signs stranger; locked.key and kibana.pfx have a passphrase.
const CLIENT_CERTIFICATES: &str = "
    root clients; root strangers; request kibana; request stranger
    sign kibana clients 2 extendedKeyUsage=clientAuth
    sign stranger strangers 2 extendedKeyUsage=clientAuth
    openssl ec -in kibana.key -aes256 -passout pass:secret -out locked.key
    cp kibana.pem locked.pem
    openssl pkcs12 -export -in kibana.pem -inkey kibana.key -passout pass:secret -out kibana.pfx
    cp key.pem cert.key; chmod 644 clients.pem
";
