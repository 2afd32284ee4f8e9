//! How much memory and how many descriptors a daemon of a machine has, again and again.

use std::fs;

use crate::Container;
use crate::processes::{descriptors, memory};

/// What one had at a moment.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// Which process it was.
    pub pid: u32,
    /// KiB in memory.
    pub resident: u64,
    /// The same at most so far.
    pub peak: u64,
    /// KiB that its unit is charged with, where the host of the test has machines count that.
    pub charged: Option<u64>,
    /// Open descriptors.
    pub descriptors: usize,
}

impl Reading {
    /// Reads it; None where the daemon does not run.
    #[must_use]
    pub fn now(machine: &Container, daemon: &str) -> Option<Self> {
        let group = |file: &str| {
            let path = format!("/sys/fs/cgroup/system.slice/{daemon}.service/{file}");
            fs::read_to_string(machine.path(&path)).ok()
        };
        let pids = group("cgroup.procs")?;
        // What it has started is there, too.
        let is = |pid: &&str| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm"));
            name.is_ok_and(|name| name.trim_end() == daemon)
        };
        let pid = pids.lines().find(is)?.parse().ok()?;
        Some(Self {
            pid,
            resident: memory(pid, "VmRSS")?,
            peak: memory(pid, "VmHWM")?,
            charged: group("memory.current")
                .and_then(|bytes| Some(bytes.trim().parse::<u64>().ok()? >> 10)),
            descriptors: descriptors(pid)?,
        })
    }
}

/// The least that a daemon had in each of so many parts of the time, but for a tenth of the readings.
/// What is leaked is never below.
#[must_use]
pub fn floors(readings: &[Reading], parts: usize, of: impl Fn(&Reading) -> u64) -> Vec<u64> {
    let floor = |part: &[Reading]| {
        let mut values: Vec<u64> = part.iter().map(&of).collect();
        values.sort_unstable();
        values[values.len() / 10]
    };
    readings.chunks(readings.len().div_ceil(parts)).map(floor).collect()
}
