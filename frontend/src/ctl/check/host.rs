//! What the checks share: both configurations, the account, privd's state.

use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Uid, User};
use protocol::Status;
use serde::Deserialize;

use crate::ctl::check::finding::Unmade;
use crate::ctl::engine::Engine;
use crate::ctl::outside::{read, shown};
use crate::ctl::{PRIVD_TOML, WEBHOOKD_TOML, explained};
use crate::privd_client::{DEFAULT_SOCKET, PrivdError};
use crate::server::config::Config;

/// The host as it was found. What could not be read fails only the checks that need it.
pub(super) struct Host {
    frontend: Result<Config, String>,
    privd: Result<PrivdKeys, String>,
    status: Result<Status, String>,
}

impl Host {
    pub(super) fn new(status: Result<Status, PrivdError>) -> Self {
        Self {
            frontend: Config::load(Path::new(WEBHOOKD_TOML)).map_err(|error| error.to_string()),
            privd: PrivdKeys::load().map_err(|error| error.to_string()),
            status: status.map_err(|error| explained(&error)),
        }
    }

    pub(super) fn frontend(&self) -> Result<&Config, Unmade> {
        self.frontend.as_ref().map_err(|why| Unmade::Because(why.clone()))
    }

    pub(super) fn privd(&self) -> Result<&PrivdKeys, Unmade> {
        self.privd.as_ref().map_err(|why| Unmade::Because(why.clone()))
    }

    pub(super) fn status(&self) -> Result<&Status, Unmade> {
        self.status.as_ref().map_err(|why| Unmade::Because(why.clone()))
    }

    /// What holds the blocks: by webhook-privd's word, or where it does not answer by privd.toml's.
    pub(super) fn engine(&self) -> Engine {
        match (&self.status, &self.privd) {
            (Ok(status), _) => Engine::of(status),
            (Err(_), Ok(keys)) => Engine::named(&keys.firewall),
            (Err(_), Err(_)) => Engine::Ufw,
        }
    }

    /// The account of webhookd.
    pub(super) fn account(&self) -> Result<User, Unmade> {
        let (user, name) = match &self.privd()?.frontend_user {
            UserKey::Uid(uid) => (User::from_uid(Uid::from_raw(*uid)), uid.to_string()),
            UserKey::Name(name) => (User::from_name(name), shown(name)),
        };
        user.ok().flatten().ok_or_else(|| Unmade::Because(format!("there is no user {name}")))
    }

    /// The group that may use privd's socket and read webhookd's secrets.
    pub(super) fn group(&self) -> Result<Gid, Unmade> {
        self.account().map(|user| user.gid)
    }

    /// Whether systemd runs this host: sd_booted(3).
    pub(super) fn is_booted() -> bool {
        Path::new("/run/systemd/system").is_dir()
    }
}

/// The keys of privd.toml that are needed here. privd itself says whether the file is right.
#[derive(Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub(super) struct PrivdKeys {
    pub(super) socket: PathBuf,
    pub(super) ledger: PathBuf,
    firewall: String,
    frontend_user: UserKey,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum UserKey {
    Uid(u32),
    Name(String),
}

impl PrivdKeys {
    fn load() -> Result<Self, Unmade> {
        toml::from_str(&read(PRIVD_TOML)?)
            .map_err(|error| Unmade::Because(format!("{PRIVD_TOML}: {}", shown(error.message()))))
    }
}

impl Default for PrivdKeys {
    fn default() -> Self {
        Self {
            socket: DEFAULT_SOCKET.into(),
            ledger: "/var/lib/webhook-privd/ledger.redb".into(),
            firewall: "ufw".into(),
            frontend_user: UserKey::Name("webhookd".into()),
        }
    }
}
