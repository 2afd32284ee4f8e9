//! What Kibana takes in a request's body: `kbn-connector-schemas` for connectors, and the OpenAPI
//! documents of `security_solution` for rules.

use serde_json::Value;

/// What a version has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Since {
    /// 8.10.
    pub(super) tls: bool,
    /// 9.2.
    pub(super) secret_headers: bool,
}

/// A key, and whether a value is one of its.
type Check = (&'static str, fn(&Value) -> bool);

/// What is wrong, as Kibana says it.
type Checked = Result<(), String>;

/// A connector's body; a new one tells its type.
pub(super) fn connector(body: &Value, new: bool, since: Since) -> Checked {
    let required: &[&str] = if new { &["name", "connector_type_id"] } else { &["name"] };
    keys("[request body", body, &[required, &["config", "secrets"]].concat(), required)?;
    typed("[request body.name]", &body["name"], Value::is_string)?;
    if new && body["connector_type_id"] != ".webhook" {
        return Err("action type is not registered".to_owned());
    }
    let place = "error validating action type config: [";
    let config = &body["config"];
    let tls: &[&str] = if since.tls { &TLS_KEYS } else { &[] };
    keys(place, config, &[&CONFIG_KEYS, tls].concat(), &["url"])?;
    typed("[url]", &config["url"], |url| {
        url.as_str().is_some_and(|url| url.starts_with("https://"))
    })?;
    one_of("[method]", &config["method"], &["post", "put"])?;
    typed("[headers]", &config["headers"], is_texts)?;
    typed("[hasAuth]", &config["hasAuth"], |it| it.is_null() || it.is_boolean())?;
    one_of("[authType]", &config["authType"], &[BASIC, SSL])?;
    one_of("[certType]", &config["certType"], &["ssl-crt-key", "ssl-pfx"])?;
    one_of("[verificationMode]", &config["verificationMode"], &["none", "certificate", "full"])?;
    typed("[ca]", &config["ca"], |ca| ca.is_null() || is_pem(ca))?;
    if config["hasAuth"] == false && !config["authType"].is_null() {
        return Err("[authType]: must be null or undefined if hasAuth is false".to_owned());
    }
    let secrets = &body["secrets"];
    let place = "error validating action type secrets: [";
    let headers: &[&str] = if since.secret_headers { &["secretHeaders"] } else { &[] };
    keys(place, secrets, &[&SECRET_KEYS, headers].concat(), &[])?;
    typed("[secretHeaders]", &secrets["secretHeaders"], is_texts)?;
    let has = |key: &str| !secrets[key].is_null();
    if has("user") != has("password") && config["authType"] != SSL {
        return Err("both user and password must be specified".to_owned());
    }
    let is_basic = config["hasAuth"] != false && config["authType"] != SSL;
    let enough = match (&config["certType"], is_basic) {
        (_, true) => has("user"),
        (kind, _) if kind == "ssl-crt-key" => is_pem(&secrets["crt"]) && is_pem(&secrets["key"]),
        _ => true,
    };
    if enough { Ok(()) } else { Err("must specify the secrets of authType".to_owned()) }
}

/// A threshold rule, whole or what of it is to be changed.
pub(super) fn rule(body: &Value, whole: bool) -> Checked {
    let required: &[&str] = if whole { &REQUIRED } else { &[] };
    keys("[request body", body, &RULE_KEYS, required)?;
    let checks: [Check; 14] = [
        ("name", Value::is_string),
        ("description", Value::is_string),
        ("query", Value::is_string),
        ("note", Value::is_string),
        ("enabled", Value::is_boolean),
        ("risk_score", |it| it.as_u64().is_some_and(|score| score <= 100)),
        ("max_signals", |it| it.as_u64().is_some_and(|most| most >= 1)),
        ("interval", is_interval),
        ("from", |it| it.as_str().is_some_and(|from| from.starts_with("now-"))),
        ("index", is_list_of_texts),
        ("tags", is_list_of_texts),
        ("false_positives", is_list_of_texts),
        ("filters", |it| it.as_array().is_some_and(|all| all.iter().all(Value::is_object))),
        ("actions", Value::is_array),
    ];
    for (key, is_right) in checks {
        if let Some(value) = body.get(key) {
            typed(&format!("[request body]: {key}"), value, is_right)?;
        }
    }
    one_of("severity", &body["severity"], &["low", "medium", "high", "critical"])?;
    one_of("type", &body["type"], &["threshold"])?;
    one_of("language", &body["language"], &["kuery", "lucene"])?;
    if let Some(threshold) = body.get("threshold") {
        keys("[request body.threshold", threshold, &THRESHOLD, &["field", "value"])?;
        typed("threshold.value", &threshold["value"], |it| it.as_u64().is_some_and(|it| it >= 1))?;
    }
    for threat in body["threat"].as_array().into_iter().flatten() {
        let place = "[request body.threat";
        keys(place, threat, &["framework", "tactic", "technique"], &["framework", "tactic"])?;
        keys(place, &threat["tactic"], &TACTIC, &TACTIC)?;
        for technique in threat["technique"].as_array().into_iter().flatten() {
            keys(place, technique, &[&TACTIC[..], &["subtechnique"]].concat(), &TACTIC)?;
            for subtechnique in technique["subtechnique"].as_array().into_iter().flatten() {
                keys(place, subtechnique, &TACTIC, &TACTIC)?;
            }
        }
    }
    body["actions"].as_array().into_iter().flatten().try_for_each(action)
}

fn action(action: &Value) -> Checked {
    let place = "[request body.actions";
    keys(place, action, &ACTION, &["action_type_id", "id", "params"])?;
    keys(place, &action["params"], &["body"], &["body"])?;
    typed("params.body", &action["params"]["body"], Value::is_string)?;
    if let Some(frequency) = action.get("frequency") {
        keys(place, frequency, &FREQUENCY, &FREQUENCY)?;
        typed("frequency.summary", &frequency["summary"], Value::is_boolean)?;
        let when = ["onActiveAlert", "onThrottleInterval", "onActionGroupChange"];
        one_of("frequency.notifyWhen", &frequency["notifyWhen"], &when)?;
    }
    Ok(())
}

/// Versions 1 and 4, as Kibana's documentation has it.
pub(super) fn is_uuid(id: &str) -> bool {
    let parts: Vec<&str> = id.split('-').collect();
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    let is_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    lengths == [8, 4, 4, 4, 12]
        && parts.iter().all(|part| part.chars().all(is_hex))
        && parts[2].starts_with(['1', '4'])
        && parts[3].starts_with(['8', '9', 'a', 'b'])
}

fn keys(place: &str, object: &Value, known: &[&str], required: &[&str]) -> Checked {
    let Some(object) = object.as_object() else {
        return Err(format!("{place}]: expected an object"));
    };
    if let Some(unknown) = object.keys().find(|key| !known.contains(&key.as_str())) {
        let dot = if place.ends_with('[') { "" } else { "." };
        return Err(format!("{place}{dot}{unknown}]: definition for this key is missing"));
    }
    match required.iter().find(|key| !object.contains_key(**key)) {
        Some(missing) => Err(format!("{place}.{missing}]: expected a value but got [undefined]")),
        None => Ok(()),
    }
}

fn typed(place: &str, value: &Value, is_right: impl Fn(&Value) -> bool) -> Checked {
    if is_right(value) { Ok(()) } else { Err(format!("{place}: is not taken: {value}")) }
}

fn one_of(place: &str, value: &Value, all: &[&str]) -> Checked {
    typed(place, value, |value| value.is_null() || all.iter().any(|one| value == one))
}

fn is_texts(value: &Value) -> bool {
    value.is_null() || value.as_object().is_some_and(|it| it.values().all(Value::is_string))
}

fn is_list_of_texts(value: &Value) -> bool {
    value.as_array().is_some_and(|all| all.iter().all(Value::is_string))
}

fn is_interval(value: &Value) -> bool {
    value
        .as_str()
        .and_then(|text| text.strip_suffix(['s', 'm', 'h']))
        .is_some_and(|number| number.parse::<u32>().is_ok_and(|number| number > 0))
}

/// Base64 of what begins with `-----BEGIN`.
fn is_pem(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.starts_with("LS0tLS1CRUdJTi") && !text.contains('\n'))
}

