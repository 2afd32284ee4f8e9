//! The configuration file: TOML, kebab-case, unknown keys are errors that name the key.

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use nix::fcntl::OFlag;
use nix::unistd::{Uid, User};
use protocol::{Target, Term, mistake_in};
use serde::Deserialize;
use serde::de::{Deserializer, Error};

/// Everything the configuration says, in types that cannot be wrong.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// Where to listen when no socket is handed over.
    pub socket: AbsolutePath,
    /// The account that may ask for blocks.
    pub frontend_user: UserKey,
    /// Which engine.
    pub firewall: Engine,
    /// False: observe mode, everything but the change.
    pub enforce: bool,
    /// Networks that no alert may ever block.
    #[serde(deserialize_with = "networks")]
    pub never_block: Vec<IpNet>,
    /// Shortest IPv4 prefix that may be blocked.
    pub widest_v4: Within<8, 32>,
    /// Shortest IPv6 prefix that may be blocked.
    pub widest_v6: Within<16, 128>,
    /// An IPv6 host is blocked with the network of this prefix around it.
    pub ipv6_prefix: Within<32, 128>,
    /// For how long blocks hold: at each offence of a target the next, then the last.
    #[serde(deserialize_with = "terms")]
    pub block_for: Vec<Term>,
    /// Live blocks at most; see [`Config::max_blocks`].
    pub max_blocks: Option<usize>,
    /// See [`Config::max_new_blocks_per_minute`].
    #[serde(deserialize_with = "rate")]
    pub max_new_blocks_per_minute: Option<u32>,
    /// Whether a new block ends what is already open.
    pub cut_connections: bool,
    /// How often rules and kernel are read back without being asked.
    #[serde(deserialize_with = "interval")]
    pub reconcile_every: Duration,
    /// The ledger's file.
    pub ledger: AbsolutePath,
    /// The audit log's file, if there is to be one.
    pub audit_log: Option<AbsolutePath>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            socket: AbsolutePath("/run/webhook-privd/privd.sock".into()),
            frontend_user: UserKey::Name("webhookd".into()),
            firewall: Engine::Ufw,
            enforce: true,
            never_block: Vec::new(),
            widest_v4: Within(24),
            widest_v6: Within(48),
            ipv6_prefix: Within(128),
            block_for: vec![Term::Permanent],
            max_blocks: None,
            max_new_blocks_per_minute: None,
            cut_connections: true,
            reconcile_every: Duration::from_mins(1),
            ledger: AbsolutePath("/var/lib/webhook-privd/ledger.redb".into()),
            audit_log: None,
        }
    }
}

impl Config {
    /// Reads and checks the file.
    ///
    /// # Errors
    /// A sentence that names the file, the key and the mend.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let in_file = |problem| ConfigError { path: path.to_owned(), problem };
        Self::read(&text(path).map_err(in_file)?, path)
    }

    /// Reads the text of the file, which the error names as `path`.
    ///
    /// # Errors
    /// As [`Self::load`], but for what is wrong with the file itself.
    pub fn read(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let in_file = |problem| ConfigError { path: path.to_owned(), problem };
        toml::from_str(text).map_err(|error| {
            in_file(Problem::Toml(mistake_in(text, error.span(), error.message())))
        })
    }

    /// What the step at boot needs of a file with a mistake: engine, observe mode and ledger, each
    /// where it can be read, up to where the text is no TOML; otherwise the defaults.
    pub fn salvage(path: &Path) -> Self {
        let text = text(path).unwrap_or_default();
        let keys = toml::from_str::<toml::Table>(&text).unwrap_or_else(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let lines = before.rsplit_once('\n').map_or("", |(lines, _)| lines);
            toml::from_str(lines).unwrap_or_default()
        });
        let usable = keys.into_iter().filter(|(key, value)| {
            let alone = toml::Table::from_iter([(key.clone(), value.clone())]);
            AT_BOOT.contains(&key.as_str()) && alone.try_into::<Self>().is_ok()
        });
        toml::Table::from_iter(usable).try_into().unwrap_or_default()
    }

    /// Live blocks at most: what the engine is good for, unless told otherwise.
    pub fn max_blocks(&self) -> usize {
        self.max_blocks.unwrap_or(match self.firewall {
            Engine::Ufw => 2_000,
            Engine::Nftables => 1_000_000,
        })
    }

    /// New blocks that the frontend may ask for in a minute, likewise.
    pub fn max_new_blocks_per_minute(&self) -> u32 {
        self.max_new_blocks_per_minute.unwrap_or(match self.firewall {
            Engine::Ufw => 600,
            Engine::Nftables => 600_000,
        })
    }
}

