//! `webhookd`: the command line around [`frontend::server::run`].

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// Receives Kibana's alerts over HTTPS and asks webhook-privd to block their source addresses.
#[derive(Parser)]
#[command(name = "webhookd", version, after_help = EXAMPLES)]
struct Arguments {
    /// Configuration, TOML
    #[arg(long, value_name = "FILE", default_value = frontend::server::config::FILE)]
    config: PathBuf,
    /// Validate the configuration, certificate and tokens, and exit
    #[arg(long)]
    check: bool,
}

const EXAMPLES: &str = "\
Examples:
  webhookd --check
  webhookd --config ./webhookd.toml

Exit status: 0 stopped by SIGTERM, 64 wrong usage, 78 configuration,
certificate or tokens wrong, 70 any other failure.";

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // A closed stdout (`--help | head -1`) is not an error.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 64 } else { 0 });
        }
    };
    match frontend::server::run(&arguments.config, arguments.check) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "webhookd: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
