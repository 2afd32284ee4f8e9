//! The configuration file: TOML, kebab-case, unknown keys are errors that name the key.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use nix::unistd::{Uid, User};
use protocol::{Target, TargetError};
use serde::Deserialize;

/// Everything the configuration says, in types that cannot be wrong.
#[derive(Debug)]
pub struct Config {
    /// Where to listen when no socket is handed over.
    pub socket: PathBuf,
    /// The user webhookd runs as.
    pub frontend: Frontend,
    /// False: observe mode, everything but the change.
    pub enforce: bool,
    /// What may be blocked.
    pub limits: Limits,
    /// Whether a new block ends what is already open.
    pub cut_connections: bool,
    /// How often rules and kernel are read back without being asked.
    pub reconcile_every: Duration,
    /// The ledger's file.
    pub ledger: PathBuf,
}

/// The account that may ask for blocks.
#[derive(Clone, Copy, Debug)]
pub struct Frontend {
    /// Its user id; never 0.
    pub uid: u32,
    /// Its primary group: the socket's group.
    pub gid: u32,
}

/// The administrator's bounds on what may be blocked.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Networks that no alert may ever block.
    pub never_block: Vec<IpNet>,
    /// Shortest IPv4 prefix that may be blocked.
    pub widest_v4: u8,
    /// Shortest IPv6 prefix that may be blocked.
    pub widest_v6: u8,
    /// An IPv6 host is blocked with the network of this prefix around it.
    pub ipv6_prefix: u8,
    /// Live blocks at most.
    pub max_blocks: usize,
}

impl Config {
    /// Reads and checks the file.
    ///
    /// # Errors
    /// A sentence that names the file, the key and the mend.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let in_file = |problem| ConfigError { path: path.to_owned(), problem };
        let mut file = File::open(path).map_err(|error| in_file(error.into()))?;
        let metadata = file.metadata().map_err(|error| in_file(error.into()))?;
        // Judged on the open file, so that it cannot be swapped in between.
        if metadata.uid() != 0 || metadata.mode() & OTHERS_MAY_WRITE != 0 {
            return Err(in_file(Problem::Writable));
        }
        let mut text = String::new();
        file.by_ref()
            .take(MAX_BYTES)
            .read_to_string(&mut text)
            .map_err(|error| in_file(error.into()))?;
        let keys: Keys = toml::from_str(&text).map_err(|error| in_file(error.into()))?;
        Self::from_keys(keys).map_err(in_file)
    }

    fn from_keys(keys: Keys) -> Result<Self, Problem> {
        let limits = Limits {
            never_block: keys
                .never_block
                .iter()
                .map(|text| network(text))
                .collect::<Result<_, _>>()?,
            widest_v4: within("widest-v4", keys.widest_v4, 8, 32)?,
            widest_v6: within("widest-v6", keys.widest_v6, 16, 128)?,
            ipv6_prefix: within("ipv6-prefix", keys.ipv6_prefix, 32, 128)?,
            max_blocks: keys.max_blocks,
        };
        Ok(Self {
            socket: absolute("socket", keys.socket)?,
            frontend: keys.frontend_user.resolve()?,
            enforce: keys.enforce,
            limits,
            cut_connections: keys.cut_connections,
            reconcile_every: interval(&keys.reconcile_every)?,
            ledger: absolute("ledger", keys.ledger)?,
        })
    }
}

