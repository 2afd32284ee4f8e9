//! The manual pages say what the programs say: options, commands, configuration keys and their
//! defaults. Whether the pages are well formed is for mandoc, which tests/run calls.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use tests::world::binaries;

type Names = BTreeSet<String>;

#[test]
fn the_page_of_each_daemon_has_exactly_its_options() {
    for program in ["webhookd", "webhook-privd"] {
        let page = page(&format!("{program}.8"));
        assert_eq!(options_of_page(&page), options_of_help(&help(program, &[])), "{program}");
        check_mentions(program, &page);
    }
}

/// The page is made from the definitions that the help is made from, so nothing may be lost on the way.
#[test]
fn the_page_of_webhookctl_has_exactly_its_commands_and_their_options() {
    let page = page_of_webhookctl();
    let (before, commands) = page.split_once("\n.SH COMMANDS\n").unwrap();
    let commands = commands.split("\n.SH ").next().unwrap();
    let everywhere = options_of_help(&help("webhookctl", &[]));
    assert_eq!(options_of_tagged(before), everywhere, "options of every command");
    let described: BTreeMap<String, Names> = format!("\n{commands}")
        .split("\n.SS ")
        .skip(1)
        .map(|part| (part.lines().next().unwrap().replace('"', ""), options_of_tagged(part)))
        .collect();
    let mut existing = BTreeMap::new();
    commands_of_help(&[], &everywhere, &mut existing);
    assert!(existing.len() > 5, "{existing:?}");
    // What has commands of its own has a heading too.
    let described: BTreeMap<_, _> =
        described.into_iter().filter(|(name, _)| existing.contains_key(name)).collect();
    assert_eq!(described, existing);

    let options = existing.into_values().flatten().chain(everywhere).collect::<Names>();
    for word in page.split_whitespace().filter_map(|word| word.strip_prefix("--")) {
        let name: String =
            word.chars().take_while(|it| it.is_ascii_lowercase() || *it == '-').collect();
        assert!(options.contains(&name), "webhookctl.8 names --{name}, which does not exist");
    }
    for section in ["NAME", "SYNOPSIS", "ENVIRONMENT", "FILES", "EXIT STATUS", "SEE ALSO"] {
        assert!(page.contains(&format!("\n.SH {section}\n")), "{section}");
    }
}

#[test]
fn every_shell_completes_every_command_and_its_options() {
    let everywhere = options_of_help(&help("webhookctl", &[]));
    let mut existing = BTreeMap::new();
    commands_of_help(&[], &everywhere, &mut existing);
    for shell in ["bash", "zsh", "fish"] {
        let script = printed(&["completions", shell]);
        for (path, options) in &existing {
            let names = path.split(' ').map(str::to_owned);
            for word in names.chain(options.iter().cloned()) {
                assert!(script.contains(&word), "{shell} does not complete {word} of {path}");
            }
        }
    }
}

