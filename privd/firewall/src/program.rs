//! The one place that starts programs: absolute path, fixed argv, empty environment, capped output,
//! a deadline.

use std::fs::{self, File};
use std::io::{self, PipeReader, Read};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::pulse;

/// The programs that are ever started. No other path exists in the daemon.
#[derive(Clone, Copy, Debug)]
pub enum Program {
    /// The firewall's own front end.
    Ufw,
    /// Reads IPv4 rules back, and puts a few in.
    Iptables,
    /// The same for IPv6.
    Ip6tables,
    /// Cuts open connections.
    Conntrack,
    /// Makes our own table.
    Nft,
}

impl Program {
    /// Its absolute path on Debian and Ubuntu.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Ufw => "/usr/sbin/ufw",
            Self::Iptables => "/usr/sbin/iptables",
            Self::Ip6tables => "/usr/sbin/ip6tables",
            Self::Conntrack => "/usr/sbin/conntrack",
            Self::Nft => "/usr/sbin/nft",
        }
    }

    /// Its name, for people.
    pub fn name(self) -> &'static str {
        self.path().rsplit('/').next().unwrap_or_default()
    }

    /// The first of these that is not installed.
    pub fn missing(all: &[Self]) -> Option<&'static str> {
        all.iter().map(|program| program.path()).find(|path| !Path::new(path).exists())
    }

    /// Whether iptables is the legacy one: Debian's alternatives lead to `xtables-legacy-multi`.
    pub fn iptables_is_legacy() -> bool {
        let target = fs::canonicalize(Self::Iptables.path());
        target.is_ok_and(|path| path.to_string_lossy().contains("legacy"))
    }

    /// Runs the program to its end.
    ///
    /// # Errors
    /// It cannot be started, prints more than the cap, or outlasts the deadline; then it has been
    /// signalled and waited for, and may have left its work half done.
    pub fn run(self, arguments: &[&str]) -> Result<Output, ProgramError> {
        self.run_with(arguments, None, None)
    }

    /// The same, with a file that the program holds open as its standard input, or with somebody
    /// who takes the output line by line, of any length.
    ///
    /// # Errors
    /// As [`Program::run`].
    pub fn run_with(
        self,
        arguments: &[&str],
        held: Option<&File>,
        lines: Option<&mut dyn FnMut(&str)>,
    ) -> Result<Output, ProgramError> {
        let in_path = |source| ProgramError { path: self.path(), source };
        let mut command = Command::new(self.path());
        // ufw's words are translated without LC_ALL.
        command.args(arguments).env_clear().env("LC_ALL", "C").current_dir("/");
        // It prints every entry that it deletes, and an attacker can have any number of them.
        let quiet = arguments.first() == Some(&"-D");
        let input = held.map(File::try_clone).transpose().map_err(in_path)?;
        command.stdin(input.map_or_else(Stdio::null, Stdio::from));
        let longest = GRACE.saturating_mul(2).saturating_add(self.deadline());
        pulse::during(longest, || execute(command, quiet, self.deadline(), lines)).map_err(in_path)
    }

    /// ufw waits for its lock without a limit of its own, and killing it leaves damage; the others
    /// take milliseconds.
    const fn deadline(self) -> Duration {
        match self {
            Self::Ufw => Duration::from_secs(120),
            Self::Iptables | Self::Ip6tables | Self::Conntrack | Self::Nft => {
                Duration::from_secs(20)
            }
        }
    }
}

/// What a program left behind.
#[derive(Debug)]
pub struct Output {
    /// Whether the exit status was 0. For ufw this means nothing: read back.
    pub success: bool,
    /// Standard output and standard error, as they came.
    pub text: String,
}

impl Output {
    /// The first line that says something.
    pub fn complaint(&self) -> &str {
        let mut lines = self.text.lines().map(str::trim);
        lines.find(|line| !line.is_empty()).unwrap_or("(it printed nothing)")
    }
}

/// Why a program gave no result.
#[derive(Debug, thiserror::Error)]
#[error("{path} gave no result: {source}")]
pub struct ProgramError {
    path: &'static str,
    source: io::Error,
}

