//! webhook-privd: a small root daemon that keeps one capability, checks each request again, runs
//! ufw and reads back what ufw did.
//!
//! The way of a request: [`session`] reads a frame from a [`peer`] whose role permits the verb and
//! answers from the [`snapshot`] if nothing must change; otherwise the [`enforcer`] asks
//! [`policy`], commits the [`ledger`], has the [`firewall`] make and read back the change, and
//! answers. What nobody asks for, it does in [`reconcile`].

pub mod acceptor;
pub mod audit;
pub mod batch;
pub mod cli;
pub mod clock;
pub mod enforcer;
pub mod judgement;
pub mod listener;
pub mod peer;
pub mod reconcile;
pub mod record;
pub mod recover;
pub mod reload;
pub mod request;
pub mod session;
pub mod snapshot;
pub mod watchdog;
pub mod watcher;

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use logging::{Audit, AuditError, Journal, Origin};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;
use slog::{Logger, error, info, warn};

use crate::acceptor::Acceptor;
pub use crate::cli::{Invocation, Options};
use crate::enforcer::{End, Enforcer, Order};
use crate::listener::Listener;
use crate::reload::Reload;
use firewall::Firewall;
use firewall::nft::Nft;
use firewall::program::Program;
use firewall::ufw::Ufw;
use ledger::{Ledger, LedgerError, Records};
use policy::config::{Config, Engine};
use protocol::Text;

/// Starts the daemon and works until SIGTERM. Each line of the start is a condition: what does not
/// hold ends it.
///
/// # Errors
/// One sentence that names the thing and the mend, with its exit status.
pub fn run(options: &Options) -> Result<(), StartError> {
    let log = logging::logger();
    if options.recover {
        privilege::enter_domain(&log);
        return recover::run(&options.config, &log);
    }
    let config = Config::load(&options.config)?;
    let frontend = config.frontend_user.account()?;
    if options.check {
        return Ok(());
    }
    privilege::check_root()?;
    let (engine, other) = engines(&config, &log);
    if let Some(path) = Program::missing(engine.programs()) {
        let packages = match config.firewall {
            Engine::Ufw => "ufw iptables conntrack",
            Engine::Nftables => "nftables",
        };
        return Err(StartError::Missing(path, packages));
    }
    let signals = block_signals()?;
    let listener = Listener::open(&config.socket.0, frontend)?;
    let ufw = config.firewall == Engine::Ufw;
    privilege::drop_all_but_needed(ufw)?;
    if !options.unconfined {
        privilege::check_mount_view(ufw)?;
    }
    // As it will be opened again: without the capabilities that are gone.
    let audit = config.audit_log.as_ref().map(|path| path.0.as_path());
    let journal =
        Arc::new(Journal::new(log.clone(), Audit::open(audit, origin(engine.name()), &log)?));
    let opened = open_ledger(&config.ledger.0, &log)?;
    check_size(&config, opened.1.blocks.len())?;
    // Only now, as a start that fails says one thing; nobody was listened to yet.
    privilege::enter_domain(&log);
    info!(log, "webhook-privd starts"; "version" => env!("CARGO_PKG_VERSION"),
        "live_blocks" => opened.1.blocks.len(), "enforce" => config.enforce);
    let mut enforcer =
        Enforcer::new(engine, opened, config, Box::new(clock::now), Arc::clone(&journal));
    enforcer.load(other);
    let published = enforcer.published();
    let (orders, queue) = sync_channel(session::QUEUE);
    let working = spawn("enforcer", move || {
        let end = enforcer.run(&queue);
        // The main thread waits for signals; it needs none if it is what ended this.
        let _ = kill(Pid::this(), Signal::SIGTERM);
        end
    })?;
    let (watching, watcher_log) = (orders.clone(), log.clone());
    spawn("watcher", move || watcher::run(&watching, &watcher_log))?;
    let socket = listener.socket.try_clone().map_err(StartError::Thread)?;
    let address = socket.local_addr().map_err(StartError::Thread)?;
    let reload = Arc::new(Reload::new(options.config.clone(), orders.clone(), log.clone()));
    let acceptor = Acceptor {
        frontend,
        orders: orders.clone(),
        published: Arc::clone(&published),
        reload: Arc::clone(&reload),
        journal: Arc::clone(&journal),
        open: Default::default(),
    };
    spawn("acceptor", move || acceptor.run(&socket))?;
    if let Some(interval) = sd_notify::watchdog_enabled() {
        spawn("watchdog", move || watchdog::run(&address, interval))?;
    }
    info!(log, "webhook-privd is ready");
    // Without systemd there is nobody to notify.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    serve_signals(&signals, &reload, &journal);
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    drop(listener);
    // What has queued up is finished: a batch is never left half done.
    let _ = orders.send(Order::Stop);
    let end = working.join();
    let untold = published.tell_all(LAST_REPLIES);
    if untold > 0 {
        warn!(log, "replies not taken, and not waited for any longer"; "many" => untold);
    }
    journal.settle(None);
    if let Ok(End::Replaced) = end {
        return Err(StartError::Replaced);
    }
    info!(log, "webhook-privd has stopped");
    Ok(())
}

