//! `webhookctl`: the operator's command, over the same socket as webhookd.

mod block;
mod certificate;
mod check;
mod edit;
mod engine;
mod guide;
mod hits;
mod https;
mod init;
mod kibana;
mod list;
pub mod log;
mod machine;
mod manual;
mod never_block;
mod nftables;
mod output;
mod outside;
mod program;
mod rules;
mod sessions;
mod show;
pub mod simulate;
mod status;
mod table;
mod test;
mod token;
mod trial;
mod ufw;
mod unblock;
mod usage;

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, Parser, Subcommand};
use protocol::{Target, Term, Text};

use crate::ctl::output::Output;
use crate::privd_client::{DEFAULT_SOCKET, PrivdClient, PrivdError};
use crate::term;

/// Runs one command.
///
/// Exit status, as the guide's script had it: 0 done, 1 bad input or usage, 2 failed.
pub fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => return ExitCode::from(usage::explain(&error)),
    };
    let output = Output::new(arguments.json);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(command(&arguments, &output)),
        Err(error) => Err(CtlError::Runtime(error)),
    };
    match outcome {
        Ok(Done::Well) => ExitCode::SUCCESS,
        Ok(Done::BadInput) => ExitCode::from(1),
        Ok(Done::Failed) => ExitCode::from(2),
        Err(error) => {
            output.complain(&error.to_string());
            ExitCode::from(error.exit_status())
        }
    }
}

async fn command(arguments: &Arguments, output: &Output) -> Result<Done, CtlError> {
    let privd = PrivdClient::new(&arguments.socket, PATIENCE);
    match &arguments.command {
        Command::Block(what) => block::block(&privd, output, what).await,
        Command::Unblock(what) => unblock::unblock(&privd, output, what).await,
        Command::List(which) => list::list(&privd, output, which).await,
        Command::Show(what) => show::show(&privd, output, what).await,
        Command::Status(_) => status::status(&privd, output).await,
        Command::Init(how) => Ok(init::init(how, &privd, output).await?),
        Command::Check(how) => check::check(&privd, output, how).await,
        Command::NeverBlock(arguments) => never_block::never_block(&privd, output, arguments).await,
        Command::Test(how) => test::test(&privd, output, how).await,
        Command::Token(arguments) => token::token(arguments, output),
        Command::Log(which) => log::log(output, which).await,
        Command::Kibana(what) => kibana::kibana(what, output),
        Command::Simulate(what) => simulate::simulate(&privd, output, what).await,
        Command::Manual => manual::manual(Arguments::command(), output),
        Command::Completions(which) => manual::completions(Arguments::command(), which, output),
    }
}

/// Sets webhookd up, and shows and changes what it blocks.
#[derive(Parser)]
#[command(name = "webhookctl", version, max_term_width = 80, after_help = EXAMPLES)]
struct Arguments {
    /// Print JSON
    #[arg(long, global = true, display_order = 900)]
    json: bool,
    /// webhook-privd's socket
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        default_value = DEFAULT_SOCKET,
        display_order = 901
    )]
    socket: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Block addresses or networks, and cut their connections
    Block(block::Arguments),
    /// Lift blocks
    Unblock(unblock::Arguments),
    /// List live blocks
    List(list::Arguments),
    /// Tell all that is known about one address: why can it not connect?
    Show(show::Arguments),
    /// Tell whether blocks can be put in force
    Status(status::Arguments),
    /// Make certificate, token and configuration, and tell what Kibana needs
    Init(init::Arguments),
    /// Look at everything that a set-up can get wrong, block and unblock an address that nobody
    /// has, and tell how to mend what is wrong
    Check(check::Arguments),
    /// List and change the networks that no alert may block, in force at once
    NeverBlock(never_block::Arguments),
    /// Post an alert to webhookd as Kibana does, follow it to the kernel, and lift its block again
    Test(test::Arguments),
    /// Say who may post: add, list and revoke tokens
    Token(token::Arguments),
    /// Show what was blocked, refused and lifted, and who asked
    Log(log::Arguments),
    /// Tell what a body or a template of Kibana's would block, and change nothing
    Simulate(simulate::Arguments),
    /// Print what Kibana needs to call this host, or put it there
    Kibana(kibana::Arguments),
    /// Print the manual page
    #[command(hide = true)]
    Manual,
    /// Print what a shell completes
    #[command(hide = true)]
    Completions(manual::Completions),
}

