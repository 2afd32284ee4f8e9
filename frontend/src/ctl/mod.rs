//! `webhookctl`: the operator's command, over the same socket as webhookd.

mod block;
mod list;
mod output;
mod show;
mod status;

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use protocol::Target;

use crate::ctl::output::Output;
use crate::privd_client::{DEFAULT_SOCKET, PrivdClient, PrivdError};

/// Runs one command.
///
/// Exit status, as the guide's script had it: 0 done, 1 bad input or usage, 2 failed.
pub fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // A closed stdout (`--help | head -1`) is not an error.
            let _ = error.print();
            return ExitCode::from(u8::from(error.use_stderr()));
        }
    };
    let output = Output::new(arguments.json);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(command(&arguments, &output)),
        Err(error) => Err(CtlError::Runtime(error)),
    };
    match outcome {
        Ok(Done::Well) => ExitCode::SUCCESS,
        Ok(Done::BadInput) => ExitCode::from(1),
        Ok(Done::Failed) => ExitCode::from(2),
        Err(error) => {
            output.complain(&error.to_string());
            ExitCode::from(2)
        }
    }
}

async fn command(arguments: &Arguments, output: &Output) -> Result<Done, CtlError> {
    let privd = PrivdClient::new(&arguments.socket, PATIENCE);
    match &arguments.command {
        Command::Block { targets, reason } => block::block(&privd, output, targets, reason).await,
        Command::Unblock { targets, .. } => block::unblock(&privd, output, targets).await,
        Command::List => list::list(&privd, output).await,
        Command::Show { target } => show::show(&privd, output, *target).await,
        Command::Status => status::status(&privd, output).await,
    }
}

/// Shows and changes what webhookd blocks.
#[derive(Parser)]
#[command(name = "webhookctl", version, after_help = EXAMPLES)]
struct Arguments {
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
    /// webhook-privd's socket
    #[arg(long, global = true, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    socket: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Block addresses or networks
    Block {
        /// Address or network, for example 198.51.100.7 or 2001:db8::/64
        #[arg(required = true, value_name = "ADDR", value_parser = target)]
        targets: Vec<Target>,
        /// Why; shown by `list`
        #[arg(long, default_value = "by hand")]
        reason: String,
    },
    /// Lift blocks
    Unblock {
        /// Address or network as `list` shows it
        #[arg(required_unless_present = "all", value_name = "ADDR", value_parser = target)]
        targets: Vec<Target>,
        /// Lift every block
        #[arg(long, conflicts_with = "targets")]
        all: bool,
    },
    /// List live blocks
    List,
    /// Tell all that is known about one address
    Show {
        /// Address or network
        #[arg(value_name = "ADDR", value_parser = target)]
        target: Target,
    },
    /// Tell whether blocks can be put in force
    Status,
}

const EXAMPLES: &str = "\
Examples:
  webhookctl block 198.51.100.7 --reason 'port scan'
  webhookctl unblock 198.51.100.7
  webhookctl list --json
  webhookctl show 198.51.100.7
  webhookctl status

Exit status: 0 done, 1 bad input, 2 failed.";

/// How a command ended.
enum Done {
    Well,
    BadInput,
    Failed,
}

fn target(text: &str) -> Result<Target, String> {
    text.parse().map_err(|error: protocol::TargetError| match text.parse::<IpAddr>() {
        Ok(_) => error.to_string(),
        Err(_) => format!("{error}; write for example 198.51.100.7 or 2001:db8::/64"),
    })
}

/// Why a command could not be carried out.
#[derive(Debug, thiserror::Error)]
enum CtlError {
    #[error("{}", explained(.0))]
    Privd(#[from] PrivdError),
    #[error("the system refuses a runtime: {0}")]
    Runtime(std::io::Error),
    #[error("the output cannot be written: {0}")]
    Output(#[from] std::io::Error),
}

fn explained(error: &PrivdError) -> String {
    let advice = match error {
        PrivdError::Connect { source, .. }
            if source.kind() == std::io::ErrorKind::PermissionDenied =>
        {
            "; run webhookctl as root: sudo webhookctl ..."
        }
        PrivdError::Connect { .. } | PrivdError::Lost => {
            "; is it running? See `systemctl status webhook-privd`"
        }
        PrivdError::Forbidden => "; run webhookctl as root: sudo webhookctl ...",
        _ => "",
    };
    format!("{error}{advice}")
}

/// How long a command waits for privd to come back.
const PATIENCE: Duration = Duration::from_secs(2);
