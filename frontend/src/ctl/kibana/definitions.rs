//! The bodies of Kibana's API: those of packaging/elastic/kibana, filled in for a host.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use clap::ValueEnum;
use serde_json::Value;

use crate::ctl::kibana::here::Here;
use crate::ctl::kibana::version::Version;
use crate::ctl::outside::Unreadable;
use crate::ctl::simulate::Mode;

/// How Kibana proves to webhookd who it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(super) enum Auth {
    /// The token in a secret header, Kibana 9.2 and newer
    Bearer,
    /// The token as the password of user webhookd
    Basic,
    /// A client certificate by client-ca of webhookd.toml, Kibana 8.10 and newer
    Certificate,
}

impl Auth {
    /// What a Kibana of this version keeps encrypted.
    pub(super) fn best_for(kibana: Version) -> Self {
        if kibana.has_secret_headers() { Self::Bearer } else { Self::Basic }
    }
}

/// What only Kibana and webhookd know.
pub(super) enum Secret {
    Token(String),
    /// In PEM.
    Certificate {
        certificate: String,
        key: String,
    },
}

/// Which failed logins are counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(in crate::ctl) enum Which {
    /// Failed passwords, 10 in 5 minutes
    Guide,
    /// Every failed SSH login, guesses of users that there are not too, 20 in 5 minutes
    Wide,
}

/// The connector of this host; without its secret what is in capitals stands there.
pub(super) fn connector(
    here: &Here,
    auth: Auth,
    secret: Option<&Secret>,
    kibana: Version,
) -> Result<Value, Unreadable> {
    let mut connector = parsed(match auth {
        Auth::Bearer => BEARER,
        Auth::Basic => BASIC,
        Auth::Certificate => CERTIFICATE,
    });
    set(&mut connector, "/name", here.connector.clone());
    set(&mut connector, "/config/url", here.url());
    let authority = here.authority_pem()?;
    if let Some(pem) = &authority {
        set(&mut connector, "/config/ca", BASE64_STANDARD.encode(pem));
    }
    if let Some(config) = connector.pointer_mut("/config").and_then(Value::as_object_mut) {
        // Without one Kibana asks those that it came with.
        config.retain(|key, _| key != "ca" || authority.is_some());
        // A connector of before takes no key that it does not know.
        config.retain(|key, _| kibana.has_connector_tls() || !SINCE_8_10.contains(&key.as_str()));
    }
    match secret {
        None => {}
        Some(Secret::Token(token)) => {
            let bearer = format!("Bearer {token}");
            set(&mut connector, "/secrets/secretHeaders/Authorization", bearer);
            set(&mut connector, "/secrets/password", token.clone());
        }
        Some(Secret::Certificate { certificate, key }) => {
            set(&mut connector, "/secrets/crt", BASE64_STANDARD.encode(certificate));
            set(&mut connector, "/secrets/key", BASE64_STANDARD.encode(key));
        }
    }
    Ok(connector)
}

/// The rule, without any action.
pub(super) fn rule(which: Which) -> Value {
    parsed(match which {
        Which::Guide => RULE_GUIDE,
        Which::Wide => RULE_WIDE,
    })
}

/// The rule with this action in it, and leaving out what the filter says.
pub(super) fn rule_with(which: Which, action: Value, exclusion: Option<Value>) -> Value {
    let mut rule = rule(which);
    set(&mut rule, "/actions", vec![action]);
    set(&mut rule, "/filters", Vec::from_iter(exclusion));
    rule
}

/// An action that calls the connector of this id.
pub(super) fn action(mode: Mode, connector: &str) -> Value {
    let mut action = parsed(template_of(mode));
    set(&mut action, "/id", connector.to_owned());
    action
}

