//! The disk of a machine: a Debian or Ubuntu of its own, in memory, with the package on it or not.
//!
//! It is an overlay over a root that debootstrap makes once. Its mounts belong to a namespace that
//! ends with the test.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::package;
use crate::place::Place;
use crate::world::binaries;

/// What a machine boots from.
#[derive(Debug)]
pub struct Disk {
    /// Has the disk at `root` in its working directory; becomes the machine's neighbour.
    pub(crate) place: Place,
    pub(crate) directory: TempDir,
}

impl Disk {
    /// A machine with ufw enabled at boot, SSH open to everyone and port 5001 to Kibana; the package
    /// lies at `/root/webhookd.deb`.
    #[must_use]
    pub fn bare() -> Self {
        assert!(nix::unistd::geteuid().is_root(), "these tests need root: run `sudo tests/run`");
        let directory = tempfile::Builder::new().prefix("webhookd-test-").tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let place = Place::new(&format!(
            "base={}; cd {}\n{DISK}\ncp {} root/root/webhookd.deb",
            base_root().display(),
            directory.path().display(),
            package::path().display(),
        ));
        let disk = Self { place, directory };
        disk.sh(FIREWALL);
        disk
    }

    /// The same with the package installed, and a certificate for the address that Kibana calls.
    #[must_use]
    pub fn installed() -> Self {
        let disk = Self::bare();
        disk.sh(INSTALL);
        disk
    }

    /// Runs shell on the disk as root (`chroot`); what it printed.
    ///
    /// # Panics
    /// When it fails.
    pub fn sh(&self, script: &str) -> String {
        let root = self.directory.path().join("root").display().to_string();
        self.place.sh(&format!(
            "mount -t proc proc {root}/proc
             env -i {PATH} LC_ALL=C chroot {root} sh -ec {} 2>&1
             umount {root}/proc",
            shell_word(script)
        ))
    }
}

/// A Debian or Ubuntu root of the same release as this machine, whose C library our binaries were
/// built for, or of a newer one that `WEBHOOKD_TEST_SUITE` names. Made once, whole or not at all.
fn base_root() -> PathBuf {
    let release = fs::read_to_string("/etc/os-release").unwrap();
    let value = |key| release.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
    let chosen = std::env::var("WEBHOOKD_TEST_SUITE");
    let suite = chosen.as_deref().unwrap_or_else(|_| value("VERSION_CODENAME="));
    let cache = binaries().parent().unwrap().join("container");
    fs::create_dir_all(&cache).unwrap();
    // Held until the end of this function, also against other test programs.
    let lock = File::create(cache.join("lock")).unwrap();
    lock.lock().unwrap();
    let made = cache.join(suite);
    if fs::read_to_string(made.join("packages")).is_ok_and(|packages| packages == PACKAGES) {
        return made.join("root");
    }
    let components = if value("ID=") == "ubuntu" { "main,universe" } else { "main" };
    let script = format!(
        "cd {cache}; rm -rf {suite} unfinished; mkdir unfinished
         debootstrap --variant=minbase --components={components} --include={PACKAGES} \
             {suite} unfinished/root >log 2>&1 || {{ tail log; exit 1; }}
         rm -rf unfinished/root/var/cache/apt unfinished/root/var/lib/apt/lists
         printf %s {PACKAGES} >unfinished/packages; sync; rm log
         mv unfinished {suite}",
        cache = cache.display()
    );
    let output = Command::new("sh").args(["-ec", &script]).output().unwrap();
    assert!(output.status.success(), "no {suite}: {}", String::from_utf8_lossy(&output.stdout));
    made.join("root")
}

pub(crate) fn shell_word(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// What the machine has, beside the smallest Debian.
const PACKAGES: &str =
    "systemd,systemd-sysv,dbus,ufw,iptables,nftables,conntrack,iproute2,procps,openssh-server";

pub(crate) const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The disk, and what else systemd-nspawn needs: the one hierarchy of control groups as on today's
/// hosts, whatever this one has, and a /run to write to.
const DISK: &str = "
    ip link set lo up
    umount --recursive /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup
    mount -t tmpfs -o mode=755 tmpfs /run
    mkdir disk root; mount -t tmpfs tmpfs disk; mkdir disk/changes disk/work
    mount -t overlay -o lowerdir=$base,upperdir=disk/changes,workdir=disk/work overlay root
";

/// SSH is served by the tests that need it.
const FIREWALL: &str = "
    systemctl --quiet disable ssh
    ufw allow 22/tcp; ufw allow proto tcp from 10.9.0.2 to any port 5001
    sed -i s/^ENABLED=.*/ENABLED=yes/ /etc/ufw/ufw.conf
";

/// The machine has no network yet, so the addresses it will have are none that init could find.
const INSTALL: &str = "
    dpkg --install /root/webhookd.deb
    webhookctl init --renew --san 10.9.0.1
";