const EXAMPLES: &str = "\
Examples:
  webhookctl block 198.51.100.7 --for 7d --reason 'port scan'
  webhookctl block 198.51.100.0/24 --for permanent
  webhookctl unblock 198.51.100.7
  webhookctl unblock --all --immune-for 1h
  webhookctl list --json
  webhookctl show 198.51.100.7
  webhookctl status
  webhookctl init --help
  webhookctl check
  webhookctl never-block add 203.0.113.0/24
  webhookctl test
  webhookctl token add kibana-2
  webhookctl log 198.51.100.7
  webhookctl simulate body.json
  webhookctl kibana print

Exit status: 0 done, 1 bad input, 2 failed.";

/// How a command ended.
enum Done {
    Well,
    BadInput,
    Failed,
}

fn target(text: &str) -> Result<Target, String> {
    text.parse().map_err(|error: protocol::TargetError| match text.parse::<IpAddr>() {
        Ok(_) => error.to_string(),
        Err(_) => format!("{error}; write for example 198.51.100.7 or 2001:db8::/64"),
    })
}

/// privd keeps so much of a name, and an empty one is that of a block without a rule.
fn rule(text: &str) -> Result<String, String> {
    match text.len() {
        0 => Err("is empty; write the rule's name as `list` shows it".to_owned()),
        length if length > Text::MAX_BYTES => Err("is longer than any rule's name".to_owned()),
        _ => Ok(text.to_owned()),
    }
}

fn term(text: &str) -> Result<Term, String> {
    term::parse(text)
        .map_err(|error| format!("{error}; write for example 1h, 90m, 7d or permanent"))
}

fn seconds(text: &str) -> Result<u32, String> {
    term::seconds(text)
        .map_err(|error| format!("{error}; write for example 10m, or 0s for no time at all"))
}

