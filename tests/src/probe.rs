//! Things tried from inside a unit's sandbox.
//!
//! For webhook-privd it is the daemon that runs that makes them: they stand in ufw's place when it
//! starts ufw, and so nothing that holds for its programs, by its unit or by itself, is left out.
//!
//! The others start no program. Their unit's file is copied byte for byte, and a drop-in has systemd
//! run the attempts where it would run the daemon: every directive is in force, also those that
//! entering namespaces would leave out (system calls, address families, writable and executable
//! memory, set-user-id bits), but not what the daemon then takes from itself.

use landlock::{CompatLevel, Compatible, Ruleset, RulesetAttr, Scope};

use crate::Container;

/// What is tried (a line of Python over `WORDS`), how it ends in the sandbox, how outside. `|` parts
/// what kernels and releases differ in.
pub type Attempt<'a> = (&'a str, &'a str, &'a str);

/// The attempt succeeds.
pub const DONE: &str = "done";

/// Whether this kernel keeps signals and abstract sockets inside a Landlock domain (6.12). Every
/// release that is supported has the domain itself.
#[must_use]
pub fn kernel_has_scopes() -> bool {
    Ruleset::default().set_compatibility(CompatLevel::HardRequirement).scope(Scope::Signal).is_ok()
}

/// A machine whose units are tried.
#[derive(Debug)]
pub struct Probe {
    /// Booted, and showing what systemd-nspawn hides and a host does not.
    pub machine: Container,
}

impl Probe {
    /// A booted machine, with what is to be attacked; `prepare` is shell that adds to it.
    #[must_use]
    pub fn boot(prepare: &str) -> Self {
        let machine = Container::boot();
        machine.sh(&format!("{VICTIMS}\n{prepare}"));
        Self { machine }
    }

    /// Has each attempt made inside each unit, and then by root in a unit without a sandbox.
    ///
    /// # Panics
    /// When one ends otherwise than it says: the refusal is then not there, or not the sandbox's.
    pub fn check(&self, units: &[&str], attempts: &[Attempt]) {
        let codes: Vec<&str> = attempts.iter().map(|attempt| attempt.0).collect();
        let mut wrong = String::new();
        for unit in units.iter().chain([&NO_SANDBOX]) {
            for (attempt, outcome) in attempts.iter().zip(self.outcomes(unit, &codes)) {
                let expected = if *unit == NO_SANDBOX { attempt.2 } else { attempt.1 };
                if !expected.split('|').any(|expected| outcome.contains(expected)) {
                    wrong += &format!("{unit}: {}: {outcome}, not {expected}\n", attempt.0);
                }
            }
        }
        assert!(wrong.is_empty(), "\n{wrong}");
    }

    /// How each attempt ends in `unit`: `done`, the name of an error number, what a program said,
    /// or `signal N`.
    #[must_use]
    pub fn outcomes(&self, unit: &str, attempts: &[&str]) -> Vec<String> {
        let attempts = serde_json::to_string(attempts).unwrap();
        let run = if unit == PRIVD { RUN_FROM_PRIVD } else { RUN };
        let printed = self.machine.sh(&format!(
            "unit={unit}\ncat >/etc/probe-in <<'END'\n{WORDS}\ntry_each({attempts})\nEND\n{run}"
        ));
        serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{unit}: {error}: {printed}"))
    }
}

/// The one whose attempts the daemon makes.
const PRIVD: &str = "webhook-privd";

/// A unit that forbids nothing.
const NO_SANDBOX: &str = "no-sandbox";

/// Processes of root with every capability, with none, and of somebody; programs that would give
/// their user more; sockets as of a container engine; secrets; a root terminal. systemd-nspawn makes
/// /proc/sys read-only, which a host's is not.
const VICTIMS: &str = "
    mount -o remount,bind,rw /proc/sys; mknod /dev/mem c 1 1; mknod /dev/kmsg c 1 11
    for name in whole modest somebody; do cp /bin/sleep /usr/bin/$name; done
    systemd-run -q whole infinity
    systemd-run -q -p CapabilityBoundingSet= modest infinity
    systemd-run -q --uid nobody somebody infinity
    systemd-run -q --unit engine --socket-property=ListenStream=/run/docker.sock \
        --socket-property=ListenStream=/run/containerd/containerd.sock \
        --socket-property=ListenStream=@engine sleep infinity
    printf '[Service]\nType=oneshot\nExecStart=touch /etc/marked\n' >/etc/systemd/system/mark.service
    cp /bin/cat /usr/bin/cat-root; chmod 4755 /usr/bin/cat-root; cp /bin/cat /usr/bin/cat-capable
    python3 -c \"import os, struct; os.setxattr('/usr/bin/cat-capable', 'security.capability',
        struct.pack('<5I', 0x02000001, 1 << 1, 0, 0, 0))\"
    mkdir -p /etc/ssh /etc/cron.d /home/somebody /run/udev; touch /dev/mqueue/host
    for path in /etc/ssh/ssh_host_key /etc/webhookd/tls/ca.key /root/secret /home/somebody/secret; do
        (umask 077; echo secret >$path)
    done
    (umask 777; touch /etc/closed); chown 4711 /etc/closed
    systemctl daemon-reload
