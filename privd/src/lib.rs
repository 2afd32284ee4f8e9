//! webhook-privd: a small root daemon that keeps one capability, checks each request again, runs
//! ufw and reads back what ufw did.
//!
//! The way of a request: [`session`] reads a frame from a [`peer`] whose role permits the verb and
//! answers from the [`snapshot`] if nothing must change; otherwise the [`enforcer`] asks
//! [`policy`], has the [`engine`] make and read back the change, commits the [`ledger`] and
//! answers. [`program`] is the only place that starts programs.

pub mod acceptor;
pub mod audit;
pub mod cli;
pub mod clock;
pub mod config;
pub mod enforcer;
pub mod engine;
pub mod ledger;
pub mod listener;
pub mod logging;
pub mod peer;
pub mod policy;
pub mod privilege;
pub mod program;
pub mod protected;
pub mod session;
pub mod snapshot;

use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use nix::sys::signal::{SigSet, Signal};
use slog::{Logger, error, info};

use crate::acceptor::{Acceptor, TurnedAway};
pub use crate::cli::{Invocation, Options};
use crate::config::{Config, Engine};
use crate::enforcer::{Enforcer, Order};
use crate::engine::ufw::Ufw;
use crate::ledger::Ledger;
use crate::listener::Listener;
use crate::program::Program;

/// Starts the daemon and works until SIGTERM. Each line of the start is a condition: what does not
/// hold ends it.
///
/// # Errors
/// One sentence that names the thing and the mend, with its exit status.
pub fn run(options: &Options) -> Result<(), StartError> {
    let config = Config::load(&options.config)?;
    let frontend = config.frontend_user.account()?;
    if options.check {
        return Ok(());
    }
    privilege::check_root()?;
    if let Some(path) = Program::missing() {
        return Err(StartError::Missing(path));
    }
    let log = logging::logger();
    let signals = block_signals()?;
    let listener = Listener::open(&config.socket.0, frontend)?;
    privilege::drop_all_but_net_admin()?;
    if !options.unconfined {
        privilege::check_mount_view()?;
    }
    let (ledger, records) = Ledger::open(&config.ledger.0)?;
    info!(log, "webhook-privd starts"; "version" => env!("CARGO_PKG_VERSION"),
        "live_blocks" => records.len(), "enforce" => config.enforce);
    let Engine::Ufw = config.firewall;
    let engine = Box::new(Ufw::new(config.cut_connections, log.clone()));
    let enforcer = Enforcer::new(engine, ledger, records, config, log.clone());
    let published = enforcer.published();
    let (orders, queue) = sync_channel(QUEUE);
    let working = spawn("enforcer", move || enforcer.run(&queue))?;
    let socket = listener.socket.try_clone().map_err(StartError::Thread)?;
    let acceptor = Acceptor {
        frontend,
        orders: orders.clone(),
        published,
        log: log.clone(),
        open: Default::default(),
        turned_away: TurnedAway::default(),
    };
    spawn("acceptor", move || acceptor.run(&socket))?;
    info!(log, "webhook-privd is ready");
    // Without systemd there is nobody to notify.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    serve_signals(&signals, &options.config, &orders, &log);
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    drop(listener);
    // What has queued up is finished: a batch is never left half done.
    if orders.send(Order::Stop).is_ok() {
        let _ = working.join();
    }
    info!(log, "webhook-privd has stopped");
    Ok(())
}

/// Blocked in every thread, so that [`serve_signals`] gets them and no ufw run is interrupted.
fn block_signals() -> Result<SigSet, StartError> {
    let signals = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP]);
    signals.thread_block().map_err(|errno| StartError::Thread(errno.into()))?;
    Ok(signals)
}

/// Returns when the daemon is to stop.
fn serve_signals(signals: &SigSet, path: &Path, orders: &SyncSender<Order>, log: &Logger) {
    while let Ok(Signal::SIGHUP) = signals.wait() {
        match Config::load(path) {
            Ok(config) => {
                if orders.send(Order::Reload(Box::new(config))).is_ok() {
                    info!(log, "configuration read again: policy now, the rest at a restart"; "file" => %path.display());
                }
            }
            Err(problem) => {
                error!(log, "configuration not read again, the old one stays"; "why" => %problem);
            }
        }
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StartError> {
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
    Config(#[from] config::ConfigError),
    /// The account.
    #[error(transparent)]
    User(#[from] config::UserError),
    /// A program that will be needed.
    #[error("{0} is missing: `apt install ufw iptables conntrack`")]
    Missing(&'static str),
    /// The socket.
    #[error(transparent)]
    Listen(#[from] listener::ListenError),
    /// Capabilities or mounts.
    #[error(transparent)]
    Privilege(#[from] privilege::PrivilegeError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] ledger::LedgerError),
    /// The operating system refuses a thread or a descriptor.
    #[error("the system refuses a thread: {0}")]
    Thread(std::io::Error),
}

impl StartError {
    /// The exit status, from sysexits(3).
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 64,
            Self::Config(_) | Self::User(_) | Self::Missing(_) | Self::Listen(_) => 78,
            Self::Privilege(_) => 77,
            Self::Ledger(ledger::LedgerError::NoDirectory(_)) => 78,
            Self::Ledger(_) | Self::Thread(_) => 70,
        }
    }
}

/// Orders that may wait for the enforcer: all that both roles may have in flight.
const QUEUE: usize = 2 * acceptor::CONNECTIONS * session::IN_FLIGHT;