/// The engines there are.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum Engine {
    /// One ufw rule a block and direction.
    Ufw,
    /// A table of our own in nf_tables.
    Nftables,
}

impl Engine {
    /// As it stands in the file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ufw => "ufw",
            Self::Nftables => "nftables",
        }
    }
}

/// An account as the file names it.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a user's name or uid")]
pub enum UserKey {
    /// By number.
    Uid(u32),
    /// By name.
    Name(String),
}

/// The account that may ask for blocks: it exists and is not root.
#[derive(Clone, Copy, Debug)]
pub struct Frontend {
    /// Its user id.
    pub uid: u32,
    /// Its primary group: the socket's group.
    pub gid: u32,
}

impl UserKey {
    /// Looks the account up.
    ///
    /// # Errors
    /// There is none, or it is root.
    pub fn account(&self) -> Result<Frontend, UserError> {
        let (user, key) = match self {
            Self::Uid(uid) => (User::from_uid(Uid::from_raw(*uid)), uid.to_string()),
            Self::Name(name) => (User::from_name(name), name.clone()),
        };
        match user.ok().flatten() {
            None => Err(UserError::Missing(key)),
            Some(user) if user.uid.is_root() => Err(UserError::Root),
            Some(user) => Ok(Frontend { uid: user.uid.as_raw(), gid: user.gid.as_raw() }),
        }
    }
}

/// Why `frontend-user` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// There is no such account.
    #[error("frontend-user: there is no user {0}; make it with `useradd --system {0}`")]
    Missing(String),
    /// The one account that needs no permission.
    #[error("frontend-user must not be root: the point is that webhookd has no privilege")]
    Root,
}

/// A path that means the same wherever the daemon was started.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "PathBuf")]
pub struct AbsolutePath(pub PathBuf);

impl TryFrom<PathBuf> for AbsolutePath {
    type Error = &'static str;

    fn try_from(path: PathBuf) -> Result<Self, &'static str> {
        if path.is_absolute() { Ok(Self(path)) } else { Err("must be an absolute path") }
    }
}

/// A prefix length between two bounds.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "u8")]
pub struct Within<const LEAST: u8, const MOST: u8>(pub u8);

impl<const LEAST: u8, const MOST: u8> TryFrom<u8> for Within<LEAST, MOST> {
    type Error = String;

    fn try_from(value: u8) -> Result<Self, String> {
        let inside = (LEAST..=MOST).contains(&value);
        inside.then_some(Self(value)).ok_or_else(|| format!("must lie between {LEAST} and {MOST}"))
    }
}

/// The text of a file that is root's alone.
fn text(path: &Path) -> Result<String, Problem> {
    // A pipe in its place would have signals and every other reload wait.
    let flags = OFlag::O_NONBLOCK.bits();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(Problem::NoFile);
    }
    // Judged on the open file, so that it cannot be swapped in between.
    if metadata.uid() != 0 || metadata.mode() & OTHERS_MAY_WRITE != 0 {
        return Err(Problem::Writable);
    }
    let mut text = String::new();
    file.take(MAX_BYTES.saturating_add(1)).read_to_string(&mut text)?;
    if u64::try_from(text.len()).is_ok_and(|bytes| bytes > MAX_BYTES) {
        return Err(Problem::Large);
    }
    Ok(text)
}

fn networks<'de, D: Deserializer<'de>>(keys: D) -> Result<Vec<IpNet>, D::Error> {
    let network = |text: String| match text.parse::<Target>() {
        Ok(target) => Ok(target.net()),
        Err(error) => Err(D::Error::custom(format!("{text:?} {error}"))),
    };
    Vec::deserialize(keys)?.into_iter().map(network).collect()
}

fn interval<'de, D: Deserializer<'de>>(key: D) -> Result<Duration, D::Error> {
    let every = duration(&String::deserialize(key)?)
        .map_err(|error| D::Error::custom(format!("{error}; write for example \"60s\"")))?;
    let sensible = (Duration::from_secs(1)..=Duration::from_hours(24)).contains(&every);
    sensible.then_some(every).ok_or_else(|| D::Error::custom("must lie between 1s and 24h"))
}

