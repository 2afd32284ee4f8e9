//! The one road to another policy: the configuration file is read again, for SIGHUP and for an
//! operator who asks.

use std::path::PathBuf;
use std::sync::mpsc::SyncSender;
use std::sync::{Mutex, PoisonError};

use protocol::{Reloaded, Reply, Text};
use slog::{Logger, error, info};

use crate::enforcer::{Answer, Order};
use policy::config::Config;

/// Reads the file, and has the enforcer obey it.
pub struct Reload {
    path: PathBuf,
    /// Held from reading to ordering: what was read last is ordered last.
    orders: Mutex<SyncSender<Order>>,
    log: Logger,
}

impl Reload {
    /// Of this file.
    pub const fn new(path: PathBuf, orders: SyncSender<Order>, log: Logger) -> Self {
        Self { path, orders: Mutex::new(orders), log }
    }

    /// Reads it now; whoever asked is answered when the policy is in force, or at once where the file
    /// has a mistake. Should privd be stopping, there is no answer.
    pub fn ask(&self, answer: Option<Answer>) {
        let orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        match Config::load(&self.path) {
            Ok(config) => {
                if orders.send(Order::Reload(Box::new(config), answer)).is_ok() {
                    info!(self.log, "configuration read again: policy now, the rest at a restart";
                        "file" => %self.path.display());
                }
            }
            Err(problem) => {
                error!(self.log, "configuration not read again, the old one stays"; "why" => %problem);
                let mistake = Reloaded::Mistake(Text::truncated(&problem.to_string()));
                answer.into_iter().for_each(|answer| answer(Reply::Reload(mistake.clone())));
            }
        }
    }
}
