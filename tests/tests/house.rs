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

#[test]
fn privd_stays_small() {
    let lines: usize = sources("privd/src").iter().map(|source| source.code.len()).sum();
    assert!(lines <= 2_500, "privd has {lines} lines of code: then it is two jobs");
}

#[test]
fn no_file_is_two_jobs() {
    for folder in ["privd/src", "protocol/src", "frontend/src"] {
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
fn one_file_of_privd_starts_programs() {
    let starting: Vec<PathBuf> = sources("privd/src")
        .into_iter()
        .filter(|source| source.code.iter().any(|line| line.contains("Command::new")))
        .map(|source| source.path)
        .collect();
    assert_eq!(starting.len(), 1, "{starting:?}");
    assert!(starting[0].ends_with("program.rs"));
}

#[test]
fn one_file_calls_the_codec() {
    for folder in ["privd/src", "protocol/src", "frontend/src"] {
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
    assert!(!manifest("protocol").contains("workspace.dependencies.privd"));
}