/// What an action sends, for Kibana to render. `{{context.source.ip}}` is empty for Security rules.
pub(in crate::ctl) fn body(mode: Mode) -> String {
    let action = parsed(template_of(mode));
    action.pointer("/params/body").and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// A filter that leaves out what this host never blocks; none where that is nothing.
pub(super) fn exclusion(here: &Here) -> Option<Value> {
    let networks: Vec<String> = here.never_block.iter().map(ToString::to_string).collect();
    if networks.is_empty() {
        return None;
    }
    let mut filter = parsed(EXCLUSION);
    set(&mut filter, "/meta/alias", label(&here.connector));
    set(&mut filter, NETWORKS, networks);
    Some(filter)
}

/// How that filter is found again, and shown in the rule.
pub(super) fn label(connector: &str) -> String {
    format!("{connector} never blocks")
}

/// What makes a Kibana of before 8.10 trust this host: it is for its kibana.yml.
pub(super) fn kibana_yml(here: &Here) -> Result<Option<String>, Unreadable> {
    let Some(pem) = here.authority_pem()? else { return Ok(None) };
    let mut text = format!(
        "xpack.actions.customHostSettings:\n  - url: \"{}\"\n    ssl:\n      \
         verificationMode: full\n      certificateAuthoritiesData: |\n",
        here.origin
    );
    for line in pem.lines() {
        text += &format!("        {line}\n");
    }
    Ok(Some(text))
}

const fn template_of(mode: Mode) -> &'static str {
    match mode {
        Mode::Each => ACTION,
        Mode::Summary => ACTION_SUMMARY,
    }
}

/// Every template is tried below.
fn parsed(template: &str) -> Value {
    serde_json::from_str(template).unwrap_or_default()
}

/// Leaves alone what has no such place: the connectors differ in their secrets.
fn set(document: &mut Value, place: &str, value: impl Into<Value>) {
    if let Some(place) = document.pointer_mut(place) {
        *place = value.into();
    }
}

/// Where a filter has its networks.
pub(super) const NETWORKS: &str = "/query/terms/source.ip";
const SINCE_8_10: [&str; 4] = ["authType", "certType", "ca", "verificationMode"];
const BEARER: &str = include_str!("../../../../packaging/elastic/kibana/connector-bearer.json");
const BASIC: &str = include_str!("../../../../packaging/elastic/kibana/connector-basic.json");
const CERTIFICATE: &str =
    include_str!("../../../../packaging/elastic/kibana/connector-certificate.json");
const RULE_GUIDE: &str = include_str!("../../../../packaging/elastic/kibana/rule-guide.json");
const RULE_WIDE: &str = include_str!("../../../../packaging/elastic/kibana/rule-wide.json");
const ACTION: &str = include_str!("../../../../packaging/elastic/kibana/action.json");
const ACTION_SUMMARY: &str =
    include_str!("../../../../packaging/elastic/kibana/action-summary.json");
const EXCLUSION: &str = include_str!("../../../../packaging/elastic/kibana/exclusion.json");

#[cfg(test)]
mod tests {
    use super::*;

    fn here(authority: Option<&std::path::Path>) -> Here {
        let never = ["10.0.0.0/8", "2001:db8::7"].map(|text| text.parse().unwrap());
        let authority = authority.map(ToOwned::to_owned);
        Here::new("web-01", "203.0.113.10:5001", "token".into(), authority, never.into())
    }

    fn secret(auth: Auth) -> Secret {
        match auth {
            Auth::Bearer | Auth::Basic => Secret::Token("secret".to_owned()),
            Auth::Certificate => {
                Secret::Certificate { certificate: "crt".to_owned(), key: "key".to_owned() }
            }
        }
    }

    const AUTHS: [Auth; 3] = [Auth::Bearer, Auth::Basic, Auth::Certificate];

