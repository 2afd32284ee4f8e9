//! Debian's fail2ban, with a jail that finds nothing by itself.

use std::fs;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use tests::{World, until};

use crate::peers::dropped_all;
use crate::places;

/// Which of its actions bans.
#[derive(Clone, Copy)]
pub enum Action {
    /// A set of nftables.
    Nftables,
    /// A rule of ufw's.
    Ufw,
}

/// A server that runs it.
pub struct Fail2ban {
    world: World,
    server: Child,
    action: Action,
    client: String,
}

impl Fail2ban {
    /// Starts what is unpacked in a folder, with everything it writes in the world's own.
    pub fn start(folder: &Path, action: Action) -> Self {
        let world = places::bare(0);
        let (from, at) = (folder.display(), world.path("fail2ban"));
        world.server.sh(&format!(
            "cp -r {from}/etc/fail2ban {at}; rm -f {at}/jail.d/*; : > {at}/empty.log
             echo '[Definition]' > {at}/filter.d/nothing.conf
             echo 'failregex = ^<HOST> never$' >> {at}/filter.d/nothing.conf"
        ));
        let ban = match action {
            Action::Nftables => "nftables-allports[name=bench, blocktype=drop]",
            Action::Ufw => "ufw[blocktype=deny]",
        };
        fs::write(
            format!("{at}/fail2ban.local"),
            format!("[Definition]\nlogtarget = {at}/log\ndbfile = {at}/db.sqlite3\n"),
        )
        .unwrap();
        fs::write(
            format!("{at}/jail.local"),
            format!(
                "[bench]\nenabled = true\nfilter = nothing\nbackend = polling\n\
                 logpath = {at}/empty.log\nbantime = 1d\naction = {ban}\n"
            ),
        )
        .unwrap();
        let python =
            format!("env PYTHONPATH={from}/usr/lib/python3/dist-packages /usr/bin/python3");
        let options = format!("-c {at} -s {at}/socket -p {at}/pid");
        let server = format!("{python} {from}/usr/bin/fail2ban-server {options} -f start");
        let words: Vec<&str> = server.split(' ').collect();
        let output = fs::File::create(world.path("fail2ban.out")).unwrap();
        let mut command = world.server.command(&words);
        let server = command.stdout(output.try_clone().unwrap()).stderr(output).spawn().unwrap();
        let client = format!("{python} {from}/usr/bin/fail2ban-client {options}");
        let started = Self { world, server, action, client };
        until("fail2ban answers", 30, || {
            let ping = format!("{} ping", started.client);
            started.world.server.run(&["sh", "-c", &ping]).status.success()
        });
        started
    }

    /// Bans all by one call of its client: how long until the kernel drops them.
    pub fn block(&self, addresses: &[String]) -> Duration {
        let before = self.dropped();
        let began = Instant::now();
        let ban = format!("{} set bench banip {}", self.client, addresses.join(" "));
        self.world.server.sh(&ban);
        let dropped = dropped_all(began, before + addresses.len(), || self.dropped());
        dropped.expect("fail2ban bans what its client accepts")
    }

    fn dropped(&self) -> usize {
        match self.action {
            Action::Nftables => places::elements(&self.world, "inet f2b-table addr-set-bench"),
            Action::Ufw => places::counted(&self.world, "iptables -S ufw-user-input | grep DROP"),
        }
    }
}

impl Drop for Fail2ban {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
