//! The rules of the house that a compiler does not know.

use std::fs;
use std::path::{Path, PathBuf};

/// A Rust file and its text without unit tests and comments.
struct Source {
    path: PathBuf,
    code: Vec<String>,
}

fn sources(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(folder);
    let mut folders = vec![root];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && path.file_name().is_some_and(|name| name != "tests.rs")
            {
                let text = fs::read_to_string(&path).unwrap();
                let code = text.lines().take_while(|line| *line != "#[cfg(test)]");
                let code = code.filter(|line| {
                    let line = line.trim_start();
                    !line.is_empty() && !line.starts_with("//")
                });
                sources.push(Source { code: code.map(str::to_owned).collect(), path });
            }
        }
    }
    assert!(!sources.is_empty());
    sources
}

/// Everything but tests; what runs as root comes first.
const FOLDERS: [&str; 10] = [
    "privd/src",
    "privd/firewall/src",
    "privd/hosttext/src",
    "privd/ledger/src",
    "privd/nftables/src",
    "privd/policy/src",
    "privd/privilege/src",
    "protocol/src",
    "protocol/logging/src",
    "frontend/src",
];

#[test]
fn each_part_that_runs_as_root_stays_small() {
    for (folder, most) in FOLDERS.into_iter().zip([2_250, 1_700, 1_000, 500, 1_000, 750, 250]) {
        let lines: usize = sources(folder).iter().map(|source| source.code.len()).sum();
        assert!(lines <= most, "{folder} has {lines} lines of code: then it is two jobs");
    }
}

#[test]
fn no_file_is_two_jobs() {
    for folder in FOLDERS {
        for source in sources(folder) {
            assert!(
                source.code.len() <= 350,
                "{} lines in {}",
                source.code.len(),
                source.path.display()
            );
        }
    }
}

#[test]
fn one_file_of_the_root_side_starts_programs() {
    let root_side = FOLDERS.into_iter().filter(|folder| folder.starts_with("privd"));
    let starting: Vec<PathBuf> = root_side
        .flat_map(sources)
        .filter(|source| source.code.iter().any(|line| line.contains("Command::new")))
        .map(|source| source.path)
        .collect();
    assert_eq!(starting.len(), 1, "{starting:?}");
    assert!(starting[0].ends_with("program.rs"));
}

#[test]
fn one_file_calls_the_codec() {
    for folder in FOLDERS {
        for source in sources(folder) {
            let calls = source
                .code
                .iter()
                .any(|line| line.contains("bincode::") && !line.contains("bincode::error"));
            assert!(
                !calls || source.path.ends_with("protocol/src/frame.rs"),
                "{}",
                source.path.display()
            );
        }
    }
}

#[test]
fn neither_side_knows_the_other() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let manifest =
        |package: &str| fs::read_to_string(root.join(package).join("Cargo.toml")).unwrap();
    assert!(!manifest("frontend").contains("\nprivd"));
    assert!(!manifest("privd").contains("\nfrontend"));
    for package in ["firewall", "hosttext", "ledger", "nftables", "policy", "privilege"] {
        let manifest = manifest(&format!("privd/{package}"));
        // A part knows nothing of what it is a part of.
        assert!(!manifest.contains("\nfrontend") && !manifest.contains("\nprivd"), "{package}");
    }
    assert!(!manifest("protocol").contains("workspace.dependencies.privd"));
}
