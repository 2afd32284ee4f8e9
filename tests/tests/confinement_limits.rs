//! What the units' sandboxes cannot refuse. SECURITY.md names each, with its test; a test that fails
//! here may well be good news, and SECURITY.md is then to be mended.

use tests::probe::{DONE, Probe};
use tests::until;

const FRONTEND: &str = "webhookd";
const PRIVD: &str = "webhook-privd";
const RECOVER: &str = "webhook-privd-recover";

#[test]
fn root_without_capabilities_limits_other_root_processes() {
    let probe = Probe::boot("");
    probe.check(
        &[PRIVD, RECOVER],
        &[
            ("call('prlimit', pid('/usr/bin/whole'), 7, None, None)", DONE, DONE),
            ("append(f'/proc/{pid(\"/usr/bin/whole\")}/oom_score_adj')", DONE, DONE),
        ],
    );
}

/// For the recovery, which takes it from itself, and for privd where the kernel cannot (before 6.12):
/// `confinement.rs`.
#[test]
fn no_unit_keeps_root_without_capabilities_from_signals_and_abstract_sockets() {
    let probe = Probe::boot("");
    probe.check(&[RECOVER], &[("os.kill(1, 0)", DONE, DONE), ("connect('\\0engine')", DONE, DONE)]);
}

#[test]
fn privd_has_pid_1_start_installed_units_by_a_forged_event_of_udev() {
    // systemd listens where udev runs and /sys is writable: as on a host, not in a container.
    let probe = Probe::boot(
        "touch /run/udev/control; mount -o remount,bind,rw /sys; systemctl daemon-reexec",
    );
    let forge = "
words = b'''ACTION=add DEVPATH=/devices/virtual/net/lo SUBSYSTEM=net INTERFACE=lo IFINDEX=1 SEQNUM=99999
    USEC_INITIALIZED=1 TAGS=:systemd: CURRENT_TAGS=:systemd: SYSTEMD_WANTS=mark.service'''
event = b'\\0'.join(words.split()) + b'\\0'
header = struct.pack('>8sI', b'libudev', 0xfeedcafe) + struct.pack('=3I', 40, 40, len(event))
header += struct.pack('>4I', 0, 0, 0xffffffff, 0xffffffff)
udev = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 15)
udev.bind((0, 0))
udev.sendto(header + event, (0, 2))";
    assert_eq!(probe.outcomes(PRIVD, &[forge]), [DONE]);
    until("the unit was started", 10, || probe.machine.run("test -e /etc/marked").status.success());
    let refused = probe.outcomes(FRONTEND, &[forge]);
    assert_eq!(refused, ["EAFNOSUPPORT"]);
}

#[test]
fn privd_owns_the_two_rules_files() {
    let probe = Probe::boot("");
    probe.check(
        &[PRIVD, RECOVER],
        &[
            ("append('/etc/ufw/user.rules')", DONE, DONE),
            ("append('/etc/ufw/user6.rules')", DONE, DONE),
            ("os.chmod('/etc/ufw/user.rules', 0o644)", DONE, DONE),
        ],
    );
    probe.check(
        &[PRIVD, RECOVER],
        &[
            ("socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)", DONE, DONE),
            ("append('/var/lib/webhook-privd/new')", DONE, DONE),
        ],
    );
    probe.check(&[PRIVD], &[("append('/tmp/new')", DONE, DONE)]);
}

/// By its unit alone, as before kernel 6.7: from then on webhookd refuses it to itself.
#[test]
fn webhookd_can_make_its_listener_a_connection_and_the_socket_can_say_where_to() {
    let probe = Probe::boot("");
    let outside = probe.machine.neighbour().listen("203.0.113.7:4444");
    let kibana = probe.machine.neighbour().listen("10.9.0.2:4444");
    let connect = |address: &str| {
        format!(
            "own = socket.socket(fileno=3); own.shutdown(2); own.settimeout(1)
own.connect(('::ffff:{address}', 4444))"
        )
    };
    let to = [connect("203.0.113.7"), connect("10.9.0.2")];
    let attempts = [&*to[0], &*to[1]];
    // Kept open: a listener that has become a closed connection has systemd 252 start webhookd without
    // a pause, and no stop of the socket ever has its turn (seen).
    let mut open = Vec::new();
    let mut reached = || {
        [&outside, &kibana].map(|listener| {
            listener.set_nonblocking(true).unwrap();
            let reached = listener.accept();
            let is = reached.is_ok();
            open.extend(reached);
            is
        })
    };
    let renew = "systemctl stop webhookd.socket webhookd; systemctl start webhookd.socket";
    for (number, attempt) in attempts.iter().enumerate() {
        probe.machine.sh(renew);
        assert_eq!(probe.outcomes(FRONTEND, &[attempt]), [DONE]);
        assert_eq!(reached(), [number == 0, number == 1]);
    }
    // By the socket's unit, for the socket is its own.
    probe.machine.sh(&format!(
        "mkdir /etc/systemd/system/webhookd.socket.d
         printf '[Socket]\\nIPAddressDeny=any\\nIPAddressAllow=10.9.0.2\\n' \
             >/etc/systemd/system/webhookd.socket.d/clients.conf
         systemctl daemon-reload; {renew}; systemctl start webhookd"
    ));
    assert_eq!(probe.machine.block("198.51.100.9").outcomes(), ["blocked"]);
    probe.machine.sh(renew);
    assert_eq!(probe.outcomes(FRONTEND, &attempts[..1]), ["timed out"]);
    assert_eq!(reached(), [false, false]);
}
