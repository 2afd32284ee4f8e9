//! A stand-in for Kibana's API: connectors, detection rules and spaces, over HTTPS. It takes what
//! Kibana's sources say that Kibana takes, and nothing else; secrets go in and never come out.

mod schema;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The API key that it knows, as `Encoded` and as `ID:KEY`.
pub const API_KEYS: [&str; 2] = ["aWQ6a2V5", "id:key"];

/// A Kibana of some version on a port of 127.0.0.1, with a certificate for that and for localhost.
#[derive(Debug)]
pub struct KibanaApi {
    /// Where it is.
    pub url: String,
    state: Arc<(Mutex<State>, Condvar)>,
    directory: TempDir,
}

/// Everything it holds, and how it is to behave.
#[derive(Debug, Default)]
pub struct State {
    /// As `8.17.0`.
    pub version: String,
    /// Spaces beside `default`.
    pub spaces: Vec<String>,
    /// `basic` has no webhooks; empty is one that has.
    pub licence: String,
    /// The start of a path below the space that the key may not use.
    pub forbidden: Option<&'static str>,
    /// Answers everything with this instead.
    pub instead: Option<(u16, &'static str, String)>,
    /// Tells strangers, too, that it is there.
    pub anonymous_status: bool,
    /// So many ask for the rule before the first of them is answered.
    pub meet: usize,
    /// By space and id, without their secrets.
    pub connectors: BTreeMap<(String, String), Value>,
    /// The secrets of the connectors.
    pub secrets: BTreeMap<(String, String), Value>,
    /// By space and rule_id.
    pub rules: BTreeMap<(String, String), Value>,
    /// Method, path and status of every request.
    pub requests: Vec<(String, String, u16)>,
    /// Everything that was answered.
    pub answered: String,
    numbers: u64,
}

/// A request, whole.
struct Request {
    method: String,
    /// With its query.
    path: String,
    headers: Vec<(String, String)>,
    body: String,
}

/// Status and body; with another type than JSON for [`State::instead`].
type Reply = (u16, Value);

impl KibanaApi {
    /// Starts it.
    ///
    /// # Panics
    /// Without openssl.
    #[must_use]
    pub fn of(version: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("webhookd-test-").tempdir().unwrap();
        let made = Command::new("sh")
            .args(["-ec", CERTIFICATE])
            .current_dir(directory.path())
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let chain = vec![CertificateDer::from_pem_file(directory.path().join("cert.pem")).unwrap()];
        let key = PrivateKeyDer::from_pem_file(directory.path().join("key.pem")).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let state = State { version: version.to_owned(), ..State::default() };
        let state = Arc::new((Mutex::new(state), Condvar::new()));
        let (tls, shared) = (Arc::new(tls), Arc::clone(&state));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (tls, shared) = (Arc::clone(&tls), Arc::clone(&shared));
                std::thread::spawn(move || serve(stream, tls, &shared));
            }
        });
        Self { url, state, directory }
    }

    /// The file of whom to trust.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.directory.path().join("cert.pem")
    }

    /// A folder of the test's own.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// What it holds now.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.0.lock().unwrap()
    }
}

impl State {
    /// The one rule that there is.
    #[must_use]
    pub fn rule(&self) -> &Value {
        assert_eq!(self.rules.len(), 1, "{:?}", self.rules);
        self.rules.values().next().unwrap()
    }

