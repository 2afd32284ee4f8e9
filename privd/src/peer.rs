//! Who is at the other end of a connection, as the kernel says.

use std::fs;
use std::io;
use std::os::unix::net::UnixStream;

use logging::Asker;
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use policy::Role;
use policy::config::Frontend;
use protocol::Request;

/// A peer and what it may ask. The credentials are those of `connect(2)` (unix(7), `SO_PEERCRED`).
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Process id at the time of `connect`.
    pub pid: i32,
    /// What it may ask.
    pub role: Role,
}

impl Peer {
    /// Asks the kernel who connected.
    ///
    /// # Errors
    /// A peer that is neither the frontend nor uid 0: nothing is read from it.
    pub fn of(stream: &UnixStream, frontend: Frontend) -> Result<Self, PeerError> {
        let credentials = getsockopt(stream, PeerCredentials).map_err(io::Error::from)?;
        let (uid, gid, pid) = (credentials.uid(), credentials.gid(), credentials.pid());
        let role = role_of(uid, frontend).ok_or(PeerError::Stranger { uid, gid, pid })?;
        Ok(Self { uid, gid, pid, role })
    }

    /// Whether the peer's role includes the verb.
    pub const fn may(&self, request: &Request) -> bool {
        match self.role {
            Role::Operator => true,
            Role::Frontend => match request {
                Request::Block(block) => !block.adopt,
                request => matches!(request, Request::Status),
            },
        }
    }

    /// The same in the log, with the person behind a root shell.
    pub fn asker(&self) -> Asker {
        let login = if self.uid == 0 { self.login_uid() } else { None };
        Asker { uid: self.uid, gid: self.gid, pid: self.pid, login }
    }

    fn login_uid(&self) -> Option<u32> {
        login_of(&fs::read_to_string(format!("/proc/{}/loginuid", self.pid)).ok()?)
    }
}

/// What the kernel calls -1 is nobody (proc(5)).
fn login_of(text: &str) -> Option<u32> {
    text.trim().parse().ok().filter(|uid| *uid != u32::MAX)
}

fn role_of(uid: u32, frontend: Frontend) -> Option<Role> {
    match uid {
        0 => Some(Role::Operator),
        uid if uid == frontend.uid => Some(Role::Frontend),
        _ => None,
    }
}

/// Why a connection is not served.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// Not one of the two accounts.
    #[error("uid {uid} gid {gid} pid {pid} may not connect")]
    Stranger {
        /// User id.
        uid: u32,
        /// Group id.
        gid: u32,
        /// Process id.
        pid: i32,
    },
    /// The kernel did not say.
    #[error("the peer's credentials cannot be read: {0}")]
    Unknown(#[from] io::Error),
}

#[cfg(test)]
mod tests {
    use protocol::{Block, EventId, List, Text, Unblock, Which};

    use super::*;

    #[test]
    fn the_frontend_may_block_and_ask_for_status_and_nothing_else() {
        let frontend = Frontend { uid: 999, gid: 999 };
        let peer = |uid| Peer { uid, gid: 0, pid: 1, role: role_of(uid, frontend).unwrap() };
        let target: protocol::Target = "198.51.100.7".parse().unwrap();
        let block = |adopt| Block {
            event: EventId(0),
            requester: None,
            targets: vec![target].try_into().unwrap(),
            term: None,
            reason: Text::default(),
            rule_name: Text::default(),
            alert_id: Text::default(),
            adopt,
        };
        for request in [
            Request::Unblock(Unblock { event: EventId(0), which: Which::All, immune_for: 0 }),
            Request::List(List { after: None, limit: 1 }),
            Request::Show(target),
            Request::Block(block(true)),
            Request::Judge(block(false)),
            Request::Reload,
            Request::Protected,
            Request::Elements(vec![target].try_into().unwrap()),
        ] {
            assert!(!peer(999).may(&request), "{request:?}");
            assert!(peer(0).may(&request), "{request:?}");
        }
        assert!(peer(999).may(&Request::Status));
        assert!(peer(999).may(&Request::Block(block(false))));
        assert_eq!(role_of(1000, frontend), None);
    }

    #[test]
    fn behind_root_is_whoever_logged_in() {
        assert_eq!(login_of("1000\n"), Some(1000));
        for nobody in ["4294967295", "", "-1", "x"] {
            assert_eq!(login_of(nobody), None, "{nobody}");
        }
        let own = login_of(&fs::read_to_string("/proc/self/loginuid").unwrap());
        let pid = std::process::id().try_into().unwrap();
        for (uid, role, login) in [(0, Role::Operator, own), (999, Role::Frontend, None)] {
            let asker = Peer { uid, gid: 7, pid, role }.asker();
            assert_eq!((asker.uid, asker.gid, asker.pid, asker.login), (uid, 7, pid, login));
        }
    }
}
