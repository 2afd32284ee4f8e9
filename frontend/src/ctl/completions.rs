//! `webhookctl completions`: what a shell completes, for the package.

use clap::Command;
use clap_complete::{Shell, generate};

use crate::ctl::output::Output;
use crate::ctl::{CtlError, Done};

pub(super) fn completions(
    shell: Shell,
    mut command: Command,
    output: &Output,
) -> Result<Done, CtlError> {
    let mut script = Vec::new();
    generate(shell, &mut command, "webhookctl", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    output.print(&script, &[script.trim_end().to_owned()])?;
    Ok(Done::Well)
}
