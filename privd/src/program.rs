//! The one place that starts programs: absolute path, fixed argv, empty environment, capped output,
//! a deadline.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The programs that are ever started. No other path exists in the daemon.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Program {
    /// The firewall's front end.
    Ufw,
    /// Reads IPv4 rules back.
    Iptables,
    /// Reads IPv6 rules back.
    Ip6tables,
    /// Cuts open connections.
    Conntrack,
}

impl Program {
    /// Its absolute path on Debian and Ubuntu.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Ufw => "/usr/sbin/ufw",
            Self::Iptables => "/usr/sbin/iptables",
            Self::Ip6tables => "/usr/sbin/ip6tables",
            Self::Conntrack => "/usr/sbin/conntrack",
        }
    }

    /// Runs the program to its end.
    ///
    /// # Errors
    /// It cannot be started, prints more than the cap, or outlasts the deadline; then it has been
    /// signalled and waited for, and may have left its work half done.
    pub fn run(self, arguments: &[&str]) -> Result<Output, ProgramError> {
        let mut command = Command::new(self.path());
        command
            .args(arguments)
            .env_clear()
            // ufw's words are translated otherwise.
            .env("LC_ALL", "C")
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A Ctrl-C meant for us must not kill ufw in the middle of its file.
            .process_group(0);
        let mut child =
            command.spawn().map_err(|source| ProgramError::Start { path: self.path(), source })?;
        let deadline = Instant::now().checked_add(self.deadline());
        let ended = collect(&mut child, deadline);
        let broken = |source| ProgramError::Pipe { path: self.path(), source };
        let output = match ended {
            Ok(Some(output)) => output,
            Ok(None) => {
                end(&mut child).map_err(broken)?;
                return Err(ProgramError::Deadline { path: self.path() });
            }
            Err(error) => {
                end(&mut child).map_err(broken)?;
                return Err(broken(error));
            }
        };
        Ok(output)
    }

    /// ufw waits for its lock without a limit of its own, and killing it leaves damage; the others
    /// take milliseconds.
    const fn deadline(self) -> Duration {
        match self {
            Self::Ufw => Duration::from_secs(120),
            Self::Iptables | Self::Ip6tables | Self::Conntrack => Duration::from_secs(20),
        }
    }
}

/// What a program left behind.
#[derive(Debug)]
pub struct Output {
    /// Whether the exit status was 0. For ufw this means nothing: read back.
    pub success: bool,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Output {
    /// The line most likely to say what went wrong.
    #[must_use]
    pub fn complaint(&self) -> &str {
        let lines = self.stderr.lines().chain(self.stdout.lines());
        lines.map(str::trim).find(|line| !line.is_empty()).unwrap_or("(it printed nothing)")
    }
}

/// Why a program gave no result.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// Not there, or not executable.
    #[error("{path} cannot be started: {source}")]
    Start {
        /// The program.
        path: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// Ran too long and was signalled.
    #[error("{path} did not finish in time and was stopped")]
    Deadline {
        /// The program.
        path: &'static str,
    },
    /// Its output could not be read, or exceeded the cap.
    #[error("the output of {path} cannot be read: {source}")]
    Pipe {
        /// The program.
        path: &'static str,
        /// What went wrong.
        source: io::Error,
    },
}

/// Reads both pipes until the child has ended. None: the deadline came first.
fn collect(child: &mut Child, deadline: Option<Instant>) -> io::Result<Option<Output>> {
    let mut stdout = child.stdout.take();
    let mut stderr = child.stderr.take();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    while stdout.is_some() || stderr.is_some() {
        let mut waiting = Vec::with_capacity(2);
        waiting.extend(stdout.as_ref().map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)));
        waiting.extend(stderr.as_ref().map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)));
        let left = remaining(deadline);
        if left.is_zero() {
            return Ok(None);
        }
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut waiting, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let mut ready = waiting.iter().map(|fd| fd.any().unwrap_or(true));
        let out_ready = stdout.is_some() && ready.next().unwrap_or(false);
        let err_ready = stderr.is_some() && ready.next().unwrap_or(false);
        if out_ready {
            stdout = drain(stdout, &mut out)?;
        }
        if err_ready {
            stderr = drain(stderr, &mut err)?;
        }
    }
    // Both pipes are closed: the end is at most moments away.
    loop {
        if let Some(status) = child.try_wait()? {
            let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
            return Ok(Some(Output {
                success: status.success(),
                stdout: text(out),
                stderr: text(err),
            }));
        }
        if remaining(deadline).is_zero() {
            return Ok(None);
        }
        std::thread::sleep(EXIT_POLL);
    }
}

/// Reads what is there; gives the pipe back unless it has ended.
fn drain<P: Read>(pipe: Option<P>, into: &mut Vec<u8>) -> io::Result<Option<P>> {
    let Some(mut pipe) = pipe else { return Ok(None) };
    let mut chunk = [0; 16 << 10];
    let read = pipe.read(&mut chunk)?;
    into.extend_from_slice(chunk.get(..read).unwrap_or_default());
    if into.len() > MAX_OUTPUT {
        return Err(io::Error::other("more than the cap"));
    }
    Ok((read > 0).then_some(pipe))
}

/// Asks the child to end, then makes it.
fn end(child: &mut Child) -> io::Result<()> {
    let group = i32::try_from(child.id()).map(|id| Pid::from_raw(id.saturating_neg()));
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        if let Ok(group) = group {
            // Fails only when the group is gone already.
            let _ = kill(group, signal);
        }
        let deadline = Instant::now().checked_add(GRACE);
        while !remaining(deadline).is_zero() {
            if child.try_wait()?.is_some() {
                return Ok(());
            }
            std::thread::sleep(EXIT_POLL);
        }
    }
    Err(io::Error::other("it survived SIGKILL"))
}

fn remaining(deadline: Option<Instant>) -> Duration {
    deadline.map_or(Duration::ZERO, |deadline| deadline.saturating_duration_since(Instant::now()))
}

/// Bytes: `iptables -S` of 50,000 rules is 4 MB.
const MAX_OUTPUT: usize = 32 << 20;
/// How long a signalled program has to clean up.
const GRACE: Duration = Duration::from_secs(5);
/// waitpid has no deadline, so its result is polled for.
const EXIT_POLL: Duration = Duration::from_micros(200);

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, deadline: Duration) -> io::Result<Option<Output>> {
        let mut child = Command::new("/bin/sh")
            .args(["-c", script])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let output = collect(&mut child, Instant::now().checked_add(deadline));
        if !matches!(output, Ok(Some(_))) {
            end(&mut child)?;
        }
        output
    }

    #[test]
    fn both_pipes_are_read_to_their_end() {
        let script =
            "i=0; while [ $i -lt 2000 ]; do echo out$i; echo err$i >&2; i=$((i+1)); done; exit 3";
        let output = shell(script, Duration::from_secs(20)).unwrap().unwrap();
        assert!(!output.success);
        assert_eq!(output.stdout.lines().count(), 2000);
        assert_eq!(output.stderr.lines().last(), Some("err1999"));
        assert_eq!(output.complaint(), "err0");
    }

    #[test]
    fn a_program_that_hangs_meets_its_deadline() {
        let begin = Instant::now();
        for script in ["sleep 60", "exec >&- 2>&-; sleep 60", "trap '' TERM; sleep 60 & wait"] {
            assert!(shell(script, Duration::from_millis(50)).unwrap().is_none(), "{script}");
        }
        assert!(begin.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_flood_of_output_is_cut_off() {
        assert!(shell("cat /dev/zero", Duration::from_secs(20)).is_err());
    }
}
