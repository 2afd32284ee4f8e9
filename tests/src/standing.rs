//! What stands in ufw's rules files and in the kernel at one moment, read without any of the
//! project's own code.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::net::IpAddr;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use crate::World;

/// A lock as ufw takes it; held until dropped.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "the lock belongs to the open file")] File);

impl Lock {
    /// Waits for the host's lock.
    #[must_use]
    pub fn of_the_host(world: &World) -> Self {
        Self::take(&world.path("ufw.lock"))
    }

    /// Waits for the lock that privd's own ufw takes.
    #[must_use]
    pub fn of_privds_ufw(world: &World) -> Self {
        Self::take(&world.path("own.lock"))
    }

    fn take(path: &str) -> Self {
        let file = File::options().write(true).open(path).unwrap();
        let whole = libc::flock {
            l_type: libc::F_WRLCK.try_into().unwrap(),
            l_whence: libc::SEEK_SET.try_into().unwrap(),
            l_start: 0,
            l_len: 0,
            l_pid: 0,
        };
        fcntl(&file, FcntlArg::F_OFD_SETLKW(&whole)).unwrap();
        Self(file)
    }
}

/// Both families' rules files and chains.
#[derive(Clone, Debug)]
pub struct Standing {
    /// user.rules, user6.rules.
    pub files: [String; 2],
    /// `iptables -S`, `ip6tables -S`.
    pub kernel: [String; 2],
}

impl Standing {
    /// Reads all while no ufw can write.
    #[must_use]
    pub fn now(world: &World) -> Self {
        let _held = Lock::of_the_host(world);
        Self::unlocked(world)
    }

    /// Reads all, whoever writes.
    #[must_use]
    pub fn unlocked(world: &World) -> Self {
        let file = |name| {
            let bytes = fs::read(world.inside(&format!("/etc/ufw/{name}"))).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let kernel = |program| world.server.sh(&format!("{program} -S"));
        Self {
            files: ["user.rules", "user6.rules"].map(file),
            kernel: ["iptables", "ip6tables"].map(kernel),
        }
    }

    /// Checks that both files would load at a boot and let the administrator in, and that the kernel does.
    ///
    /// # Panics
    /// When not.
    pub fn assert_administrator_is_let_in(&self, when: &str) {
        for (file, kernel) in self.files.iter().zip(&self.kernel) {
            let whole = file.starts_with("*filter\n") && file.trim_end().ends_with("\nCOMMIT");
            assert!(whole && !file.contains('\0'), "{when}: not whole:\n{file}");
            let chains = file.matches("\n:ufw").count();
            assert!(chains >= 7, "{when}: only {chains} chains:\n{file}");
            assert!(file.contains("### tuple ### allow tcp 22 "), "{when}: no allow 22:\n{file}");
            let allow = kernel.lines().any(|line| {
                line.contains("-user-input ") && line.ends_with("--dport 22 -j ACCEPT")
            });
            assert!(allow, "{when}: no allow 22 in the kernel:\n{kernel}");
        }
    }

    /// What a block of this address lacks; None: it is in force.
    #[must_use]
    pub fn lacks(&self, address: IpAddr) -> Option<String> {
        let which = usize::from(address.is_ipv6());
        let (file, kernel) = (&self.files[which], &self.kernel[which]);
        let (any, prefix, chains) =
            if which == 0 { ("0.0.0.0/0", 32, "ufw") } else { ("::/0", 128, "ufw6") };
        let tuples = [
            (format!("### tuple ### deny any any {any} any {address} in "), " in"),
            (format!("### tuple ### deny any any {address} any {any} out "), " out"),
        ];
        for (tuple, direction) in tuples {
            let Some(at) = file.find(&tuple) else {
                return Some(format!("{address}{direction}: not in the file"));
            };
            let mut ahead =
                file[..at].lines().filter(|line| line.starts_with("### tuple ### allow"));
            if let Some(ahead) = ahead.find(|line| line.contains(direction)) {
                return Some(format!("{address}{direction}: behind `{ahead}`"));
            }
        }
        for rule in [
            format!("-A {chains}-user-input -s {address}/{prefix} -j DROP"),
            format!("-A {chains}-user-output -d {address}/{prefix} -j DROP"),
        ] {
            let chain = rule.split(' ').nth(1).unwrap();
            let rules = kernel.lines().filter(|line| line.starts_with(&format!("-A {chain} ")));
            let ahead: Vec<&str> = rules.take_while(|line| *line != rule).collect();
            if !kernel.lines().any(|line| line == rule) {
                return Some(format!("{address}: `{rule}` is not in the kernel"));
            }
            if let Some(accept) = ahead.iter().find(|line| line.ends_with("-j ACCEPT")) {
                return Some(format!("{address}: `{rule}` is behind `{accept}`"));
            }
        }
        None
    }

    /// Whether any rule names this address, in a file or in the kernel.
    #[must_use]
    pub fn names(&self, address: IpAddr) -> bool {
        let file = format!(" {address} ");
        let kernel = format!(" {address}/{} ", if address.is_ipv6() { 128 } else { 32 });
        self.files.iter().any(|text| text.contains(&file))
            || self.kernel.iter().any(|text| text.contains(&kernel))
    }

    /// The addresses in rules with our mark, and how many rules each has.
    #[must_use]
    pub fn ours(&self) -> BTreeMap<IpAddr, usize> {
        let mut found = BTreeMap::new();
        for line in self.files.iter().flat_map(|file| file.lines()) {
            // `webhookd:`, as ufw writes comments.
            if line.starts_with("### tuple ### ") && line.contains(" comment=776562686f6f6b643a") {
                let addresses = line.split(' ').filter_map(|word| word.parse().ok());
                addresses.for_each(|address| *found.entry(address).or_default() += 1);
            }
        }
        found
    }

    /// The addresses that the kernel drops, whoever ordered it.
    #[must_use]
    pub fn dropped(&self) -> BTreeSet<IpAddr> {
        let lines = self.kernel.iter().flat_map(|listing| listing.lines());
        let drops = lines.filter(|line| line.contains("-user-") && line.ends_with(" -j DROP"));
        let words = drops.flat_map(|line| line.split([' ', '/']));
        words.filter_map(|word| word.parse().ok()).collect()
    }

    /// Chains that killed ufw runs left behind.
    #[must_use]
    pub fn strays(&self) -> Vec<&str> {
        let lines = self.kernel.iter().flat_map(|listing| listing.lines());
        lines.filter(|line| line.starts_with("-N ") && line.contains("-caps-test")).collect()
    }
}
