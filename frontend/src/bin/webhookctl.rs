//! `webhookctl`: the command line around [`frontend::ctl::run`].

use std::process::ExitCode;

fn main() -> ExitCode {
    frontend::ctl::run(std::env::args_os())
}
