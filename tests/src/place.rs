//! A place in the world: a network namespace with a mount view, held open by a process.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use nix::sched::{CloneFlags, setns};

/// A network namespace and a mount view. Both vanish with the holding process, which the kernel
/// kills with the thread that made it.
#[derive(Debug)]
pub struct Place {
    holder: Child,
}

impl Place {
    /// A place with a network of its own; `setup` is shell that prepares mounts.
    #[must_use]
    pub fn new(setup: &str) -> Self {
        Self::hold(&["unshare", "--net", "--mount", "--propagation", "private"], setup)
    }

    /// Another mount view on the network of `self`, begun from its mounts.
    #[must_use]
    pub fn view(&self, setup: &str) -> Self {
        let pid = self.pid();
        let enter = ["nsenter", "--net", "--mount", "--target", &pid];
        Self::hold(
            &[&enter[..], &["unshare", "--mount", "--propagation", "private"]].concat(),
            setup,
        )
    }

    /// The network of another process, under the mounts of the test.
    #[must_use]
    pub fn of(pid: &str) -> Self {
        Self::hold(&["nsenter", "--net", "--target", pid, "unshare", "--mount"], "")
    }

    fn hold(prefix: &[&str], setup: &str) -> Self {
        let script = format!("set -e; {setup}\necho ready; exec sleep infinity");
        let mut holder = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .args(prefix)
            .args(["sh", "-c", &script])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("setpriv and unshare come with util-linux");
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "a place could not be made: {setup}");
        Self { holder }
    }

    /// A command that will run here.
    #[must_use]
    pub fn command(&self, program: &[&str]) -> Command {
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "nsenter", "--net", "--mount", "--target", &self.pid()])
            .args(program)
            .stdin(Stdio::null());
        // The daemons would take a service manager's variables of the tester for their own.
        for name in ["JOURNAL_STREAM", "NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID"] {
            command.env_remove(name);
        }
        command
    }

    /// Runs a program here to its end.
    pub fn run(&self, program: &[&str]) -> Output {
        self.command(program).output().unwrap_or_else(|error| panic!("{program:?}: {error}"))
    }

    /// Runs shell here and returns what it printed.
    ///
    /// # Panics
    /// When it fails.
    pub fn sh(&self, script: &str) -> String {
        let output = self.run(&["sh", "-ec", script]);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{script}: {}\n{stdout}{stderr}", output.status);
        stdout + &stderr
    }

    /// Runs `work` on the network of this place. Sockets made there stay there.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(format!("/proc/{}/ns/net", self.pid())).unwrap();
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
                work()
            });
            thread.join().unwrap()
        })
    }

    /// Opens a connection from here.
    pub fn connect(&self, to: SocketAddr, patience: Duration) -> std::io::Result<TcpStream> {
        self.inside(|| TcpStream::connect_timeout(&to, patience))
    }

    /// Listens here.
    ///
    /// # Panics
    /// When the address is taken.
    #[must_use]
    pub fn listen(&self, on: &str) -> TcpListener {
        self.inside(|| TcpListener::bind(on)).unwrap_or_else(|error| panic!("{on}: {error}"))
    }

    /// A socket for datagrams of here, which waits for one a moment only.
    ///
    /// # Panics
    /// When the address is taken.
    #[must_use]
    pub fn udp(&self, on: &str) -> UdpSocket {
        let socket =
            self.inside(|| UdpSocket::bind(on)).unwrap_or_else(|error| panic!("{on}: {error}"));
        socket.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        socket
    }

    /// The holder's process id: its namespaces are this place.
    #[must_use]
    pub fn pid(&self) -> String {
        self.holder.id().to_string()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
