//! webhookd's configuration file: TOML, kebab-case, unknown keys are errors that name the key.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use protocol::mistake_in;
use serde::Deserialize;

use crate::privd_client::DEFAULT_SOCKET;

/// Everything the configuration says, in types that cannot be wrong.
#[derive(Debug)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Who may post.
    pub allow_clients: Networks,
    /// webhook-privd's socket.
    pub privd_socket: PathBuf,
    /// The tokens.
    pub token_file: PathBuf,
    /// The audit log's file, if there is to be one.
    pub audit_log: Option<PathBuf>,
    /// Certificate and key.
    pub tls: Tls,
    /// Bounds.
    pub limits: Limits,
}

/// Networks that a client's address is looked up in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// Whether the address, which must be canonical, lies in one of them.
    #[must_use]
    pub fn contain(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

impl fmt::Display for Networks {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<String> = self.0.iter().map(IpNet::to_string).collect();
        formatter.write_str(&texts.join(", "))
    }
}

/// The files of TLS.
#[derive(Debug)]
pub struct Tls {
    /// PEM: the leaf first.
    pub certificate: PathBuf,
    /// PEM.
    pub key: PathBuf,
    /// PEM: authorities whose client certificates let in.
    pub client_ca: Option<PathBuf>,
}

/// Bounds on what callers may take up.
#[derive(Debug)]
pub struct Limits {
    /// Bytes of one body.
    pub max_body: usize,
    /// Large bodies that are read at a time.
    pub max_bodies_in_flight: usize,
    /// Connections at a time.
    pub max_connections: usize,
}

impl Config {
    /// Reads and checks the file.
    ///
    /// # Errors
    /// A sentence that names the file, the key and the mend.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let in_file =
            |error: std::io::Error| ConfigError { path: path.into(), problem: error.into() };
        Self::read(&std::fs::read_to_string(path).map_err(in_file)?, path)
    }

    /// Reads the text of the file, which the error names as `path`.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn read(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let in_file = |problem| ConfigError { path: path.to_owned(), problem };
        let keys: Keys = toml::from_str(text).map_err(|error| {
            in_file(Problem::Toml(mistake_in(text, error.span(), error.message())))
        })?;
        Self::from_keys(keys).map_err(in_file)
    }

    fn from_keys(keys: Keys) -> Result<Self, Problem> {
        let listen = keys.listen.parse().map_err(|_| Problem::Listen(keys.listen.clone()))?;
        let networks = keys.allow_clients.into_iter().map(|text| {
            let net: Option<IpNet> =
                text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
            net.map(|net| net.trunc()).ok_or(Problem::Network(text))
        });
        let networks = networks.collect::<Result<Vec<_>, _>>()?;
        if networks.is_empty() {
            return Err(Problem::Nobody);
        }
        if let Some(path) = keys.audit_log.as_ref().filter(|path| path.is_relative()) {
            return Err(Problem::Relative(path.clone()));
        }
        for (key, value) in [
            ("limits.max-bodies-in-flight", keys.limits.max_bodies_in_flight),
            ("limits.max-connections", keys.limits.max_connections),
        ] {
            if value == 0 {
                return Err(Problem::Zero(key));
            }
        }
        Ok(Self {
            listen,
            allow_clients: Networks(networks),
            privd_socket: keys.privd_socket,
            token_file: keys.token_file,
            audit_log: keys.audit_log,
            tls: Tls {
                certificate: keys.tls.certificate,
                key: keys.tls.key,
                client_ca: keys.tls.client_ca,
            },
            limits: Limits {
                max_body: bytes(&keys.limits.max_body)?,
                max_bodies_in_flight: keys.limits.max_bodies_in_flight,
                max_connections: keys.limits.max_connections,
            },
        })
    }
}

/// Reads "8MiB", "512KiB", "1000B".
fn bytes(text: &str) -> Result<usize, Problem> {
    let wrong = || Problem::Bytes(text.to_owned());
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let number: usize = digits.parse().map_err(|_| wrong())?;
    let unit: usize = match text.strip_prefix(digits).unwrap_or_default().trim() {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        _ => return Err(wrong()),
    };
    let bytes = number.checked_mul(unit).ok_or_else(wrong)?;
    if (MIN_BODY..=MAX_BODY).contains(&bytes) { Ok(bytes) } else { Err(wrong()) }
}

