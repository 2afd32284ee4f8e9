//! The one place of webhookctl that starts programs: absolute path, cleared environment, capped
//! output, a deadline. What is started here only tells; nothing is changed.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::ctl::outside::shown;

/// What a program left behind.
#[derive(Debug)]
pub(super) struct Printed {
    /// Whether the exit status was 0.
    pub(super) success: bool,
    /// Standard output and standard error, as they came.
    pub(super) text: String,
}

impl Printed {
    /// The first line that says something, safe to print.
    pub(super) fn complaint(&self) -> String {
        let mut lines = self.text.lines().map(str::trim);
        shown(lines.find(|line| !line.is_empty()).unwrap_or("(it printed nothing)"))
    }
}

/// Runs a program of the system to its end.
///
/// # Errors
/// It is not there, cannot be started, or outlasts the deadline.
pub(super) fn run(name: &'static str, arguments: &[&str]) -> Result<Printed, ProgramError> {
    let failed = |source| ProgramError { name, source };
    let path = find(name).ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
    execute(&path, arguments, DEADLINE).map_err(failed)
}

/// What a program printed that must end well.
///
/// # Errors
/// As [`run`], and that it failed.
pub(super) fn printed_well(name: &'static str, arguments: &[&str]) -> Result<String, ProgramError> {
    let printed = run(name, arguments)?;
    if printed.success {
        Ok(printed.text)
    } else {
        Err(ProgramError { name, source: io::Error::other(printed.complaint()) })
    }
}

/// Where a program of the system is, if it is installed. The daemons are looked for beside
/// webhookctl itself first.
pub(super) fn find(name: &str) -> Option<PathBuf> {
    let own = std::env::current_exe().ok();
    let own = own.as_deref().and_then(Path::parent).filter(|_| name.starts_with("webhook"));
    let folders = FOLDERS.iter().map(Path::new);
    own.into_iter().chain(folders).map(|folder| folder.join(name)).find(|path| path.is_file())
}

fn execute(path: &Path, arguments: &[&str], limit: Duration) -> io::Result<Printed> {
    let (reader, writer) = io::pipe()?;
    let mut command = Command::new(path);
    command.args(arguments).env_clear().env("LC_ALL", "C").env("PATH", FOLDERS.join(":"));
    command.current_dir("/").stdin(Stdio::null());
    let mut child = command.stdout(writer.try_clone()?).stderr(writer).spawn()?;
    // It holds the pipe's writing end, and the end of the output could not be seen.
    drop(command);
    let deadline = Instant::now().checked_add(limit);
    let (sender, output) = channel();
    // Where the cap is met the pipe is closed, and the program ends by that.
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = reader.take(MAX_OUTPUT).read_to_end(&mut bytes);
        let _ = sender.send(read.map(|_| bytes));
    });
    let ended = match output.recv_timeout(limit) {
        Ok(read) => read.and_then(|bytes| Ok((wait(&mut child, deadline)?, bytes))),
        Err(RecvTimeoutError::Timeout) => Err(io::ErrorKind::TimedOut.into()),
        Err(RecvTimeoutError::Disconnected) => Err(io::ErrorKind::BrokenPipe.into()),
    };
    let (status, bytes) = match ended {
        Ok(ended) => ended,
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            return Err(error);
        }
    };
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Ok(Printed { success: status.success(), text })
}

fn wait(child: &mut Child, deadline: Option<Instant>) -> io::Result<ExitStatus> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if deadline.is_none_or(|deadline| Instant::now() >= deadline) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        std::thread::sleep(EXIT_POLL);
    }
}

/// Why a program gave no result.
#[derive(Debug, thiserror::Error)]
#[error("{name} gave no result: {source}")]
pub(super) struct ProgramError {
    name: &'static str,
    source: io::Error,
}

/// Root's folders of programs, on every Debian and Ubuntu.
const FOLDERS: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
/// `systemd-analyze security` of a busy machine takes seconds.
const DEADLINE: Duration = Duration::from_secs(20);
/// Bytes: `iptables -S` of 50,000 rules is 4 MB.
const MAX_OUTPUT: u64 = 32 << 20;
/// waitpid has no deadline, so its result is polled for.
const EXIT_POLL: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> io::Result<Printed> {
        execute(Path::new("/bin/sh"), &["-c", script], limit)
    }

    #[test]
    fn a_program_is_read_to_its_end_in_an_environment_of_its_own() {
        let printed = shell("echo one; echo two >&2; env; exit 3", DEADLINE).unwrap();
        assert!(!printed.success);
        assert_eq!(printed.complaint(), "one");
        assert!(printed.text.contains("two\n") && printed.text.contains("LC_ALL=C\n"));
        assert!(!printed.text.contains("CARGO"), "{}", printed.text);
    }

    #[test]
    fn a_program_that_hangs_meets_its_deadline() {
        for script in ["sleep 60", "exec >&- 2>&-; sleep 60"] {
            let error = shell(script, Duration::from_millis(50)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{script}");
        }
    }

    #[test]
    fn a_flood_of_output_is_cut_off() {
        let printed = shell("exec cat /dev/zero", DEADLINE).unwrap();
        assert_eq!(u64::try_from(printed.text.len()).unwrap(), MAX_OUTPUT);
        assert!(!printed.success);
    }

    #[test]
    fn what_is_not_installed_is_named() {
        let error = run("no-such-program", &[]).unwrap_err().to_string();
        assert!(error.starts_with("no-such-program gave no result"), "{error}");
    }
}