fn terms<'de, D: Deserializer<'de>>(key: D) -> Result<Vec<Term>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "\"permanent\", a duration, or a list of them")]
    enum Key {
        One(String),
        Many(Vec<String>),
    }
    let texts = match Key::deserialize(key)? {
        Key::One(text) => vec![text],
        Key::Many(texts) if texts.is_empty() => return Err(D::Error::custom("must not be empty")),
        Key::Many(texts) => texts,
    };
    let term = |text: String| {
        if text == "permanent" {
            return Ok(Term::Permanent);
        }
        let seconds = duration(&text).ok().and_then(|span| u32::try_from(span.as_secs()).ok());
        seconds.and_then(Term::seconds).ok_or_else(|| {
            D::Error::custom(format!(
                "{text:?}: write for example \"1d\", \"12h\" or \"permanent\""
            ))
        })
    };
    texts.into_iter().map(term).collect()
}

/// humantime 2.4 panics where the sum of the parts overflows, and a panic ends the daemon: what is
/// this short cannot.
fn duration(text: &str) -> Result<Duration, humantime::DurationError> {
    humantime::parse_duration(if text.len() > LONGEST_DURATION { "" } else { text })
}

fn rate<'de, D: Deserializer<'de>>(key: D) -> Result<Option<u32>, D::Error> {
    let rate = u32::deserialize(key)?;
    (rate > 0).then_some(Some(rate)).ok_or_else(|| D::Error::custom("must be at least 1"))
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
    #[error("is no regular file")]
    NoFile,
    #[error("has more than {MAX_BYTES} bytes; is it the right file?")]
    Large,
    #[error("{0}")]
    Toml(String),
}

/// Bytes.
const LONGEST_DURATION: usize = 20;
/// Group and others.
const OTHERS_MAY_WRITE: u32 = 0o022;
/// The keys that matter at boot.
const AT_BOOT: [&str; 3] = ["firewall", "enforce", "ledger"];
/// Bytes of configuration that are read at most.
const MAX_BYTES: u64 = 1 << 20;