/// Why a command could not be carried out.
#[derive(Debug, thiserror::Error)]
enum CtlError {
    #[error("{}", explained(.0))]
    Privd(#[from] PrivdError),
    #[error("looks at what root alone may see; run it as root: sudo webhookctl {0}")]
    NotRoot(&'static str),
    #[error("the system refuses a runtime: {0}")]
    Runtime(std::io::Error),
    #[error("the output cannot be written: {0}")]
    Output(#[from] std::io::Error),
    #[error(transparent)]
    Init(#[from] init::InitError),
    #[error(transparent)]
    Token(#[from] token::TokenFileError),
    #[error(transparent)]
    Log(#[from] log::LogError),
    #[error(transparent)]
    Simulate(#[from] simulate::SimulateError),
    #[error(transparent)]
    Kibana(#[from] kibana::KibanaError),
    #[error("no live block is of the rule '{name}': {there_are}")]
    NoSuchRule { name: String, there_are: String },
    #[error(transparent)]
    NeverBlock(#[from] never_block::NeverBlockError),
    #[error(transparent)]
    Targets(#[from] protocol::TargetCount),
}

impl CtlError {
    const fn exit_status(&self) -> u8 {
        match self {
            Self::Init(error) if error.is_bad_input() => 1,
            Self::NeverBlock(error) if error.is_bad_input() => 1,
            Self::Token(error) if error.is_bad_input() => 1,
            Self::Simulate(error) if error.is_bad_input() => 1,
            Self::Kibana(error) if error.is_bad_input() => 1,
            Self::NoSuchRule { .. } | Self::Targets(_) => 1,
            _ => 2,
        }
    }
}

fn explained(error: &PrivdError) -> String {
    let advice = match error {
        PrivdError::Connect { source, .. }
            if source.kind() == std::io::ErrorKind::PermissionDenied =>
        {
            "; run webhookctl as root: sudo webhookctl ..."
        }
        PrivdError::Connect { .. } | PrivdError::Lost => {
            "; is it running? See `systemctl status webhook-privd`"
        }
        PrivdError::Forbidden => "; run webhookctl as root: sudo webhookctl ...",
        _ => "",
    };
    format!("{error}{advice}")
}

/// Where both daemons' configuration is.
const DIRECTORY: &str = "/etc/webhookd";
/// Where webhookd looks.
const WEBHOOKD_TOML: &str = crate::server::config::FILE;
/// Where webhook-privd looks.
const PRIVD_TOML: &str = "/etc/webhookd/privd.toml";
/// How long a command waits for privd to come back.
const PATIENCE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use protocol::{Block, Reply, Request, Unblock, Which};

    use super::*;
    use crate::fake_privd::FakePrivd;

    /// What privd is asked by a command line. It refuses, so nothing is printed.
    async fn asked(line: &str) -> Request {
        let fake = FakePrivd::answering(Reply::Forbidden);
        let line = line.split(' ').map(OsString::from);
        let socket = ["--socket".into(), fake.socket().into_os_string()];
        let arguments = Arguments::try_parse_from(line.chain(socket)).unwrap();
        let error = command(&arguments, &Output::new(false)).await.err().unwrap();
        assert!(error.to_string().contains("run webhookctl as root"), "{error}");
        fake.asked()
    }

    async fn block(line: &str) -> Block {
        match asked(line).await {
            Request::Block(block) => block,
            other => panic!("{other:?}"),
        }
    }

    async fn unblock(line: &str) -> Unblock {
        match asked(line).await {
            Request::Unblock(unblock) => unblock,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_command_shows_examples_in_its_help() {
        let commands = Arguments::command();
        for command in commands.get_subcommands().filter(|command| !command.is_hide_set()) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let name = command.get_name();
            let shown = help.contains(&format!("  webhookctl {name}"))
                || help.contains(&format!("sudo webhookctl {name}"));
            assert!(shown, "{name}: {help}");
        }
    }

    /// clap would break them anywhere.
    #[test]
    fn what_is_said_below_the_options_is_folded_at_80_columns() {
        let mut commands = vec![Arguments::command()];
        while let Some(command) = commands.pop() {
            let below = [command.get_after_help(), command.get_after_long_help()];
            for text in below.into_iter().flatten().map(ToString::to_string) {
                let long = text.lines().find(|line| line.chars().count() > 80);
                assert_eq!(long, None, "{}", command.get_name());
            }
            commands.extend(command.get_subcommands().cloned());
        }
    }

    #[tokio::test]
    async fn a_block_carries_the_operators_term_or_leaves_it_to_policy() {
        let line = "webhookctl block 198.51.100.7 2001:db8::/64";
        assert_eq!(block(line).await.term, None);
        assert_eq!(block(&format!("{line} --for 90m")).await.term, Term::seconds(5_400));
        let asked = block(&format!("{line} --for permanent --reason scan")).await;
        assert_eq!((asked.term, &*asked.reason), (Some(Term::Permanent), "scan"));
        assert_eq!((asked.targets.as_slice().len(), asked.requester), (2, None));
    }

    #[tokio::test]
    async fn an_unblock_keeps_alerts_off_for_ten_minutes_unless_told_otherwise() {
        let line = "webhookctl unblock 198.51.100.7";
        assert_eq!(unblock(line).await.immune_for, 600);
        assert_eq!(unblock(&format!("{line} --immune-for 1h")).await.immune_for, 3_600);
        assert_eq!(unblock(&format!("{line} --immune-for 0s")).await.immune_for, 0);
        let all = unblock("webhookctl unblock --all --immune-for 1s").await;
        assert_eq!((all.which, all.immune_for), (Which::All, 1));
        let ruled = unblock("webhookctl unblock --rule scan").await;
        assert_eq!(ruled.which, Which::Rule(Text::truncated("scan")));
    }

    #[test]
    fn a_time_that_is_none_is_refused_with_an_example() {
        for (line, words) in [
            ("block 198.51.100.7 --for soon", "not a duration; write for example 1h"),
            ("block 198.51.100.7 --for 0s", "no time; write for example 1h"),
            ("block 198.51.100.7 --for 137y", "136 years; write for example 1h"),
            ("unblock 198.51.100.7 --immune-for permanent", "write for example 10m"),
            ("unblock 198.51.100.7 --immune-for 600", "write for example 10m"),
            ("unblock --rule ", "is empty; write the rule's name"),
            ("unblock --rule scan 198.51.100.7", "cannot be used with"),
        ] {
            let line = ["webhookctl"].into_iter().chain(line.split(' '));
            let error = Arguments::try_parse_from(line).err().unwrap().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
