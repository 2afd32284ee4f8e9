//! What a host can do to webhook-privd while it runs, each until it is mended.

use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::filler::Filler;
use crate::processes::{descendants, limit, memory, runs, signal};
use crate::standing::Lock;
use crate::{Engine, Random, World, until};

/// One thing that goes wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// No room beside the ledger.
    FullLedgerDisk,
    /// No room beside ufw's files.
    FullUfwDisk,
    /// No descriptor may be opened (EMFILE).
    NoDescriptors,
    /// Next to no memory may be taken (ENOMEM).
    NoMemory,
    /// ufw's files cannot be written.
    ReadOnlyUfw,
    /// Every program that it starts is gone.
    MissingPrograms,
    /// The time of day is another one.
    ClockStep,
    /// Somebody holds ufw's lock.
    StuckLock,
    /// Whatever it has started is killed, over and over.
    KilledPrograms,
    /// It is killed itself.
    KilledPrivd,
}

/// A fault that has begun. Who drops it leaves it there.
#[must_use]
#[derive(Debug)]
pub struct Begun {
    fault: Fault,
    held: Held,
    /// Of its programs, so many were killed.
    pub killed: usize,
}

#[derive(Debug)]
enum Held {
    Nothing,
    Room(Filler),
    Lock(#[expect(dead_code, reason = "it is held until it is dropped")] Lock),
}

impl Fault {
    /// Those that touch an engine.
    #[must_use]
    pub fn all(engine: Engine) -> Vec<Self> {
        let both = [
            Self::FullLedgerDisk,
            Self::NoDescriptors,
            Self::NoMemory,
            Self::MissingPrograms,
            Self::ClockStep,
            Self::KilledPrograms,
            Self::KilledPrivd,
        ];
        let ufw = [Self::FullUfwDisk, Self::ReadOnlyUfw, Self::StuckLock];
        both.into_iter().chain(ufw.into_iter().filter(|_| engine == Engine::Ufw)).collect()
    }

    /// Makes it so in a world that is [`breakable`].
    pub fn begin(self, world: &World, random: &mut Random) -> Begun {
        let privd = world.privd_pid();
        let (mut held, mut killed) = (Held::Nothing, 0);
        match self {
            Self::FullLedgerDisk | Self::FullUfwDisk => {
                let filler = if self == Self::FullUfwDisk {
                    Filler::in_ufw(world)
                } else {
                    Filler::beside_the_ledger(world)
                };
                filler.fill();
                held = Held::Room(filler);
            }
            Self::NoDescriptors => limit(privd, "nofile", 3),
            Self::NoMemory => {
                starve(world, random.from(0..8) << 20);
            }
            Self::ReadOnlyUfw => remount(world, "ro"),
            Self::MissingPrograms => {
                world.confined.sh("mount -t tmpfs tmpfs /usr/sbin");
            }
            Self::ClockStep => set_clock(
                world,
                random.from(0..2 * TEN_YEARS).cast_signed() - TEN_YEARS.cast_signed(),
            ),
            Self::StuckLock => held = Held::Lock(Lock::of_the_host(world)),
            Self::KilledPrograms => {
                for _ in 0..5 {
                    random.pause(60);
                    let found = descendants(privd);
                    killed += found.len();
                    found.into_iter().for_each(|pid| signal(pid, Signal::SIGKILL));
                }
            }
            Self::KilledPrivd => signal(privd, Signal::SIGKILL),
        }
        Begun { fault: self, held, killed }
    }
}

impl Begun {
    /// Ends it.
    pub fn mend(self, world: &World) {
        match self.held {
            Held::Room(filler) => filler.remove(),
            Held::Lock(_) | Held::Nothing => {}
        }
        let privd = || world.privd_pid();
        match self.fault {
            Fault::NoDescriptors => limit(privd(), "nofile", 1024),
            Fault::NoMemory => limit(privd(), "as", u64::MAX),
            Fault::ReadOnlyUfw => remount(world, "rw"),
            Fault::MissingPrograms => drop(world.confined.sh("umount /usr/sbin")),
            Fault::ClockStep => set_clock(world, 0),
            _ => {}
        }
    }
}

/// A world whose ledger and whose ufw have small disks of their own, and where webhook-privd reads its
/// time of day from a file (libfaketime): all of this host has one clock.
#[must_use]
pub fn breakable(privd_toml: &str) -> World {
    let disks = "cp -a ufw whole; mount -t tmpfs -o size=900k,mode=755 tmpfs ufw; cp -a whole/. ufw
         mount -t tmpfs -o size=12m,mode=700 tmpfs state";
    let mut world = World::prepared(disks, "ufw allow 22/tcp");
    // What libfaketime shares among processes stays here.
    world.confined.sh("mount -t tmpfs tmpfs /dev/shm");
    let machine = std::env::consts::ARCH;
    let library = format!("/usr/lib/{machine}-linux-gnu/faketime/libfaketimeMT.so.1");
    assert!(Path::new(&library).exists(), "install libfaketime: there is no {library}");
    world.privd_through = vec![
        "env".to_owned(),
        format!("LD_PRELOAD={library}"),
        format!("FAKETIME_TIMESTAMP_FILE={}", world.path("clock")),
        "FAKETIME_NO_CACHE=1".to_owned(),
        "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
    ];
    set_clock(&world, 0);
    world.configure(privd_toml, "");
    world.start();
    world
}

/// Sets webhook-privd's clock, in seconds from the right time.
pub fn set_clock(world: &World, seconds: i64) {
    world.write("clock", &format!("{seconds:+}s\n"));
}

impl World {
    /// Starts webhook-privd as a service manager does: until it stays. How often it had to be started
    /// again.
    ///
    /// # Panics
    /// When it does not stay.
    pub fn start_privd_again(&mut self) -> usize {
        let mut crashes = 0;
        while let Some(status) = self.try_start_privd() {
            crashes += 1;
            eprintln!("{status}: {}{}", self.read("privd.log"), self.server.sh("ss -xlp"));
            assert!(crashes < 5, "{}", self.logs());
        }
        until("webhook-privd looks at its blocks", 20, || {
            self.ctl_json("status")["verified_at"].is_string()
        });
        crashes
    }

    /// Until all is well, starts it again where it has ended: it may be about to. Whether it had.
    ///
    /// # Panics
    /// When it does not become so.
    pub fn revive_privd(&mut self) -> bool {
        let mut ended = false;
        until("webhook-privd is ready", 20, || {
            if !runs(self.privd_pid()) {
                ended = true;
                self.stop_privd(Signal::SIGKILL);
                self.start_privd_again();
            }
            self.ctl_json("status")["ready"] == true
        });
        ended
    }
}

/// Lets webhook-privd take so many bytes more.
pub fn starve(world: &World, more: u64) {
    let privd = world.privd_pid();
    let taken = memory(privd, "VmSize").unwrap_or(0) << 10;
    limit(privd, "as", taken + more);
}

fn remount(world: &World, how: &str) {
    for name in ["user.rules", "user6.rules"] {
        world.confined.sh(&format!("mount -o remount,bind,{how} /etc/ufw/{name}"));
    }
}

/// Seconds.
const TEN_YEARS: u64 = 10 * 365 * 86_400;

/// How long a fault lasts at most.
pub const LASTS: Duration = Duration::from_millis(800);