fn execute(
    mut command: Command,
    quiet: bool,
    limit: Duration,
    lines: Option<&mut dyn FnMut(&str)>,
) -> io::Result<Output> {
    let (reader, writer) = io::pipe()?;
    let stdout = if quiet { Stdio::null() } else { writer.try_clone()?.into() };
    command.stdout(stdout).stderr(writer);
    // A Ctrl-C meant for us must not kill ufw in the middle of its file.
    let mut child = command.process_group(0).spawn()?;
    // It holds the pipe's writing end, and the end of the output could not be seen.
    drop(command);
    let deadline = Instant::now().checked_add(limit);
    let output = collect(reader, &mut child, deadline, lines);
    if output.is_err() {
        end(&mut child)?;
    }
    output
}

/// Reads the pipe until the child has ended.
fn collect(
    mut pipe: PipeReader,
    child: &mut Child,
    deadline: Option<Instant>,
    mut lines: Option<&mut dyn FnMut(&str)>,
) -> io::Result<Output> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 16 << 10];
    loop {
        let timeout = PollTimeout::try_from(remaining(deadline)?).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(0) | Err(Errno::EINTR) => continue,
            Ok(_) => {}
            Err(errno) => return Err(errno.into()),
        }
        let read = pipe.read(&mut chunk)?;
        if read == 0 {
            break;
        }
        bytes.extend_from_slice(chunk.get(..read).unwrap_or_default());
        if let Some(take) = lines.as_mut()
            && let Some(last) = bytes.iter().rposition(|byte| *byte == b'\n')
        {
            let whole: Vec<u8> = bytes.drain(..=last).collect();
            String::from_utf8_lossy(&whole).lines().for_each(take);
        }
        if bytes.len() > MAX_OUTPUT {
            return Err(io::Error::other("it printed more than the cap"));
        }
    }
    // Nobody writes any more: the end is at most moments away.
    loop {
        if let Some(status) = child.try_wait()? {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            return Ok(Output { success: status.success(), text });
        }
        remaining(deadline)?;
        std::thread::sleep(EXIT_POLL);
    }
}

/// Asks the child to end, then makes it.
fn end(child: &mut Child) -> io::Result<()> {
    let group = Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?);
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        // Fails only when the group is gone already.
        let _ = killpg(group, signal);
        let deadline = Instant::now().checked_add(GRACE);
        while remaining(deadline).is_ok() {
            if child.try_wait()?.is_some() {
                return Ok(());
            }
            std::thread::sleep(EXIT_POLL);
        }
    }
    Err(io::Error::other("it survived SIGKILL"))
}

fn remaining(deadline: Option<Instant>) -> io::Result<Duration> {
    let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    left.filter(|left| !left.is_zero())
        .ok_or_else(|| io::Error::new(io::ErrorKind::TimedOut, "it did not finish in time"))
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

    fn shell(script: &str, limit: Duration) -> io::Result<Output> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).stdin(Stdio::null());
        execute(command, false, limit, None)
    }

    #[test]
    fn output_is_read_to_its_end() {
        let script =
            "i=0; while [ $i -lt 2000 ]; do echo out$i; echo err$i >&2; i=$((i+1)); done; exit 3";
        let output = shell(script, Duration::from_secs(20)).unwrap();
        assert!(!output.success);
        assert_eq!(output.text.lines().count(), 4000);
        assert_eq!(output.text.lines().last(), Some("err1999"));
        assert_eq!(output.complaint(), "out0");
    }

    #[test]
    fn a_program_that_hangs_meets_its_deadline() {
        for script in ["sleep 60", "exec >&- 2>&-; sleep 60"] {
            let error = shell(script, Duration::from_millis(50)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{script}");
        }
    }

    #[test]
    fn a_program_that_ignores_sigterm_is_killed_with_its_children() {
        let begin = Instant::now();
        assert!(shell("trap '' TERM; sleep 60 & wait", Duration::from_millis(50)).is_err());
        assert!(begin.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn lines_are_handed_on_one_by_one_beyond_any_cap() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "yes 0123456789 | head -c 50000000; echo; echo end"]);
        let (mut count, mut last) = (0, String::new());
        let mut take = |line: &str| {
            count += 1;
            last = line.to_owned();
        };
        let output = execute(command, false, Duration::from_secs(60), Some(&mut take)).unwrap();
        assert!(output.success && output.text.is_empty());
        assert!(count > 4_500_000 && last == "end", "{count} {last}");
    }

    #[test]
    fn a_flood_of_output_is_cut_off() {
        assert!(shell("cat /dev/zero", Duration::from_secs(20)).is_err());
    }
}
