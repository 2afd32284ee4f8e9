//! The Debian package around the daemons that are tested.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::world::binaries;

/// The package, built by `packaging/install` where it is older than what goes into it.
pub fn path() -> &'static Path {
    static PACKAGE: OnceLock<PathBuf> = OnceLock::new();
    PACKAGE.get_or_init(|| {
        // Root's, unlike the folder of the package, which is the builder's.
        let folder = binaries().parent().unwrap().join("tested");
        fs::create_dir_all(&folder).unwrap();
        // Held until the end of this function, also against other test programs.
        let lock = File::create(folder.join("lock")).unwrap();
        lock.lock().unwrap();
        let made = folder.join("package");
        if let Ok(path) = fs::read_to_string(&made)
            && is_newer(&made)
        {
            return path.into();
        }
        let install = workspace().join("packaging/install");
        let output = Command::new(install)
            .arg("--package-only")
            .env("WEBHOOKD_BIN_DIR", binaries())
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "no package: {}", text(&output.stderr));
        let path = text(&output.stdout).trim_end().to_owned();
        fs::write(made, &path).unwrap();
        path.into()
    })
}

/// Whether it is younger than the binaries and everything in packaging/.
fn is_newer(made: &Path) -> bool {
    let newer = Command::new("find")
        .arg(workspace().join("packaging"))
        .arg(workspace().join("frontend/Cargo.toml"))
        .args(["webhookd", "webhook-privd", "webhookctl"].map(|name| binaries().join(name)))
        .arg("-newer")
        .arg(made)
        .output()
        .unwrap();
    newer.status.success() && newer.stdout.is_empty()
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}