/// The file as written.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Keys {
    socket: PathBuf,
    frontend_user: UserKey,
    firewall: FirewallKey,
    enforce: bool,
    never_block: Vec<String>,
    widest_v4: u8,
    widest_v6: u8,
    ipv6_prefix: u8,
    max_blocks: usize,
    cut_connections: bool,
    reconcile_every: String,
    ledger: PathBuf,
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            socket: "/run/webhook-privd/privd.sock".into(),
            frontend_user: UserKey::Name("webhookd".into()),
            firewall: FirewallKey::Ufw,
            enforce: true,
            never_block: Vec::new(),
            widest_v4: 24,
            widest_v6: 48,
            ipv6_prefix: 128,
            max_blocks: 2000,
            cut_connections: true,
            reconcile_every: "60s".into(),
            ledger: "/var/lib/webhook-privd/ledger.redb".into(),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum FirewallKey {
    Ufw,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a user's name or uid")]
enum UserKey {
    Uid(u32),
    Name(String),
}

impl UserKey {
    fn resolve(&self) -> Result<Frontend, Problem> {
        let (found, shown) = match self {
            Self::Uid(uid) => (User::from_uid(Uid::from_raw(*uid)), uid.to_string()),
            Self::Name(name) => (User::from_name(name), name.clone()),
        };
        let user = found.ok().flatten().ok_or(Problem::NoUser(shown))?;
        if user.uid.is_root() {
            Err(Problem::RootUser)
        } else {
            Ok(Frontend { uid: user.uid.as_raw(), gid: user.gid.as_raw() })
        }
    }
}

fn network(text: &str) -> Result<IpNet, Problem> {
    let target: Target =
        text.parse().map_err(|source| Problem::Network { text: text.to_owned(), source })?;
    Ok(target.net())
}

fn within(key: &'static str, value: u8, least: u8, most: u8) -> Result<u8, Problem> {
    if (least..=most).contains(&value) {
        Ok(value)
    } else {
        Err(Problem::Range { key, least, most })
    }
}

fn absolute(key: &'static str, path: PathBuf) -> Result<PathBuf, Problem> {
    if path.is_absolute() { Ok(path) } else { Err(Problem::Relative(key)) }
}

fn interval(text: &str) -> Result<Duration, Problem> {
    let duration = humantime::parse_duration(text).map_err(Problem::Duration)?;
    let bounds = Duration::from_secs(1)..=Duration::from_hours(24);
    if bounds.contains(&duration) { Ok(duration) } else { Err(Problem::Interval) }
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
    #[error("must belong to root and be writable by root alone: chown root: FILE; chmod go-w FILE")]
    Writable,
    #[error("{0}")]
    Toml(#[from] toml::de::Error),
    #[error("frontend-user: there is no user {0}; make it with `useradd --system {0}`")]
    NoUser(String),
    #[error("frontend-user must not be root: the point is that webhookd has no privilege")]
    RootUser,
    #[error("never-block: {text:?} {source}")]
    Network { text: String, source: TargetError },
    #[error("{key} must lie between {least} and {most}")]
    Range { key: &'static str, least: u8, most: u8 },
    #[error("{0} must be an absolute path")]
    Relative(&'static str),
    #[error("reconcile-every: {0}; write for example \"60s\" or \"5m\"")]
    Duration(humantime::DurationError),
    #[error("reconcile-every must lie between 1s and 24h")]
    Interval,
}

/// Group and others.
const OTHERS_MAY_WRITE: u32 = 0o022;

/// Bytes of configuration that are read at most.
const MAX_BYTES: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        let keys: Keys = toml::from_str(text).map_err(|error| error.to_string())?;
        let keys = Keys { frontend_user: UserKey::Name("nobody".into()), ..keys };
        Config::from_keys(keys).map_err(|error| error.to_string())
    }

    #[test]
    fn an_empty_file_gives_the_documented_defaults() {
        let config = parse("").unwrap();
        assert_eq!(config.socket, PathBuf::from("/run/webhook-privd/privd.sock"));
        assert!(config.enforce && config.cut_connections);
        assert_eq!(config.reconcile_every, Duration::from_mins(1));
        assert_eq!((config.limits.widest_v4, config.limits.widest_v6), (24, 48));
        assert_eq!((config.limits.ipv6_prefix, config.limits.max_blocks), (128, 2000));
    }

    #[test]
    fn each_wrong_value_is_named() {
        for (text, words) in [
            ("max-block = 1", "unknown field `max-block`"),
            ("firewall = \"iptables\"", "unknown variant `iptables`"),
            ("never-block = [\"10.0.0.1/8\"]", "\"10.0.0.1/8\" has host bits set"),
            ("never-block = [\"0.0.0.0/0\"]", "every address"),
            ("widest-v4 = 4", "widest-v4 must lie between 8 and 32"),
            ("widest-v6 = 129", "widest-v6 must lie between 16 and 128"),
            ("reconcile-every = \"soon\"", "reconcile-every"),
            ("reconcile-every = \"0s\"", "between 1s and 24h"),
            ("ledger = \"x.redb\"", "ledger must be an absolute path"),
            ("max-blocks = -1", "max-blocks"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn the_frontend_user_must_exist_and_not_be_root() {
        let resolve = |key: UserKey| key.resolve().map_err(|error| error.to_string());
        assert!(resolve(UserKey::Name("no-such-user".into())).unwrap_err().contains("useradd"));
        assert!(resolve(UserKey::Name("root".into())).unwrap_err().contains("must not be root"));
        assert!(resolve(UserKey::Uid(0)).is_err());
        assert_eq!(resolve(UserKey::Name("nobody".into())).unwrap().uid, 65534);
    }
}
