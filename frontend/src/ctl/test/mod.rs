//! `webhookctl test`: an alert's whole way, from HTTPS to the kernel and back, step by step.
//!
//! Whatever was put in place for it is taken away again, also after a failure and after Ctrl-C; what
//! cannot be taken away ends by itself after a minute.

mod alert;
mod block;
mod undo;
mod webhook;

use std::io;
use std::path::PathBuf;
use std::time::Instant;

use nix::unistd::geteuid;
use protocol::Target;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use crate::ctl::check::{Finding, State};
use crate::ctl::engine::Engine;
use crate::ctl::https::parse_url;
use crate::ctl::output::{Line, Output};
use crate::ctl::test::alert::Alert;
use crate::ctl::test::undo::Undo;
use crate::ctl::test::webhook::Webhook;
use crate::ctl::token::Given;
use crate::ctl::{CtlError, Done, WEBHOOKD_TOML, trial};
use crate::privd_client::PrivdClient;

/// What to try.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Post to this URL, for example the one in Kibana's connector, instead of straight to the
    /// address that webhookd listens on
    #[arg(long, value_name = "URL", value_parser = url)]
    url: Option<String>,
    /// Post with the token in this file, - for standard input, instead of one of webhookd's own
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Trust this CA alone, instead of ca.pem beside webhookd's certificate
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Have this documentation address blocked, for example 2001:db8::7
    #[arg(long, value_name = "ADDR", value_parser = nobodys)]
    address: Option<Target>,
    /// webhookd's configuration
    #[arg(long, value_name = "FILE", default_value = WEBHOOKD_TOML)]
    config: PathBuf,
}

const EXAMPLES: &str = "\
Examples:
  sudo webhookctl test
  sudo webhookctl test --address 2001:db8::7
  sudo webhookctl test --url https://webhook.example.org:5001/blockip
  printf %s \"$TOKEN\" | sudo webhookctl test --token-file -

The address is one that nobody has. Its block is lifted at the end, also after a
failure and after Ctrl-C, and ends after a minute by itself. The token is the
first that webhookd's file holds as it is; where all are digests, one is made
for this test alone and revoked again.

Exit status: 0 every step was well, 1 bad input, 2 a step was not.";

pub(super) async fn test(
    privd: &PrivdClient,
    output: &Output,
    arguments: &Arguments,
) -> Result<Done, CtlError> {
    if !geteuid().is_root() {
        return Err(CtlError::NotRoot("test"));
    }
    let given = arguments.token_file.as_deref().map(|file| Given::secret_in(file, "--token-file"));
    let given = given.transpose()?;
    let (mut steps, mut undo) = (Steps::new(), Undo::default());
    let interrupted = interruption()?;
    let ended = tokio::select! {
        ended = run(privd, arguments, given, &mut steps, &mut undo) => ended,
        () = interrupted => {
            let why = Finding::problem("by a signal, and all is taken back", "webhookctl test");
            steps.take::<()>("interrupted", Err(why))
        }
    };
    undo.all(privd, &mut steps).await;
    let well = ended.is_some() && steps.are_well();
    let mut lines: Vec<Line> = steps.0.iter().flat_map(Step::lines).collect();
    lines.push(if well { "All is well." } else { "Not all is well." }.to_owned().into());
    output.print(&steps.0, &lines)?;
    Ok(if well { Done::Well } else { Done::Failed })
}

/// All steps to their end, or to the first that fails; then it is told, and None.
async fn run(
    privd: &PrivdClient,
    arguments: &Arguments,
    given: Option<String>,
    steps: &mut Steps,
    undo: &mut Undo,
) -> Option<()> {
    let webhook = steps.take("set-up", Webhook::of(arguments))?;
    let engine = steps.take("webhook-privd", block::ready(privd).await)?;
    let target = steps.take("address", block::target(privd, arguments.address).await)?;
    let secret = steps.take("token", webhook.secret(given, undo))?;
    let alert = Alert { webhook: &webhook, secret: &secret, target };
    steps.take("alert", alert.post(undo).await)?;
    let enforced = steps.take("block", block::in_force(privd, target).await)?;
    undo.held_by = Some(engine);
    match engine {
        Engine::Ufw => {
            steps.take("rules", block::in_rules(enforced))?;
            steps.take("kernel", block::in_kernel(enforced))
        }
        Engine::Nftables => {
            steps.take("table", block::in_table())?;
            steps.take("kernel", block::in_set(privd, enforced).await)
        }
    }
}

/// What has been tried, in order.
struct Steps(Vec<Step>, Instant);

/// A step, as JSON.
#[derive(Serialize)]
struct Step {
    step: &'static str,
    took_ms: u64,
    #[serde(flatten)]
    finding: Finding,
}

/// What a step gives the next ones, with a sentence, or what is wrong.
type Tried<T> = Result<(T, String), Finding>;

impl Steps {
    fn new() -> Self {
        Self(Vec::new(), Instant::now())
    }

    /// Notes what a step has come to, and how long it took since the one before.
    fn take<T>(&mut self, step: &'static str, tried: Tried<T>) -> Option<T> {
        let took_ms = u64::try_from(self.1.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (value, finding) = match tried {
            Ok((value, sentence)) => (Some(value), Finding::ok(sentence)),
            Err(finding) => (None, finding),
        };
        self.0.push(Step { step, took_ms, finding });
        self.1 = Instant::now();
        value
    }

    fn are_well(&self) -> bool {
        self.0.iter().all(|step| step.finding.state == State::Ok)
    }
}

impl Step {
    fn lines(&self) -> Vec<Line> {
        self.finding.text(&format!("{} ({} ms)", self.step, self.took_ms))
    }
}

/// What ends a command from outside; from now on it ends by itself.
fn interruption() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    })
}

fn url(text: &str) -> Result<String, String> {
    parse_url(text, "https://webhook.example.org:5001/blockip")
}

fn nobodys(text: &str) -> Result<Target, String> {
    let address = text.parse().map_err(|error| format!("{error}; write for example 192.0.2.7"))?;
    if !trial::is_nobodys(address) {
        return Err("somebody may have it; write one of 192.0.2.0/24, 198.51.100.0/24, \
                    203.0.113.0/24 or 2001:db8::/32"
            .to_owned());
    }
    Ok(Target::host(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_has_is_blocked_and_only_https_is_spoken() {
        assert_eq!(nobodys("192.0.2.7").unwrap().to_string(), "192.0.2.7");
        assert_eq!(nobodys("2001:db8::7").unwrap().to_string(), "2001:db8::7");
        for text in ["8.8.8.8", "192.0.2.0/24", "::1", "host"] {
            assert!(nobodys(text).is_err(), "{text}");
        }
        for text in ["https://a.example:5001/blockip", "https://[::1]:5001/blockip"] {
            assert_eq!(url(text).as_deref(), Ok(text));
        }
        for text in ["http://a.example/blockip", "a.example:5001", "/blockip", "https://a b/"] {
            assert!(url(text).unwrap_err().contains("write for example"), "{text}");
        }
    }
}
