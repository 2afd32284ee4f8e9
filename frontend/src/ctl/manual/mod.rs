//! `webhookctl manual` and `webhookctl completions`: what the package ships beside the program, made
//! from the definitions that the program itself goes by.

use std::io::{self, Write};

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use crate::ctl::output::{Line, Output};
use crate::ctl::{CtlError, Done};

/// For which shell.
#[derive(clap::Args)]
pub(super) struct Completions {
    /// The shell
    shell: Shell,
}

pub(super) fn completions(
    mut command: Command,
    which: &Completions,
    output: &Output,
) -> Result<Done, CtlError> {
    let mut script = Vec::new();
    clap_complete::generate(which.shell, &mut command, "webhookctl", &mut script);
    print(&script, output)
}

/// webhookctl(8), in the language of man(7).
pub(super) fn manual(command: Command, output: &Output) -> Result<Done, CtlError> {
    let mut page = Vec::new();
    write_page(command, &mut page)?;
    let page = String::from_utf8_lossy(&page);
    // Each part of the page begins with it; once is enough.
    let lines = page
        .lines()
        .enumerate()
        .filter(|(number, line)| *number < PREAMBLE.len() || !PREAMBLE.contains(line));
    let lines: Vec<&str> = lines.map(|(_, line)| line.trim_end()).collect();
    // Ahead of a list of values it breaks the line twice, of which mandoc warns.
    print(lines.join("\n").replace(".br\n\n.br", ".br").as_bytes(), output)
}

fn print(text: &[u8], output: &Output) -> Result<Done, CtlError> {
    let text = String::from_utf8_lossy(text).trim_end().to_owned();
    output.print(&text, &[Line::Whole(text.clone())])?;
    Ok(Done::Well)
}

fn write_page(command: Command, page: &mut Vec<u8>) -> io::Result<()> {
    let commands: Vec<Command> = command.get_subcommands().cloned().collect();
    let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let version = command.get_version().unwrap_or_default().to_owned();
    let man = Man::new(command.disable_help_subcommand(true).about(ABOUT))
        .title("WEBHOOKCTL")
        .section("8")
        .date(DATE)
        .source(format!("webhookd {version}"))
        .manual("System Manager's Manual");
    man.render_title(page)?;
    man.render_name_section(page)?;
    man.render_synopsis_section(page)?;
    page.write_all(DESCRIPTION.as_bytes())?;
    man.render_options_section(page)?;
    section("COMMANDS", page)?;
    for command in commands {
        write_command("webhookctl", command, page)?;
    }
    section("EXAMPLES", page)?;
    let commands = examples.lines().filter(|line| line.starts_with("  "));
    write_paragraphs(&commands.collect::<Vec<_>>().join("\n"), page)?;
    page.write_all(SECTIONS.as_bytes())
}

/// One command, and those that are its own.
fn write_command(path: &str, command: Command, page: &mut Vec<u8>) -> io::Result<()> {
    if command.is_hide_set() {
        return Ok(());
    }
    let path = format!("{path} {}", command.get_name());
    let commands: Vec<Command> = command.get_subcommands().cloned().collect();
    let notes = command.get_after_long_help().or_else(|| command.get_after_help());
    let notes = notes.map(ToString::to_string).unwrap_or_default();
    let mut roff = Roff::new();
    roff.control("SS", [path.trim_start_matches("webhookctl ")]);
    roff.to_writer(page)?;
    // Those of every command are told once.
    let own = command.bin_name(path.clone()).disable_help_flag(true).disable_help_subcommand(true);
    let man = Man::new(own);
    let mut parts = Vec::new();
    man.render_synopsis_section(&mut parts)?;
    man.render_description_section(&mut parts)?;
    man.render_options_section(&mut parts)?;
    for line in String::from_utf8_lossy(&parts).lines() {
        // Sections of their own would end this one.
        let line = if line.starts_with(".SH DESCRIPTION") { ".PP" } else { line };
        if !line.starts_with(".SH") {
            writeln!(page, "{line}")?;
        }
    }
    if !notes.is_empty() {
        page.write_all(b".PP\n")?;
        write_paragraphs(&notes, page)?;
    }
    for command in commands {
        write_command(&path, command, page)?;
    }
    Ok(())
}

fn section(name: &str, page: &mut Vec<u8>) -> io::Result<()> {
    Roff::new().control("SH", [name]).to_writer(page)
}

/// Sentences, and under two spaces commands, which stay as they are.
fn write_paragraphs(text: &str, page: &mut Vec<u8>) -> io::Result<()> {
    let mut roff = Roff::new();
    let mut literal = false;
    for line in text.lines() {
        let command = line.strip_prefix("  ");
        if command.is_some() != literal {
            let [first, second] = if literal { ["fi", "RE"] } else { ["RS", "nf"] };
            roff.control(first, []).control(second, []);
            literal = !literal;
        }
        match command {
            Some(command) => roff.text([bold(command)]),
            None if line.is_empty() => roff.control("PP", []),
            None => roff.text([roman(line)]),
        };
    }
    if literal {
        roff.control("fi", []).control("RE", []);
    }
    roff.to_writer(page)
}

/// How roff writes an apostrophe that can be copied.
const PREAMBLE: [&str; 2] = [r".ie \n(.g .ds Aq \(aq", ".el .ds Aq '"];
/// Of the page, for apropos(1).
const ABOUT: &str = "sets webhookd up, and shows and changes what it blocks";
/// When somebody last read the page as a whole.
const DATE: &str = "2026-11-23";
/// What no definition tells.
const DESCRIPTION: &str = include_str!("description.man");
const SECTIONS: &str = include_str!("sections.man");
