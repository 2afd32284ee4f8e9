//! `webhook-privd`: the command line around [`privd::run`].

use std::io::Write;
use std::process::ExitCode;

use privd::Invocation;

fn main() -> ExitCode {
    let outcome = match Invocation::parse(std::env::args_os().skip(1)) {
        Ok(Invocation::Print(text)) => {
            // A closed stdout (`--help | head -1`) is not an error.
            let _ = writeln!(std::io::stdout(), "{text}");
            return ExitCode::SUCCESS;
        }
        Ok(Invocation::Run(options)) => privd::run(&options),
        Err(error) => Err(error),
    };
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    let _ = writeln!(std::io::stderr(), "webhook-privd: {error}");
    ExitCode::from(error.exit_code())
}
