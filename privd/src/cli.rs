//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::ValueExt;

use crate::StartError;

/// What the command line asks for.
#[derive(Debug)]
pub enum Invocation {
    /// Start the daemon, or check its configuration.
    Run(Options),
    /// Print this text and exit.
    Print(String),
}

/// How to start.
#[derive(Debug)]
pub struct Options {
    /// The configuration file.
    pub config: PathBuf,
    /// Validate the configuration and exit.
    pub check: bool,
    /// Restore damaged rules files, put the blocks into nftables, and exit.
    pub recover: bool,
    /// Start although the mount view leaves ways out of the confinement. For tests only.
    pub unconfined: bool,
}

impl Invocation {
    /// Parses the arguments behind the program's name.
    ///
    /// # Errors
    /// An unknown option or a missing value, with a pointer to `--help`.
    pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, StartError> {
        let mut options = Options {
            config: DEFAULT_CONFIG.into(),
            check: false,
            recover: false,
            unconfined: false,
        };
        let mut parser = lexopt::Parser::from_args(arguments);
        while let Some(argument) = parser.next()? {
            match argument {
                lexopt::Arg::Long("config") => options.config = parser.value()?.parse()?,
                lexopt::Arg::Long("check") => options.check = true,
                lexopt::Arg::Long("recover") => options.recover = true,
                lexopt::Arg::Long("unconfined") => options.unconfined = true,
                lexopt::Arg::Short('h') | lexopt::Arg::Long("help") => {
                    return Ok(Self::Print(HELP.trim_end().to_owned()));
                }
                lexopt::Arg::Short('V') | lexopt::Arg::Long("version") => {
                    return Ok(Self::Print(
                        concat!("webhook-privd ", env!("CARGO_PKG_VERSION")).to_owned(),
                    ));
                }
                _ => return Err(argument.unexpected().into()),
            }
        }
        Ok(Self::Run(options))
    }
}

const DEFAULT_CONFIG: &str = "/etc/webhookd/privd.toml";

const HELP: &str = include_str!("help.txt");

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Invocation, StartError> {
        Invocation::parse(arguments.iter().map(OsString::from))
    }

    #[test]
    fn options_are_read_and_defaults_hold() {
        let Ok(Invocation::Run(options)) = parse(&["--check", "--config", "x.toml"]) else {
            panic!()
        };
        assert!(options.check && !options.unconfined);
        assert_eq!(options.config, PathBuf::from("x.toml"));
        let Ok(Invocation::Run(options)) = parse(&[]) else { panic!() };
        assert_eq!(options.config, PathBuf::from(DEFAULT_CONFIG));
    }

    #[test]
    fn an_unknown_option_is_named() {
        let error = parse(&["--foo"]).unwrap_err();
        assert!(error.to_string().contains("--foo"), "{error}");
        assert_eq!(error.exit_code(), 64);
    }
}