";

/// The standard streams are opened before the sandbox closes.
const RUN: &str = "
    cd /run/systemd/system; mkdir -p $unit-probe.service.d
    echo '[Service]' >$unit-probe.service; sockets=
    test $unit = no-sandbox || cp /lib/systemd/system/$unit.service $unit-probe.service
    test ! -e /lib/systemd/system/$unit.socket || sockets=Sockets=$unit.socket
    cat >$unit-probe.service.d/probe.conf <<END
[Service]
ExecStart=
ExecStart=/usr/bin/python3 -I -
Type=oneshot
Restart=no
StandardInput=file:/etc/probe-in
StandardOutput=truncate:/etc/probe-out
$sockets
END
    systemctl daemon-reload; systemctl start $unit-probe; cat /etc/probe-out
";

/// What is lifted goes by ufw, which runs behind the attempts: they leave the daemon its work.
const RUN_FROM_PRIVD: &str = r#"
    test -e /usr/sbin/ufw-itself || cp /usr/sbin/ufw /usr/sbin/ufw-itself
    printf '#!/bin/sh\npython3 -I - </etc/probe-in >/var/lib/webhook-privd/probe-out 2>&1
        exec ufw-itself "$@"\n' >/usr/sbin/ufw
    webhookctl block 198.51.100.200 >/dev/null
    webhookctl unblock --immune-for 0s 198.51.100.200 >/dev/null
    cp /usr/sbin/ufw-itself /usr/sbin/ufw
    cat /var/lib/webhook-privd/probe-out; rm /var/lib/webhook-privd/probe-out
"#;

/// What attempts are made of. Each runs in a process of its own.
const WORDS: &str = r#"
import ctypes, errno, fcntl, json, mmap, os, signal, socket, stat, struct, subprocess, sys
libc = ctypes.CDLL(None, use_errno=True)
NUMBERS = {'x86_64': {'bpf': 321, 'perf_event_open': 298, 'keyctl': 250, 'process_vm_readv': 310, 'io_uring_setup': 425},
           'aarch64': {'bpf': 280, 'perf_event_open': 241, 'keyctl': 219, 'process_vm_readv': 270, 'io_uring_setup': 425}}[os.uname().machine]

def call(name, *arguments):
    result = getattr(libc, name)(*arguments)
    if result == -1: raise OSError(ctypes.get_errno(), name)

def syscall(name, *arguments): call('syscall', ctypes.c_long(NUMBERS[name]), *arguments)

def read(path): os.read(os.open(path, os.O_RDONLY), 1)

def append(path): os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

def connect(path): socket.socket(socket.AF_UNIX).connect(path)

def run(*command):
    ended = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if ended.returncode: raise RuntimeError(ended.stderr.strip() or str(ended.returncode))

def processes(): return [int(name) for name in os.listdir('/proc') if name.isdigit()]

def pid(program): return next(pid for pid in processes() if open(f'/proc/{pid}/cmdline').read().startswith(program + '\0'))

def outcome(code):
    got, give = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        try: exec(code, globals()); word = 'done'
        except OSError as error: word = errno.errorcode.get(error.errno, str(error))
        except BaseException as error: word = f'{type(error).__name__}: {error}'
        os.write(give, word.encode())
        os._exit(0)
    os.close(give)
    said = os.fdopen(got).read()
    status = os.waitpid(child, 0)[1]
    return f'signal {os.WTERMSIG(status)}' if os.WIFSIGNALED(status) else said

def try_each(codes): print(json.dumps([outcome(code) for code in codes]))
"#;
