//! What stands in the firewall at one moment, ufw's rules files and the kernel, read without any of
//! the project's own code.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use protocol::Target;

use crate::{Container, Engine, Place, Table, World};

/// Whether a rule that names these concerns the address: everybody is no target, and has all.
fn has(these: &str, address: IpAddr) -> bool {
    these.parse().map_or(true, |these: Target| these.net().contains(&address))
}

/// A lock as ufw takes it; held until dropped.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "the lock belongs to the open file")] File);

impl Lock {
    /// Waits for the host's lock.
    #[must_use]
    pub fn of_the_host(world: &World) -> Self {
        Self::take(world.path("ufw.lock").as_ref())
    }

    /// Waits for the lock that privd's own ufw takes.
    #[must_use]
    pub fn of_privds_ufw(world: &World) -> Self {
        Self::take(world.path("own.lock").as_ref())
    }

    fn take(path: &Path) -> Self {
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

/// Both families' rules files and chains, and the table where that has the blocks.
#[derive(Clone, Debug)]
pub struct Standing {
    /// user.rules, user6.rules.
    pub files: [String; 2],
    /// `iptables -S`, `ip6tables -S`.
    pub kernel: [String; 2],
    /// webhook-privd's own, if its engine is nftables.
    pub table: Option<Table>,
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
        Self::read(world.engine, &world.server, |path| world.inside(path))
    }

    /// Reads all of a machine while no ufw can write.
    #[must_use]
    pub fn of(machine: &Container, engine: Engine) -> Self {
        let _held = Lock::take(&machine.path("/run/ufw.lock"));
        Self::unlocked_of(machine, engine)
    }

    /// Reads all of a machine, whoever writes.
    #[must_use]
    pub fn unlocked_of(machine: &Container, engine: Engine) -> Self {
        Self::read(engine, machine.network(), |path| machine.path(path))
    }

    fn read(engine: Engine, network: &Place, open: impl Fn(&str) -> PathBuf) -> Self {
        let file = |name| {
            let bytes = fs::read(open(&format!("/etc/ufw/{name}"))).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let kernel = |program| network.sh(&format!("{program} -S"));
        Self {
            files: ["user.rules", "user6.rules"].map(file),
            kernel: ["iptables", "ip6tables"].map(kernel),
            table: (engine == Engine::Nftables).then(|| Table::now(network)),
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
        if let Some(table) = &self.table {
            return table.lacks(&address.to_string());
        }
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
            // A tuple's words: action, protocol, port and destination, port and source, direction.
            let at = if direction == " in" { 8 } else { 6 };
            let concerns = |line: &str| line.split(' ').nth(at).is_none_or(|net| has(net, address));
            if let Some(ahead) = ahead.find(|line| line.contains(direction) && concerns(line)) {
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
            let side = if rule.contains(" -s ") { " -s " } else { " -d " };
            let concerns = |line: &str| {
                let net = line.split(side).nth(1).and_then(|rest| rest.split(' ').next());
                net.is_none_or(|net| has(net, address))
            };
            let mut accepts = ahead.iter().filter(|line| line.ends_with("-j ACCEPT"));
            if let Some(accept) = accepts.find(|line| concerns(line)) {
                return Some(format!("{address}: `{rule}` is behind `{accept}`"));
            }
        }
        None
    }

    /// Whether any rule names this address, in a file or in the kernel, or the table has it.
    #[must_use]
    pub fn names(&self, address: IpAddr) -> bool {
        if self.table.as_ref().is_some_and(|table| table.blocks.contains_key(&address.to_string()))
        {
            return true;
        }
        let file = format!(" {address} ");
        let kernel = format!(" {address}/{} ", if address.is_ipv6() { 128 } else { 32 });
        self.files.iter().any(|text| text.contains(&file))
            || self.kernel.iter().any(|text| text.contains(&kernel))
    }

    /// The addresses in rules with our mark, and how many rules each has: what is in the table is
    /// dropped by two.
    #[must_use]
    pub fn ours(&self) -> BTreeMap<IpAddr, usize> {
        let mut found: BTreeMap<IpAddr, usize> = self.in_table().map(|one| (one, 2)).collect();
        for (line, _) in self.marked() {
            let addresses = line.split(' ').filter_map(|word| word.parse().ok());
            addresses.for_each(|address| *found.entry(address).or_default() += 1);
        }
        found
    }

    /// How many blocks have our mark or are in the table, networks too.
    #[must_use]
    pub fn blocks(&self) -> usize {
        self.marked().count() / 2 + self.table.as_ref().map_or(0, |table| table.blocks.len())
    }

    /// When the firewall has a block end, in seconds since the Unix epoch; None: never.
    ///
    /// # Panics
    /// When it is not there.
    #[must_use]
    pub fn end_of(&self, address: IpAddr) -> Option<i64> {
        if let Some(table) = &self.table {
            // The kernel keeps it for five seconds more.
            let left = table.blocks[&address.to_string()]?;
            return Some(jiff::Timestamp::now().as_second() + i64::try_from(left).unwrap() - 5);
        }
        let words = format!(" any {address} in ");
        let found = self.marked().find(|(line, _)| line.contains(&words));
        let (_, mark) = found.unwrap_or_else(|| panic!("no rule for {address}"));
        // `ID` or `ID:END`.
        mark.split_once(':').map(|(_, end)| end.parse().unwrap())
    }

    /// The tuples with our mark, and what it says after `webhookd:`.
    fn marked(&self) -> impl Iterator<Item = (&str, String)> {
        let lines = self.files.iter().flat_map(|file| file.lines());
        let tuples = lines.filter(|line| line.starts_with("### tuple ### "));
        tuples.filter_map(|line| {
            // `webhookd:`, as ufw writes comments.
            let (_, mark) = line.split_once(" comment=776562686f6f6b643a")?;
            let digits = mark.as_bytes().chunks(2);
            let byte = |two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap();
            let mark: String = digits.map(|two| char::from(byte(two))).collect();
            // An administrator may write so too.
            let is_id = |id: &str| id.len() == 12 && id.bytes().all(|b| b.is_ascii_hexdigit());
            mark.split(':').next().is_some_and(is_id).then_some((line, mark))
        })
    }

    fn in_table(&self) -> impl Iterator<Item = IpAddr> {
        let targets = self.table.iter().flat_map(|table| table.blocks.keys());
        targets.filter_map(|target| target.parse().ok())
    }

    /// The addresses that the kernel drops, whoever ordered it; no networks.
    #[must_use]
    pub fn dropped(&self) -> BTreeSet<IpAddr> {
        let lines = self.kernel.iter().flat_map(|listing| listing.lines());
        let drops = lines.filter(|line| line.contains("-user-") && line.ends_with(" -j DROP"));
        let targets = drops.flat_map(|line| line.split(' ')).filter_map(|word| word.parse().ok());
        let hosts = targets.filter(|target: &Target| target.is_host());
        hosts.map(|host| host.net().addr()).chain(self.in_table()).collect()
    }

    /// Chains that killed ufw runs left behind.
    #[must_use]
    pub fn strays(&self) -> Vec<&str> {
        let lines = self.kernel.iter().flat_map(|listing| listing.lines());
        lines.filter(|line| line.starts_with("-N ") && line.contains("-caps-test")).collect()
    }
}