/// The engine that is to hold the blocks, and the other one, which may hold some yet.
fn engines(config: &Config, log: &Logger) -> (Box<dyn Firewall>, Box<dyn Firewall>) {
    let ufw = Box::new(Ufw::new(config.cut_connections, &config.ledger.0, log.clone()));
    let nft = Box::new(Nft::new(&config.ledger.0, log.clone()));
    match config.firewall {
        Engine::Ufw => (ufw, nft),
        Engine::Nftables => (nft, ufw),
    }
}

/// ufw is not given what would keep it busy for hours; the table that holds it stays as it is.
fn check_size(config: &Config, live: usize) -> Result<(), StartError> {
    let too_many = config.firewall == Engine::Ufw && live > config.max_blocks();
    if too_many && Nft::is_standing().unwrap_or_default() {
        return Err(StartError::TooManyForUfw { live, most: config.max_blocks() });
    }
    Ok(())
}

/// A ledger that cannot be read is kept aside: what is in force is adopted from the firewall.
fn open_ledger(path: &Path, log: &Logger) -> Result<(Ledger, Records), StartError> {
    match Ledger::open(path) {
        Err(problem @ LedgerError::Damaged { .. }) => {
            let aside = Ledger::set_aside(path, clock::now().wall).map_err(StartError::Aside)?;
            error!(log, "the ledger is set aside, and blocks are adopted from the firewall";
                "why" => %problem, "kept_as" => %aside.display());
            Ok(Ledger::open(path)?)
        }
        opened => Ok(opened?),
    }
}

/// Blocked in every thread, so that [`serve_signals`] gets them and no ufw run is interrupted.
fn block_signals() -> Result<SigSet, StartError> {
    let signals = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP]);
    signals.thread_block().map_err(|errno| StartError::Thread(errno.into()))?;
    Ok(signals)
}

/// Returns when the daemon is to stop.
fn serve_signals(signals: &SigSet, reload: &Reload, journal: &Journal) {
    while let Ok(Signal::SIGHUP) = signals.wait() {
        // Also where the configuration has a mistake: logrotate has renamed the file.
        journal.audit().reopen();
        reload.ask(None);
    }
}

/// For peers to take their replies: less than webhookd waits for a privd that restarts.
const LAST_REPLIES: Duration = Duration::from_secs(2);

fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, StartError> {
    thread::Builder::new().name(name.to_owned()).spawn(work).map_err(StartError::Thread)
}

/// Why the daemon does not start: printed once, for the operator.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The command line.
    #[error("{0}; try --help")]
    Usage(#[from] lexopt::Error),
    /// The configuration file.
    #[error(transparent)]
    Config(#[from] policy::config::ConfigError),
    /// The account.
    #[error(transparent)]
    User(#[from] policy::config::UserError),
    /// A program that will be needed, and the packages of those that are.
    #[error("{0} is missing: `apt install {1}`")]
    Missing(&'static str, &'static str),
    /// A switch of engines that would not end.
    #[error(
        "{live} live blocks are in nftables, and max-blocks lets ufw have {most}: set firewall = \"nftables\" again, and unblock or wait; ufw takes a second for each change at 10,000"
    )]
    TooManyForUfw {
        /// Live blocks.
        live: usize,
        /// What ufw may have.
        most: usize,
    },
    /// The socket.
    #[error(transparent)]
    Listen(#[from] listener::ListenError),
    /// The audit log.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// Capabilities or mounts.
    #[error(transparent)]
    Privilege(#[from] privilege::PrivilegeError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A ledger that cannot be read stays in the way.
    #[error("a ledger that cannot be read cannot be set aside: {0}")]
    Aside(std::io::Error),
    /// ufw's files are no longer those that this process may write.
    #[error(
        "ufw's rules files were replaced by others (ufw reset, sed -i) or became read-only, or /run/ufw.lock was removed; start webhook-privd again to see them"
    )]
    Replaced,
    /// A rules file that is not whole could not be restored.
    #[error("a damaged rules file could not be restored; its words are above")]
    NotRecovered,
    /// What the ledger holds is not in force.
    #[error("the blocks are not in nftables: {0}")]
    NotLoaded(Text),
    /// The operating system refuses a thread or a descriptor.
    #[error("the system refuses a thread: {0}")]
    Thread(std::io::Error),
}

impl StartError {
    /// The exit status, from sysexits(3).
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 64,
            Self::Config(_)
            | Self::User(_)
            | Self::Missing(..)
            | Self::TooManyForUfw { .. }
            | Self::Listen(_)
            | Self::Audit(_) => 78,
            Self::Privilege(_) => 77,
            Self::Ledger(LedgerError::NoDirectory(_)) => 78,
            // EX_TEMPFAIL: started again, it works.
            Self::Replaced => 75,
            Self::Ledger(_)
            | Self::Thread(_)
            | Self::Aside(_)
            | Self::NotRecovered
            | Self::NotLoaded(_) => 70,
        }
    }
}

/// Who writes the audit log.
const fn origin(firewall: &'static str) -> Origin {
    Origin {
        program: "webhook-privd",
        version: env!("CARGO_PKG_VERSION"),
        firewall: Some(firewall),
    }
}
