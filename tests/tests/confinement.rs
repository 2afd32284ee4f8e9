//! What a daemon that was taken over tries from inside its unit's sandbox: each is refused there, and
//! works for root outside. What cannot be refused is in `confinement_limits.rs`.

use tests::probe::{self, Attempt, DONE, Probe};
use tests::{Container, until};

const FRONTEND: &str = "webhookd";
const PRIVD: &str = "webhook-privd";
const RECOVER: &str = "webhook-privd-recover";
const ALL: [&str; 3] = [FRONTEND, PRIVD, RECOVER];

#[test]
fn nothing_that_starts_programs_for_root_can_be_asked() {
    let probe = Probe::boot("");
    probe.check(
        &ALL,
        &[
            ("run('systemd-run', '--wait', 'true')", "Failed to connect", DONE),
            ("run('systemctl', 'start', 'mark.service')", "Failed to connect", DONE),
            (
                "run('busctl', 'call', 'org.freedesktop.systemd1', '/org/freedesktop/systemd1',
                     'org.freedesktop.systemd1.Manager', 'StartTransientUnit', 'ssa(sv)a(sa(sv))',
                     'asked.service', 'fail', '1', 'ExecStart', 'a(sasb)', '1', '/bin/true', '1',
                     '/bin/true', 'false', '0')",
                "No such file or directory",
                DONE,
            ),
            ("connect('/run/systemd/private')", "ENOENT", DONE),
            ("connect('/run/dbus/system_bus_socket')", "ENOENT", DONE),
            ("connect('/run/docker.sock')", "ENOENT", DONE),
            ("connect('/var/run/docker.sock')", "ENOENT", DONE),
            ("connect('/run/containerd/containerd.sock')", "ENOENT", DONE),
            ("connect('/run/systemd/journal/stdout')", "ENOENT", DONE),
        ],
    );
    // Abstract sockets belong to a network namespace. privd has the host's, and a kernel that keeps
    // it from them, or one before 6.12.
    probe.check(&[FRONTEND], &[("connect('\\0engine')", "ECONNREFUSED", DONE)]);
    let refused = if probe::kernel_has_scopes() { "EPERM" } else { DONE };
    probe.check(&[PRIVD], &[("connect('\\0engine')", refused, DONE)]);
}

#[test]
fn privd_takes_the_view_of_no_other_process() {
    let probe = Probe::boot("");
    let through = |path: &str, program: &str| format!("f'/proc/{{pid(\"{program}\")}}/{path}'");
    // Root without a capability, from which no capability keeps it.
    let modest = |path| through(path, "/usr/bin/modest");
    // PrivateUsers= makes a namespace that belongs to root.
    let webhookd = |path| through(path, "/usr/sbin/webhookd");
    let attempts = [
        format!("append({})", modest("root/etc/cron.d/new")),
        format!("append({})", modest("cwd/etc/cron.d/new")),
        format!("connect({})", modest("root/run/systemd/private")),
        format!("append({})", modest("mem")),
        format!("os.readlink({})", modest("fd/0")),
        format!("read({})", modest("environ")),
        format!("read({})", webhookd("root/etc/webhookd/token")),
        format!("os.readlink({})", webhookd("fd/3")),
        format!("append({})", webhookd("mem")),
        // The first of the machine, which has every capability.
        "read('/proc/1/root/etc/shadow')".to_owned(),
    ];
    let attempts: Vec<Attempt> =
        attempts.iter().map(|code| (code.as_str(), "EACCES|EPERM", DONE)).collect();
    probe.check(&[PRIVD], &attempts);
    // What it asks of the others is still told: whose login stands behind an operator's command.
    let told = [modest("loginuid"), modest("cmdline"), "'/proc/net/route'".to_owned()];
    let told = told.map(|path| format!("read({path})"));
    let told: Vec<Attempt> = told.iter().map(|code| (code.as_str(), DONE, DONE)).collect();
    probe.check(&[PRIVD], &told);
}

#[test]
fn privd_signals_no_other_process() {
    let probe = Probe::boot("");
    let refused = if probe::kernel_has_scopes() { "EPERM" } else { DONE };
    probe.check(
        &[PRIVD],
        &[
            ("os.kill(1, 0)", refused, DONE),
            ("os.kill(pid('/usr/bin/whole'), signal.SIGCONT)", refused, DONE),
            ("os.kill(pid('/usr/bin/modest'), signal.SIGCONT)", refused, DONE),
            // Its own, as it ends a ufw that never does.
            ("os.kill(os.getppid(), signal.SIGCONT)", DONE, DONE),
        ],
    );
}