/// What is installed is what these programs say of themselves.
#[test]
fn the_package_ships_the_page_and_the_completions_that_its_program_prints() {
    let directory = tempfile::tempdir().unwrap();
    let unpacked = Command::new("dpkg-deb")
        .arg("--extract")
        .args([tests::package::path(), directory.path()])
        .status();
    assert!(unpacked.unwrap().success());
    let shipped = |path: &str| {
        let output = Command::new("zcat").arg("--force").arg(directory.path().join(path)).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    for (path, command) in [
        ("usr/share/man/man8/webhookctl.8.gz", &["manual"][..]),
        ("usr/share/bash-completion/completions/webhookctl", &["completions", "bash"]),
        ("usr/share/zsh/vendor-completions/_webhookctl", &["completions", "zsh"]),
        ("usr/share/fish/vendor_completions.d/webhookctl.fish", &["completions", "fish"]),
    ] {
        assert_eq!(shipped(path), printed(command), "{path}");
    }
}

/// Each command that does something or has options, and those that are its own.
fn commands_of_help(path: &[&str], everywhere: &Names, found: &mut BTreeMap<String, Names>) {
    let text = help("webhookctl", path);
    let listed = text.split("\nCommands:\n").nth(1).unwrap_or_default();
    let names: Vec<&str> = listed
        .lines()
        .take_while(|line| !line.is_empty())
        // Deeper lines go on with a description.
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    let own: Names = options_of_help(&text).difference(everywhere).cloned().collect();
    if names.is_empty() || !own.is_empty() {
        found.insert(path.join(" "), own);
    }
    for name in names {
        commands_of_help(&[path, &[name]].concat(), everywhere, found);
    }
}

/// What synopsis, text and examples of a page name exists.
fn check_mentions(program: &str, page: &str) {
    let existing = options_of_help(&help(program, &[]));
    let in_examples = page
        .lines()
        .filter(|line| line.starts_with(&format!("{program} ")))
        .flat_map(str::split_whitespace)
        .filter_map(|word| word.strip_prefix("--"));
    let in_text = page.lines().filter(|line| line.starts_with('.')).flat_map(long_flags);
    for name in in_examples.map(str::to_owned).chain(in_text) {
        assert!(existing.contains(&name), "{program}.8 names --{name}, which does not exist");
    }
}

#[test]
fn each_configuration_page_has_exactly_the_keys_that_its_program_takes() {
    for (program, file) in [("webhookd", "webhookd.toml"), ("webhook-privd", "privd.toml")] {
        let described: Names = keys_of_page(&page(&format!("{file}.5"))).into_keys().collect();
        assert_eq!(described, keys_of_program(program), "{file}");
    }
}

#[test]
fn each_shipped_file_has_every_key_and_shows_the_defaults_that_its_page_tells() {
    for file in ["webhookd.toml", "privd.toml"] {
        let described = keys_of_page(&page(&format!("{file}.5")));
        let shipped = fs::read_to_string(packaging().join("config").join(file)).unwrap();
        let (mut table, mut shown) = (String::new(), Names::new());
        for line in shipped.lines() {
            if let Some(name) = line.strip_prefix('[') {
                table = name.replace(']', ".");
            }
            let Some((key, value)) = line.split_once(" = ") else { continue };
            // What is not commented out is not the default.
            let default = key.strip_prefix('#');
            let key = format!("{table}{}", default.unwrap_or(key));
            let item = described.get(&key).unwrap_or_else(|| panic!("{file} ships {key}"));
            if default.is_some() && !WITHOUT_DEFAULT.contains(&&*key) {
                assert_eq!(item.split("Default: ").nth(1), Some(value), "{key} in {file}.5");
            }
            shown.insert(key);
        }
        assert_eq!(shown, described.into_keys().collect(), "left: {file}, right: its page");
    }
}

/// The shipped file shows these with a value that they may have.
const WITHOUT_DEFAULT: [&str; 1] = ["tls.client-ca"];

/// The keys of a page and what it says about each, on one line.
fn keys_of_page(page: &str) -> BTreeMap<String, String> {
    let keys = page.split("\nThe keys are:\n").nth(1).unwrap();
    let keys = keys.split("\n.El\n").next().unwrap();
    let items = keys.split("\n.It Cm ").skip(1);
    items
        .map(|item| {
            let (key, text) = item.split_once('\n').unwrap();
            (key.to_owned(), text.lines().collect::<Vec<_>>().join(" "))
        })
        .collect()
}

/// An unknown key is answered with those there are.
fn keys_of_program(program: &str) -> Names {
    let mut keys = Names::new();
    for key in expected_keys(program, "").expect("no key is called `unknown-key`") {
        match expected_keys(program, &format!("[{key}]")) {
            Some(inside) => keys.extend(inside.iter().map(|inside| format!("{key}.{inside}"))),
            None => drop(keys.insert(key)),
        }
    }
    keys
}

/// None where the table is none.
fn expected_keys(program: &str, table: &str) -> Option<Vec<String>> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), format!("{table}\nunknown-key = 1\n")).unwrap();
    let output = Command::new(binaries().join(program))
        .args(["--check", "--config"])
        .arg(file.path())
        .output()
        .unwrap();
    let words = String::from_utf8(output.stderr).unwrap();
    let (_, expected) = words.split_once("unknown field `unknown-key`, expected ")?;
    Some(expected.split('`').skip(1).step_by(2).map(str::to_owned).collect())
}

/// The long options that lists of a page explain.
fn options_of_page(page: &str) -> Names {
    page.lines().filter(|line| line.starts_with(".It Fl ")).flat_map(long_flags).collect()
}

/// The same for man(7), in which `.TP` goes before what is explained.
fn options_of_tagged(page: &str) -> Names {
    let lines = page.lines().zip(page.lines().skip(1));
    let tagged = lines.filter(|(before, _)| *before == ".TP").map(|(_, line)| line);
    let words = tagged.flat_map(str::split_whitespace).filter_map(|word| word.strip_prefix("--"));
    words.map(str::to_owned).collect()
}

/// `.Fl -name` is how mdoc writes `--name`.
fn long_flags(line: &str) -> impl Iterator<Item = String> {
    let after_flag = line.split("Fl -").skip(1);
    after_flag.filter_map(|text| text.split_whitespace().next()).map(str::to_owned)
}

/// The long options with which lines of a help begin.
fn options_of_help(help: &str) -> Names {
    let words = help.lines().flat_map(|line| {
        line.split_whitespace().take_while(|word| word.starts_with('-')).collect::<Vec<_>>()
    });
    words.filter_map(|word| word.strip_prefix("--")).map(str::to_owned).collect()
}

fn help(program: &str, command: &[&str]) -> String {
    let output =
        Command::new(binaries().join(program)).args(command).arg("--help").output().unwrap();
    assert!(output.status.success(), "{program} {command:?} --help");
    String::from_utf8(output.stdout).unwrap()
}

fn printed(command: &[&str]) -> String {
    let output = Command::new(binaries().join("webhookctl")).args(command).output().unwrap();
    assert!(output.status.success(), "webhookctl {command:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Without its fonts, and with its hyphens as they are shown.
fn page_of_webhookctl() -> String {
    let page = printed(&["manual"]);
    [r"\fB", r"\fI", r"\fR"]
        .iter()
        .fold(page, |page, font| page.replace(font, ""))
        .replace(r"\-", "-")
}

fn page(name: &str) -> String {
    fs::read_to_string(packaging().join("man").join(name)).unwrap()
}

fn packaging() -> &'static Path {
    concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging").as_ref()
}