    #[test]
    fn nothing_in_capitals_is_left_where_everything_is_known() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "a CA").unwrap();
        let (here, kibana) = (here(Some(file.path())), "9.2".parse().unwrap());
        let mut documents: Vec<Value> =
            AUTHS.map(|auth| connector(&here, auth, Some(&secret(auth)), kibana).unwrap()).into();
        documents.extend([Mode::Each, Mode::Summary].map(|mode| action(mode, "webhookd-web-01")));
        documents.push(exclusion(&here).unwrap());
        for document in documents {
            let text = document.to_string();
            for left in ["HOST", "TOKEN", "BASE64_OF"] {
                assert!(document.is_object() && !text.contains(left), "{left}: {text}");
            }
        }
    }

    #[test]
    fn each_connector_is_told_where_whom_to_trust_and_how_to_get_in() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "a CA").unwrap();
        let here = here(Some(file.path()));
        for (auth, place, expected) in [
            (Auth::Bearer, "/secrets/secretHeaders/Authorization", "Bearer secret"),
            (Auth::Basic, "/secrets/password", "secret"),
            (Auth::Basic, "/secrets/user", "webhookd"),
            (Auth::Certificate, "/secrets/crt", "Y3J0"),
            (Auth::Certificate, "/secrets/key", "a2V5"),
            (Auth::Certificate, "/config/certType", "ssl-crt-key"),
        ] {
            let kibana = "9.2".parse().unwrap();
            let told = connector(&here, auth, Some(&secret(auth)), kibana).unwrap();
            assert_eq!(told.pointer(place).unwrap(), expected, "{auth:?}");
            assert_eq!(told["config"]["ca"], "YSBDQQ==");
            assert_eq!(told["config"]["url"], "https://203.0.113.10:5001/blockip");
            let unsaid = connector(&here, auth, None, kibana).unwrap().to_string();
            assert!(!unsaid.contains("Bearer secret") && !unsaid.contains("Y3J0"), "{unsaid}");
        }
    }

    #[test]
    fn a_connector_has_only_the_keys_that_its_kibana_knows() {
        let keys = |kibana: &str, here: &Here| {
            let told = connector(here, Auth::Basic, None, kibana.parse().unwrap()).unwrap();
            told["config"].as_object().unwrap().keys().cloned().collect::<Vec<_>>()
        };
        let file = tempfile::NamedTempFile::new().unwrap();
        let with = here(Some(file.path()));
        assert_eq!(keys("8.9", &with), ["hasAuth", "headers", "method", "url"]);
        let new = ["authType", "ca", "hasAuth", "headers", "method", "url", "verificationMode"];
        assert_eq!(keys("8.10", &with), new);
        assert!(!keys("8.10", &here(None)).contains(&"ca".to_owned()));
    }

    #[test]
    fn a_rule_is_one_of_its_own_and_the_action_is_json_around_kibanas_variables() {
        let rules = [Which::Guide, Which::Wide].map(rule);
        assert_ne!(rules[0]["rule_id"], rules[1]["rule_id"]);
        for rule in rules {
            assert_eq!(rule["threshold"]["field"][0], "source.ip");
            assert_eq!(
                (&rule["actions"], &rule["filters"]),
                (&Value::Array(vec![]), &rule["actions"])
            );
        }
        let each: Value = serde_json::from_str(&body(Mode::Each)).unwrap();
        assert_eq!(each["ip"], "{{context.alerts.0.source.ip}}");
        assert!(body(Mode::Summary).contains("{{{context.alerts.asJSON}}}"));
    }

    #[test]
    fn what_is_never_blocked_is_left_out_by_a_filter_with_a_label() {
        let filter = exclusion(&here(None)).unwrap();
        let networks = serde_json::json!(["10.0.0.0/8", "2001:db8::7"]);
        assert_eq!(filter.pointer(NETWORKS), Some(&networks));
        assert_eq!(filter["meta"]["alias"], "webhookd-web-01 never blocks");
        assert_eq!(filter["meta"]["negate"], true);
        let nothing = Here { never_block: Vec::new(), ..here(None) };
        assert!(exclusion(&nothing).is_none());
    }

    #[test]
    fn an_older_kibana_is_given_the_ca_in_its_configuration() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "-----BEGIN\nAAAA\n").unwrap();
        let yml = kibana_yml(&here(Some(file.path()))).unwrap().unwrap();
        assert!(yml.contains("  - url: \"https://203.0.113.10:5001\"\n"), "{yml}");
        assert!(yml.ends_with("Data: |\n        -----BEGIN\n        AAAA\n"), "{yml}");
        assert!(kibana_yml(&here(None)).unwrap().is_none());
    }
}