/// The file as written.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Keys {
    listen: String,
    allow_clients: Vec<String>,
    privd_socket: PathBuf,
    token_file: PathBuf,
    audit_log: Option<PathBuf>,
    tls: TlsKeys,
    limits: LimitKeys,
}

impl Default for Keys {
    fn default() -> Self {
        let private =
            ["127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"];
        Self {
            listen: "[::]:5001".into(),
            allow_clients: private.map(str::to_owned).to_vec(),
            privd_socket: DEFAULT_SOCKET.into(),
            token_file: "/etc/webhookd/token".into(),
            audit_log: None,
            tls: TlsKeys::default(),
            limits: LimitKeys::default(),
        }
    }
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct TlsKeys {
    certificate: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
}

impl Default for TlsKeys {
    fn default() -> Self {
        Self {
            certificate: "/etc/webhookd/tls/cert.pem".into(),
            key: "/etc/webhookd/tls/key.pem".into(),
            client_ca: None,
        }
    }
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct LimitKeys {
    max_body: String,
    max_bodies_in_flight: usize,
    max_connections: usize,
}

impl Default for LimitKeys {
    fn default() -> Self {
        Self { max_body: "8MiB".into(), max_bodies_in_flight: 4, max_connections: 256 }
    }
}

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct ConfigError {
    path: PathBuf,
    problem: Problem,
}

#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("cannot be read: {0}")]
    Read(#[from] std::io::Error),
    #[error("{0}")]
    Toml(String),
    #[error("listen: {0:?} is not ADDRESS:PORT, for example \"[::]:5001\"")]
    Listen(String),
    #[error("allow-clients: {0:?} is not an address or network")]
    Network(String),
    #[error("allow-clients is empty: nobody could post")]
    Nobody,
    #[error("audit-log: {0:?} must be an absolute path")]
    Relative(PathBuf),
    #[error("{0} must be at least 1")]
    Zero(&'static str),
    #[error("limits.max-body: {0:?} is not between 1KiB and 64MiB; write for example \"8MiB\"")]
    Bytes(String),
}

/// Where webhookd looks, unless told otherwise.
pub const FILE: &str = "/etc/webhookd/webhookd.toml";
const MIN_BODY: usize = 1 << 10;
const MAX_BODY: usize = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        let keys: Keys = toml::from_str(text).map_err(|error| error.to_string())?;
        Config::from_keys(keys).map_err(|error| error.to_string())
    }

    #[test]
    fn an_empty_file_gives_the_documented_defaults() {
        let config = parse("").unwrap();
        assert_eq!(config.listen.to_string(), "[::]:5001");
        assert_eq!(config.limits.max_body, 8 << 20);
        for (address, allowed) in [
            ("127.0.0.1", true),
            ("192.168.7.7", true),
            ("fd00::1", true),
            ("198.51.100.7", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(
                config.allow_clients.contain(address.parse().unwrap()),
                allowed,
                "{address}"
            );
        }
    }

    #[test]
    fn each_wrong_value_is_named() {
        for (text, words) in [
            ("lisen = \"x\"", "unknown field `lisen`"),
            ("listen = \"5001\"", "listen: \"5001\" is not ADDRESS:PORT"),
            ("allow-clients = [\"10.0.0.0/99\"]", "allow-clients: \"10.0.0.0/99\""),
            ("allow-clients = []", "nobody could post"),
            (
                "audit-log = \"audit.ndjson\"",
                "audit-log: \"audit.ndjson\" must be an absolute path",
            ),
            ("[tls]\ncert = \"x\"", "unknown field `cert`"),
            ("[limits]\nmax-body = \"8MB\"", "limits.max-body: \"8MB\""),
            ("[limits]\nmax-body = \"65MiB\"", "limits.max-body"),
            ("[limits]\nmax-connections = 0", "limits.max-connections must be at least 1"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
