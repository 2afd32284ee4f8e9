//! A disk that is full.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use nix::sys::statvfs::statvfs;

use crate::World;

/// A file that takes the room away, as long as it is there.
#[derive(Debug)]
pub struct Filler(PathBuf);

impl Filler {
    /// Beside ufw's files.
    #[must_use]
    pub fn in_ufw(world: &World) -> Self {
        Self(world.inside("/etc/ufw/filler"))
    }

    /// Beside the ledger.
    #[must_use]
    pub fn beside_the_ledger(world: &World) -> Self {
        Self(world.inside(&world.path("state/filler")))
    }

    /// To the brim.
    pub fn fill(&self) {
        let mut filler = File::options().create(true).append(true).open(&self.0).unwrap();
        let error = loop {
            if let Err(error) = filler.write(&[b'x'; 4096]) {
                break error;
            }
        };
        assert_eq!(error.kind(), ErrorKind::StorageFull);
    }

    /// To the brim but for so many bytes.
    pub fn leave(&self, bytes: u64) {
        self.fill();
        let filler = File::options().write(true).open(&self.0).unwrap();
        let size = filler.metadata().unwrap().len();
        filler.set_len(size.checked_sub(bytes).expect("it holds as much")).unwrap();
        let disk = statvfs(&self.0).unwrap();
        assert_eq!(disk.blocks_available() * disk.fragment_size(), bytes);
    }

    /// There is room again.
    pub fn remove(self) {
        fs::remove_file(self.0).unwrap();
    }
}

/// Bytes, and what a tmpfs gives out.
pub const PAGE: u64 = 4096;
