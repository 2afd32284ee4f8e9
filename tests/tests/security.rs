//! What SECURITY.md and mutants.md say is tested, is.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn security() -> String {
    fs::read_to_string(root().join("SECURITY.md")).unwrap()
}

/// The names of all tests, and of the files that they stand in.
fn tests() -> (BTreeSet<String>, BTreeSet<String>) {
    let mut folders =
        ["frontend", "privd", "protocol", "tests"].map(|name| root().join(name)).to_vec();
    let (mut tests, mut files) = (BTreeSet::new(), BTreeSet::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                folders.push(path);
            } else if name.ends_with(".rs") {
                let found = tests_in(&fs::read_to_string(&path).unwrap());
                if !found.is_empty() {
                    files.insert(name);
                }
                tests.extend(found);
            }
        }
    }
    (tests, files)
}

fn tests_in(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut is_test = false;
    for line in text.lines().map(str::trim_start) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if let Some((_, rest)) = line.split_once("fn ").filter(|_| is_test) {
            found.extend(rest.split('(').next().map(str::to_owned));
            is_test = false;
        }
    }
    found
}

/// The texts in backticks, and whether each could only be meant as a test: a sentence in small letters.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn is_sentence(word: &str) -> bool {
    let small = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    word.chars().all(small) && word.matches('_').count() >= 3
}

#[test]
fn every_test_that_security_md_names_is_there() {
    let (tests, files) = tests();
    let text = security() + &fs::read_to_string(root().join("tests/mutants.md")).unwrap();
    let named: Vec<&str> = quoted(&text).filter(|word| is_sentence(word)).collect();
    assert!(named.len() > 40, "{} tests are named", named.len());
    for name in named {
        assert!(tests.contains(name), "the test {name} is named and not there");
    }
    for file in quoted(&text).filter(|word| word.ends_with(".rs") && !word.contains('/')) {
        assert!(files.contains(file), "SECURITY.md names {file}, which has no test");
    }
    for file in quoted(&text).filter(|word| word.ends_with(".rs") && word.contains('/')) {
        assert!(root().join(file).exists(), "SECURITY.md names {file}");
    }
}

/// What is claimed in a table is shown by a test in the same row.
#[test]
fn every_row_of_what_cannot_be_done_and_of_what_happened_elsewhere_names_its_test() {
    let text = security();
    for heading in ["## What each can do when it is taken", "## The predecessors' incidents"] {
        let section = text.split_once(heading).unwrap().1;
        let section = section.split_once("\n## ").map_or(section, |(section, _)| section);
        let rows: Vec<&str> =
            section.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
        assert!(rows.len() > 5, "{heading}");
        for row in rows {
            assert!(quoted(row).any(is_sentence), "{row}\nnames no test");
        }
    }
}