/// Bytes of stack with which a thread can read any file, however deep it is nested.
pub const STACK: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_nested_ever_so_deep_is_a_mistake_and_overflows_no_stack() {
        for text in [
            format!("never-block = {}", "[".repeat(100_000)),
            format!("never-block = {}{}", "[".repeat(100_000), "]".repeat(100_000)),
            format!("socket = {}", "{ a = ".repeat(100_000)),
            format!("{} = 1", ["a"; 100_000].join(".")),
            format!("[{}]", ["a"; 100_000].join(".")),
        ] {
            let parse = move || parse(&text).is_err();
            let thread = std::thread::Builder::new().stack_size(STACK);
            assert!(thread.spawn(parse).unwrap().join().unwrap());
        }
    }

    #[test]
    fn what_cannot_be_read_whole_is_refused_and_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("privd.toml");
        let words = || Config::load(&path).unwrap_err().to_string();
        // Cut off it would be a whole file of defaults.
        let mut long = "# remark\n".repeat(1 << 17);
        long.push_str("enforce = false\n");
        std::fs::write(&path, long).unwrap();
        assert!(words().contains("has more than 1048576 bytes"), "{}", words());
        std::fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRUSR).unwrap();
        assert!(words().contains("is no regular file"), "{}", words());
    }

    fn parse(text: &str) -> Result<Config, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn what_the_boot_needs_is_read_from_a_file_with_a_mistake() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("privd.toml");
        for (text, engine, enforce, ledger) in [
            (
                "firewall = \"nftables\"\nbogus = 1\nledger = \"/x/l.redb\"",
                Engine::Nftables,
                true,
                "/x/l.redb",
            ),
            (
                "bogus = 1\nfirewall = \"nftables\"\nenforce = false",
                Engine::Nftables,
                false,
                LEDGER,
            ),
            (
                "firewall = \"nftables\"\nwidest-v4 = \nenforce = false",
                Engine::Nftables,
                true,
                LEDGER,
            ),
            ("firewall = \"pf\"\nenforce = false", Engine::Ufw, false, LEDGER),
            ("firewall \"nftables\"", Engine::Ufw, true, LEDGER),
            ("", Engine::Ufw, true, LEDGER),
        ] {
            std::fs::write(&path, text).unwrap();
            let config = Config::salvage(&path);
            let read = (config.firewall, config.enforce, config.ledger.0);
            assert_eq!(read, (engine, enforce, ledger.into()), "{text}");
        }
        assert_eq!(Config::salvage(Path::new("/nowhere")).ledger.0, PathBuf::from(LEDGER));
    }

    const LEDGER: &str = "/var/lib/webhook-privd/ledger.redb";

    #[test]
    fn an_engine_is_called_as_it_stands_in_the_file() {
        for name in ["ufw", "nftables"] {
            let config = parse(&format!("firewall = \"{name}\"")).unwrap();
            assert_eq!(config.firewall.name(), name);
        }
    }

    #[test]
    fn an_empty_file_gives_the_documented_defaults() {
        let config = parse("").unwrap();
        assert_eq!(config.socket.0, PathBuf::from("/run/webhook-privd/privd.sock"));
        assert!(config.enforce && config.cut_connections);
        assert_eq!(config.reconcile_every, Duration::from_mins(1));
        assert_eq!((config.widest_v4.0, config.widest_v6.0), (24, 48));
        assert_eq!((config.ipv6_prefix.0, config.max_blocks()), (128, 2000));
        assert_eq!(
            (&config.block_for, config.max_new_blocks_per_minute()),
            (&vec![Term::Permanent], 600)
        );
        let shipped = parse("block-for = [\"1d\", \"7d\", \"permanent\"]").unwrap().block_for;
        let days = |days: u32| Term::seconds(days * 86_400).unwrap();
        assert_eq!(shipped, [days(1), days(7), Term::Permanent]);
    }

    #[test]
    fn each_wrong_value_is_named() {
        for (text, words) in [
            ("max-block = 1", "unknown field `max-block`"),
            ("firewall = \"iptables\"", "unknown variant `iptables`"),
            ("never-block = [\"10.0.0.1/8\"]", "\"10.0.0.1/8\" has host bits set"),
            ("never-block = [\"0.0.0.0/0\"]", "every address"),
            ("widest-v4 = 4", "must lie between 8 and 32"),
            ("widest-v6 = 129", "must lie between 16 and 128"),
            ("reconcile-every = \"soon\"", "write for example \"60s\""),
            ("reconcile-every = \"0s\"", "between 1s and 24h"),
            ("ledger = \"x.redb\"", "must be an absolute path"),
            ("audit-log = \"audit.ndjson\"", "must be an absolute path"),
            ("max-blocks = -1", "max-blocks"),
            ("max-new-blocks-per-minute = 0", "must be at least 1"),
            ("block-for = \"soon\"", "write for example"),
            ("block-for = \"0s\"", "write for example"),
            ("block-for = \"18446744073709551615s 1000ms\"", "write for example"),
            // 21 bytes; one fewer is taken below.
            ("block-for = \"1h 00000000000000000s\"", "write for example"),
            ("reconcile-every = \"18446744073709551615s 1000ms\"", "write for example"),
            ("block-for = []", "must not be empty"),
            ("block-for = 7", "a list of them"),
        ] {
            let error = parse(text).unwrap_err();
            // toml quotes the line, and with it the key.
            let key = text.split(' ').next().unwrap();
            assert!(error.contains(words) && error.contains(key), "{text}: {error}");
        }
    }

    #[test]
    fn a_file_that_is_read_says_what_it_says_and_a_mistake_names_file_line_and_key() {
        let path = Path::new("/etc/webhookd/privd.toml");
        let config =
            Config::read("enforce = false\nmax-new-blocks-per-minute = 1\n", path).unwrap();
        assert!(!config.enforce);
        assert_eq!(config.max_new_blocks_per_minute(), 1);
        let words = Config::read("enforce = true\nwidest-v4 = 7\n", path).unwrap_err().to_string();
        assert_eq!(
            words,
            "/etc/webhookd/privd.toml: line 2, `widest-v4 = 7`: must lie between 8 and 32"
        );
    }

    #[test]
    fn what_is_not_roots_alone_is_refused_and_a_file_may_have_just_the_most_bytes() {
        use std::os::unix::fs::{PermissionsExt, chown};
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("privd.toml");
        std::fs::write(&path, "#".repeat(1 << 20)).unwrap();
        assert!(Config::load(&path).is_ok(), "exactly the most");
        let refused =
            || Config::load(&path).unwrap_err().to_string().contains("must belong to root");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o620)).unwrap();
        assert!(refused(), "its group may write");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        chown(&path, Some(65534), None).unwrap();
        assert!(refused(), "it is another's");
    }

    #[test]
    fn the_frontend_user_must_exist_and_not_be_root() {
        let account =
            |text: &str| parse(&format!("frontend-user = {text}")).unwrap().frontend_user.account();
        assert!(matches!(account("\"no-such-user\""), Err(UserError::Missing(_))));
        assert!(matches!(account("\"root\""), Err(UserError::Root)));
        assert!(matches!(account("0"), Err(UserError::Root)));
        assert_eq!(account("\"nobody\"").unwrap().uid, 65534);
    }
}