const BASIC: &str = "webhook-authentication-basic";
const SSL: &str = "webhook-authentication-ssl";
const CONFIG_KEYS: [&str; 4] = ["url", "method", "headers", "hasAuth"];
const TLS_KEYS: [&str; 4] = ["authType", "certType", "ca", "verificationMode"];
const SECRET_KEYS: [&str; 5] = ["user", "password", "crt", "key", "pfx"];
const REQUIRED: [&str; 7] =
    ["name", "description", "risk_score", "severity", "type", "query", "threshold"];
const RULE_KEYS: [&str; 24] = [
    "rule_id",
    "name",
    "description",
    "type",
    "enabled",
    "risk_score",
    "severity",
    "interval",
    "from",
    "to",
    "max_signals",
    "language",
    "index",
    "query",
    "filters",
    "threshold",
    "tags",
    "false_positives",
    "references",
    "threat",
    "note",
    "setup",
    "author",
    "actions",
];
const THRESHOLD: [&str; 3] = ["field", "value", "cardinality"];
const TACTIC: [&str; 3] = ["id", "name", "reference"];
const ACTION: [&str; 7] =
    ["group", "id", "action_type_id", "params", "uuid", "alerts_filter", "frequency"];
const FREQUENCY: [&str; 3] = ["summary", "notifyWhen", "throttle"];