/// Nothing tells from outside whether a process is in a domain: webhookd and the recovery, which
/// start no program that could try it, say so. What webhookd's refuses is tried in its own tests.
#[test]
fn each_confines_itself_and_says_where_it_cannot() {
    let machine = Container::boot();
    let units = [FRONTEND, PRIVD, RECOVER];
    let says = |unit: &str, words: &str| {
        let journal = machine.sh(&format!("journalctl --boot --output cat --unit {unit}"));
        journal.lines().any(|line| line.starts_with(words))
    };
    machine.sh(&format!("systemctl start {RECOVER}"));
    for unit in units {
        until(&format!("{unit} says that it is"), 20, || says(unit, "confined by Landlock"));
        assert!(!says(unit, "not confined"), "{unit}");
    }
    // systemd's filters, and for webhookd its own.
    let filters = |unit: &str| -> u32 {
        let pid = machine.property(unit, "MainPID");
        let status = machine.sh(&format!("grep ^Seccomp_filters: /proc/{pid}/status"));
        status.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let before = filters(FRONTEND);
    machine.sh(&format!(
        "for unit in {}; do
             mkdir -p /run/systemd/system/$unit.service.d
             printf '[Service]\\nSystemCallFilter=~landlock_create_ruleset landlock_restrict_self seccomp\\n' \
                 >/run/systemd/system/$unit.service.d/old.conf
         done
         systemctl daemon-reload; systemctl restart {}",
        units.join(" "),
        units.join(" ")
    ));
    for unit in units {
        until(&format!("{unit} says that it is not"), 20, || {
            says(unit, "not confined by Landlock")
        });
    }
    until("webhookd says more", 20, || says(FRONTEND, "TCP Fast Open is not refused"));
    assert_eq!(filters(FRONTEND).checked_add(1), Some(before));
    assert_eq!(machine.block("198.51.100.9").outcomes(), ["blocked"]);
}

/// For uid 0 the mount view alone stands in the way, and the reason is that of the view.
const WRITES: &[Attempt] = &[
    ("append('/etc/ufw/before.init')", "EROFS", DONE),
    ("append('/etc/ufw/after.init')", "EROFS", DONE),
    ("append('/etc/ufw/before.rules')", "EROFS", DONE),
    ("append('/etc/ufw/new')", "EROFS", DONE),
    ("append('/etc/default/ufw')", "EROFS", DONE),
    ("append('/etc/webhookd/privd.toml')", "EROFS|EACCES", DONE),
    ("append('/etc/passwd')", "EROFS", DONE),
    ("append('/etc/cron.d/new')", "EROFS", DONE),
    ("append('/etc/ld.so.preload')", "EROFS", DONE),
    ("append('/etc/systemd/system/new.service')", "EROFS", DONE),
    ("append('/usr/new')", "EROFS", DONE),
    ("append('/boot/new')", "EROFS", DONE),
    ("append('/opt/new')", "EROFS", DONE),
    ("append('/var/new')", "EROFS", DONE),
    ("append('/run/new')", "EROFS", DONE),
    ("append('/run/udev/new')", "ENOENT", DONE),
    ("append('/root/new')", "EACCES", DONE),
    ("append('/home/new')", "EACCES", DONE),
    ("append('/dev/new')", "EROFS", DONE),
    ("append('/dev/shm/new')", "EACCES", DONE),
    ("os.mkdir('/sys/fs/cgroup/new')", "EROFS", DONE),
    ("append('/sys/fs/cgroup/cgroup.procs')", "EROFS", DONE),
    // Where there is no such file, that is the reason.
    ("append('/proc/sys/kernel/core_pattern')", "EROFS|ENOENT", DONE),
    ("append('/proc/sys/net/ipv4/ip_forward')", "EROFS|ENOENT", DONE),
    ("append('/proc/sysrq-trigger')", "EROFS|ENOENT", "done|ENOENT"),
    ("os.mknod('/dev/disk', stat.S_IFBLK | 0o600, os.makedev(7, 0))", "EROFS", DONE),
    ("call('mount', b'none', b'/mnt', b'tmpfs', 0, None)", "EPERM", DONE),
    ("call('mount', None, b'/', None, 0x1020, None)", "EPERM", DONE), // bind, remount: writable
    ("call('umount2', b'/mnt', 2)", "EPERM", DONE),
    ("os.chown('/etc/ufw/user.rules', 65534, 0)", "EPERM", DONE),
    ("os.chmod('/etc/ufw/user.rules', 0o4755)", "EPERM", DONE),
    ("os.link('/etc/ufw/user.rules', '/etc/ufw/linked')", "EROFS|EXDEV", DONE),
    ("os.rename('/etc/ufw/before6.rules', '/etc/ufw/user6.rules')", "EROFS|EBUSY", DONE),
    ("os.unlink('/etc/ufw/user6.rules')", "EROFS|EBUSY", DONE),
];

#[test]
fn nothing_that_root_runs_or_reads_can_be_written() {
    let probe = Probe::boot("touch /etc/ufw/after.init");
    let codes: Vec<&str> = WRITES.iter().map(|attempt| attempt.0).collect();
    for (code, outcome) in codes.iter().zip(probe.outcomes(FRONTEND, &codes)) {
        let refusals = ["EROFS", "EACCES", "ENOENT", "EPERM", "EXDEV"];
        assert!(refusals.contains(&&*outcome), "{code}: {outcome}");
    }

    // Only privd has a folder for temporary files: ufw needs one.
    probe.check(
        &[FRONTEND, RECOVER],
        &[
            ("append('/tmp/new')", "EROFS", DONE),
            ("append('/var/tmp/new')", "EROFS", DONE),
            ("append('/var/log/webhook-privd/new')", "EROFS|EACCES|ENOENT", DONE),
        ],
    );
    probe.check(
        &[PRIVD],
        &[
            ("append('/tmp/new'); os.chmod('/tmp/new', 0o4755)", "EPERM", DONE),
            ("os.mknod('/tmp/disk', stat.S_IFBLK | 0o600, os.makedev(7, 0))", "EPERM|EACCES", DONE),
        ],
    );
    probe.check(
        &[FRONTEND],
        &[
            ("append('/etc/ufw/user.rules')", "EACCES", DONE),
            ("append('/etc/webhookd/token')", "EACCES", DONE),
            ("append('/var/lib/webhook-privd/new')", "EROFS|EACCES", DONE),
        ],
    );
    // At last: outside the sandbox they are not refused, and privd cannot work any more.
    probe.check(&[PRIVD, RECOVER], WRITES);
}

#[test]
fn nothing_secret_can_be_read() {
    let probe = Probe::boot("");
    probe.check(
        &ALL,
        &[
            ("read('/etc/shadow')", "EACCES", DONE),
            ("read('/etc/gshadow')", "EACCES", DONE),
            ("read('/etc/ssh/ssh_host_key')", "EACCES", DONE),
            ("read('/etc/webhookd/tls/ca.key')", "EACCES", DONE),
            ("read('/root/secret')", "EACCES", DONE),
            ("read('/home/somebody/secret')", "EACCES", DONE),
            ("os.stat('/dev/mqueue/host')", "ENOENT", DONE),
            ("os.listdir('/dev/pts')", "EACCES", DONE),
            ("os.openpty()", "EACCES", DONE),
            ("os.open('/dev/mem', os.O_RDONLY)", "ENOENT", "done|ENXIO|EPERM"),
            ("os.open('/dev/kmsg', os.O_RDONLY)", "ENOENT", DONE),
            ("os.open('/proc/kcore', os.O_RDONLY)", "ENOENT|EACCES|EPERM", "done|ENOENT"),
            ("os.open('/proc/kmsg', os.O_RDONLY)", "ENOENT|EACCES", DONE),
            ("call('klogctl', 10, None, 0)", "EPERM", DONE),
            ("read('/proc/1/environ')", "ENOENT|EACCES", DONE),
            ("os.listdir('/proc/1/root')", "ENOENT|EACCES", DONE),
            ("os.listdir('/proc/1/cwd')", "ENOENT|EACCES", DONE),
        ],
    );
    let secrets = ["/etc/webhookd/token", "/etc/webhookd/tls/key.pem"];
    let read = secrets.map(|path| format!("read('{path}')"));
    probe.check(&[PRIVD, RECOVER], &[(&read[0], "EACCES", DONE), (&read[1], "EACCES", DONE)]);
    probe.check(
        &[PRIVD, RECOVER],
        &[
            ("append(f'/proc/{pid(\"/usr/bin/whole\")}/root/etc/passwd')", "EACCES", DONE),
            ("append(f'/proc/{pid(\"/usr/bin/whole\")}/cwd/etc/passwd')", "EACCES", DONE),
            ("append(f'/proc/{pid(\"/usr/bin/whole\")}/mem')", "EACCES", DONE),
            ("append(f'/proc/{pid(\"/usr/bin/somebody\")}/mem')", "EACCES", DONE),
            ("append(f'/proc/{pid(\"/usr/bin/somebody\")}/root/etc/passwd')", "EACCES", DONE),
            ("os.kill(pid('/usr/bin/somebody'), 0)", "EPERM", DONE),
            ("read('/etc/closed')", "EACCES", DONE),
        ],
    );
    probe.check(
        &[FRONTEND],
        &[
            ("read('/var/lib/webhook-privd/ledger.redb')", "EACCES", DONE),
            ("read('/etc/ufw/user.rules')", "EACCES", DONE),
            ("pid('/usr/bin/whole')", "StopIteration", DONE),
            ("os.kill(1, 0)", "EPERM", DONE),
        ],
    );
}

#[test]
fn no_capability_comes_back() {
    let probe = Probe::boot("");
    probe.check(
        &ALL,
        &[
            ("run('cat-capable', '/etc/closed')", "Permission denied", DONE),
            ("run('cat-root', '/etc/closed')", "Permission denied", DONE),
            ("read('/etc/closed')", "EACCES", DONE),
            ("os.setuid(65534)", "EPERM", DONE),
            ("os.setgroups([])", "EPERM", DONE),
            ("call('chroot', b'/')", "EPERM", DONE),
            ("os.setpriority(os.PRIO_PROCESS, 0, -5)", "EPERM", DONE),
            ("os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))", "EPERM", DONE),
        ],
    );
}

#[test]
fn the_kernel_refuses_what_a_daemon_never_does() {
    let probe = Probe::boot("");
    let foreign = ("call('syscall', ctypes.c_long(0x40000000 | 39))", "signal 31", "done|ENOSYS");
    probe.check(
        if cfg!(target_arch = "x86_64") { &ALL } else { &[] },
        &[foreign], // x32, another architecture's numbers
    );
    probe.check(
        &ALL,
        &[
            ("call('unshare', 0x10000000)", "EPERM", DONE), // user
            ("call('unshare', 0x00020000)", "EPERM", DONE), // mount
            ("call('unshare', 0x40000000)", "EPERM", DONE), // network
            ("call('unshare', 0x20000000)", "EPERM", DONE), // process
            ("call('setns', os.open('/proc/self/ns/net', os.O_RDONLY), 0)", "EPERM", DONE),
            // Outside it is the arguments, which are no good, that are looked at.
            ("call('init_module', None, 0, None)", "EPERM", "EFAULT|ENOEXEC|ENOSYS"),
            ("call('ptrace', 0, 0, 0, 0)", "EPERM", DONE),
            ("syscall('bpf', 0, None, 0)", "EPERM", "EINVAL|EFAULT"),
            ("syscall('perf_event_open', None, 0, -1, -1, 0)", "EPERM", "EFAULT"),
            ("syscall('keyctl', 0, -3, 0)", "EPERM", DONE),
            ("syscall('process_vm_readv', 1, None, 0, None, 0, 0)", "EPERM", DONE),
            ("call('reboot', 7)", "EPERM", "EINVAL"),
            ("call('swapon', b'/nowhere', 0)", "EPERM", "ENOENT"),
            ("call('acct', b'/nowhere')", "EPERM", "ENOENT"),
            ("call('clock_settime', 3, ctypes.create_string_buffer(16))", "EPERM", "EINVAL"),
            ("call('sethostname', b'machine', 7)", "EPERM", DONE),
            ("call('personality', 0x0004000)", "EPERM", DONE),
            ("mmap.mmap(-1, 4096, prot=7)", "EPERM|EACCES", DONE), // readable, writable, executable
            (
                "page = mmap.mmap(-1, 4096); at = ctypes.addressof(ctypes.c_char.from_buffer(page))
call('mprotect', ctypes.c_void_p(at), 4096, 5)",
                "EPERM|EACCES",
                DONE,
            ),
            ("socket.socket(socket.AF_INET)", "EAFNOSUPPORT", DONE),
            ("socket.socket(socket.AF_INET6)", "EAFNOSUPPORT", DONE),
            ("socket.socket(socket.AF_INET, socket.SOCK_DGRAM)", "EAFNOSUPPORT", DONE),
            ("socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)", "EAFNOSUPPORT", DONE),
            ("socket.socket(socket.AF_PACKET, socket.SOCK_RAW)", "EAFNOSUPPORT", DONE),
            ("socket.socket(socket.AF_VSOCK)", "EAFNOSUPPORT", "done|EAFNOSUPPORT"),
        ],
    );
    // Where io_uring is switched off, it is for root too.
    let ring = ("syscall('io_uring_setup', 1, None)", "EPERM", "EFAULT|EPERM");
    let program = ("os.memfd_create('program')", "EPERM", DONE); // what Landlock does not see
    probe.check(&[FRONTEND], &[ring, program]);
    probe.check(
        &[FRONTEND],
        &[
            ("socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)", "EAFNOSUPPORT", DONE),
            ("open('/proc/self/net/dev').read().index('host0')", "ValueError", DONE),
        ],
    );
    probe.check(&[FRONTEND, RECOVER], &[("os.stat('/proc/version')", "ENOENT", DONE)]);
}