    /// How many requests were no questions.
    #[must_use]
    pub fn writes(&self) -> usize {
        self.requests.iter().filter(|(method, ..)| method != "GET").count()
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn is(&self, major: u32, minor: u32) -> bool {
        let mut numbers = self.version.split('.').map(|number| number.parse::<u32>().unwrap());
        (numbers.next().unwrap(), numbers.next().unwrap()) >= (major, minor)
    }

    fn answer(&mut self, request: &Request) -> Reply {
        let known = API_KEYS[0];
        let known = request.header("authorization") == Some(&format!("ApiKey {known}"));
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        if path == "/api/status" && !known && self.anonymous_status {
            return (200, json!({ "status": { "overall": { "level": "available" } } }));
        }
        if !known {
            return failure(401, "[security_exception]: unable to authenticate");
        }
        if request.method != "GET" {
            if request.header("kbn-xsrf").is_none() {
                return failure(400, "Request must contain a kbn-xsrf header.");
            }
            let is_json = request.header("content-type") == Some("application/json");
            if request.method != "DELETE" && !is_json {
                return failure(415, "Unsupported Media Type");
            }
        }
        let (space, path) = match path.strip_prefix("/s/").and_then(|rest| rest.split_once('/')) {
            Some((space, path)) => (space.to_owned(), format!("/{path}")),
            None => ("default".to_owned(), path.to_owned()),
        };
        if self.forbidden.is_some_and(|start| path.starts_with(start)) {
            let message = format!("API [{} {path}] is unauthorized for user", request.method);
            return failure(403, &message);
        }
        let body = serde_json::from_str(&request.body).unwrap_or_default();
        if path == "/api/status" {
            let level = json!({ "overall": { "level": "available", "summary": "ok" } });
            (200, json!({ "name": "k", "version": { "number": self.version }, "status": level }))
        } else if let Some(id) = path.strip_prefix("/api/spaces/space/") {
            let there = id == "default" || self.spaces.iter().any(|space| space == id);
            let gone = format!("Saved object [space/{id}] not found");
            if there { (200, json!({ "id": id, "name": id })) } else { failure(404, &gone) }
        } else if let Some(id) = path.strip_prefix("/api/actions/connector/") {
            self.connector(&request.method, space, id, body)
        } else if path == "/api/detection_engine/rules" {
            self.detection(&request.method, space, query, body)
        } else {
            failure(404, "Not Found")
        }
    }

    fn connector(&mut self, method: &str, space: String, id: &str, body: Value) -> Reply {
        let key = (space, id.to_owned());
        let gone = format!("Saved object [action/{id}] not found");
        if method == "GET" {
            return self
                .connectors
                .get(&key)
                .map_or_else(|| failure(404, &gone), |found| (200, found.clone()));
        }
        if method == "DELETE" {
            self.secrets.remove(&key);
            let there = self.connectors.remove(&key);
            return there.map_or_else(|| failure(404, &gone), |_| (204, Value::Null));
        }
        if self.licence == "basic" {
            return failure(
                403,
                "Action type .webhook is disabled because your basic license does not support it. \
                 Please upgrade your license.",
            );
        }
        let elsewhere = self.connectors.keys().any(|(_, there)| there == id);
        match method {
            "POST" if elsewhere => {
                return failure(409, &format!("Saved object [action/{id}] conflict"));
            }
            "POST" if !self.is(9, 4) && !schema::is_uuid(id) => {
                return failure(
                    400,
                    "Predefined IDs are not allowed for saved objects with encrypted attributes \
                     unless the ID is a UUID.",
                );
            }
            "PUT" if !self.connectors.contains_key(&key) => return failure(404, &gone),
            "POST" | "PUT" => {}
            _ => return failure(404, "Not Found"),
        }
        let since = schema::Since { tls: self.is(8, 10), secret_headers: self.is(9, 2) };
        if let Err(message) = schema::connector(&body, method == "POST", since) {
            return failure(400, &message);
        }
        let stored = json!({
            "id": id,
            "name": body["name"],
            "connector_type_id": ".webhook",
            "config": body["config"],
            "is_missing_secrets": false,
            "is_preconfigured": false,
            "is_deprecated": false,
            "is_system_action": false,
        });
        self.secrets.insert(key.clone(), body["secrets"].clone());
        self.connectors.insert(key, stored.clone());
        (200, stored)
    }

    fn detection(&mut self, method: &str, space: String, query: &str, body: Value) -> Reply {
        let id = match method {
            "GET" => query.strip_prefix("rule_id=").map(str::to_owned),
            _ => body["rule_id"].as_str().map(str::to_owned),
        };
        let Some(id) = id else { return failure(400, "either \"id\" or \"rule_id\" must be set") };
        let key = (space, id.clone());
        let there = self.rules.get(&key).cloned();
        let gone = format!("rule_id: \"{id}\" not found");
        match (method, there) {
            ("GET", Some(rule)) => (200, rule),
            ("GET" | "PATCH", None) => (404, json!({ "message": gone, "status_code": 404 })),
            ("POST", Some(_)) => {
                let message = format!("rule_id: \"{id}\" already exists");
                (409, json!({ "message": message, "status_code": 409 }))
            }
            ("POST", None) => {
                let fresh = json!({ "id": format!("so-{id}"), "immutable": false, "revision": 0 });
                self.store(key, fresh, &body, true)
            }
            ("PATCH", Some(mut rule)) => {
                rule["revision"] = (rule["revision"].as_u64().unwrap() + 1).into();
                self.store(key, rule, &body, false)
            }
            _ => failure(404, "Not Found"),
        }
    }

    fn store(
        &mut self,
        key: (String, String),
        mut rule: Value,
        body: &Value,
        whole: bool,
    ) -> Reply {
        if let Err(message) = schema::rule(body, whole) {
            return failure(400, &message);
        }
        for (name, value) in body.as_object().unwrap() {
            rule[name] = value.clone();
        }
        let mut actions = rule["actions"].as_array().cloned().unwrap_or_default();
        for action in &mut actions {
            let id = action["id"].as_str().unwrap().to_owned();
            if !self.connectors.contains_key(&(key.0.clone(), id.clone())) {
                return failure(400, &format!("Failed to load action {id}"));
            }
            if action["uuid"].is_null() {
                action["uuid"] = format!("uuid-{}", self.number()).into();
            }
        }
        rule["actions"] = actions.into();
        self.rules.insert(key, rule.clone());
        (200, rule)
    }
}

impl Request {
    fn read(connection: &mut impl Read) -> Option<Self> {
        let mut connection = BufReader::new(connection);
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            connection.read_line(&mut line).ok().filter(|read| *read > 0)?;
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        let mut first = lines.first()?.split(' ');
        let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
        let headers = lines.iter().skip(1).filter_map(|line| line.split_once(": "));
        let headers: Vec<_> =
            headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
        let mut request = Self { method, path, headers, body: String::new() };
        let length = request.header("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        connection.read_exact(&mut body).ok()?;
        request.body = String::from_utf8(body).ok()?;
        Some(request)
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| &**value)
    }
}

fn serve(stream: TcpStream, tls: Arc<ServerConfig>, shared: &(Mutex<State>, Condvar)) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut connection = StreamOwned::new(ServerConnection::new(tls).unwrap(), stream);
    let Some(request) = Request::read(&mut connection) else { return };
    let (status, kind, body, more) = {
        let mut state = shared.0.lock().unwrap();
        let (status, kind, body, more) = match state.instead.clone() {
            Some((status, kind, body)) if (300..400).contains(&status) => {
                (status, kind, String::new(), format!("Location: {body}\r\n"))
            }
            Some((status, kind, body)) => (status, kind, body, String::new()),
            None => {
                let (status, body) = state.answer(&request);
                let body = if status == 204 { String::new() } else { body.to_string() };
                (status, "application/json", body, String::new())
            }
        };
        state.requests.push((request.method.clone(), request.path.clone(), status));
        state.answered += &body;
        if request.method == "GET" && request.path.contains("rule_id=") && state.meet > 0 {
            state.meet -= 1;
            shared.1.notify_all();
            // What was read is old by the time that it is answered.
            let waited = shared.1.wait_timeout_while(state, PATIENCE, |state| state.meet > 0);
            assert!(!waited.unwrap().1.timed_out(), "nobody else came");
        }
        (status, kind, body, more)
    };
    let head = format!(
        "HTTP/1.1 {status} -\r\nContent-Type: {kind}\r\n{more}Content-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    // Who went away meanwhile wants no answer.
    let _ = connection.write_all((head + &body).as_bytes());
    connection.conn.send_close_notify();
    let _ = connection.flush();
}

fn failure(status: u16, message: &str) -> Reply {
    let error = match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        _ => "Conflict",
    };
    (status, json!({ "statusCode": status, "error": error, "message": message }))
}

const CERTIFICATE: &str = "
    openssl ecparam -name prime256v1 -genkey -noout -out key.pem
    openssl req -x509 -new -key key.pem -days 2 -subj /CN=kibana-test -out cert.pem \
      -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE
";
const PATIENCE: Duration = Duration::from_secs(30);
