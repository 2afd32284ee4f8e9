//! `webhookctl kibana apply`: connector, rule and action of this host, put into Kibana by its API.
//!
//! | file | what it is |
//! |---|---|
//! | `key` | the API key |
//! | `secret` | what the connector is to call this host with |
//! | `api` | what is asked, and what an answer means |
//! | `connector`, `rule` | what is there, what is to be, and what is sent for it |
//! | `remove` | all of it taken out again |
//! | `report` | what was done |

mod api;
mod connector;
mod error;
mod key;
mod remove;
mod report;
mod rule;
mod secret;

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

use crate::ctl::Done;
use crate::ctl::https::parse_url;
use crate::ctl::kibana::KibanaError;
use crate::ctl::kibana::apply::api::{Api, DEFAULT_SPACE};
use crate::ctl::kibana::apply::connector::Connector;
use crate::ctl::kibana::apply::key::ApiKey;
use crate::ctl::kibana::apply::report::{Connected, Outcome, Report, Ruled};
use crate::ctl::kibana::apply::rule::Part;
use crate::ctl::kibana::apply::secret::{Chosen, SecretArguments};
use crate::ctl::kibana::definitions::{self, Which};
use crate::ctl::kibana::here::{Here, HostArguments};
use crate::ctl::kibana::version::Version;
use crate::ctl::output::Output;
use crate::ctl::simulate::Mode;

pub(in crate::ctl) use crate::ctl::kibana::apply::error::ApplyError;

/// Which Kibana, and what is to be in it.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Where Kibana is: https, host and port, and its base path if it has one
    #[arg(long, value_name = "URL", value_parser = url)]
    url: String,
    /// The API key to ask with: Encoded as Kibana shows it, or ID:KEY; - for standard input. Nobody
    /// else may be able to read the file
    #[arg(long, value_name = "FILE")]
    api_key_file: PathBuf,
    /// The space's identifier
    #[arg(long, value_name = "SPACE", default_value = DEFAULT_SPACE, value_parser = space)]
    space: String,
    /// Trust this CA alone for Kibana, instead of those that the system trusts
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Kibana's version, for example 8.17; auto asks it
    #[arg(long, value_name = "VERSION", default_value = "auto")]
    kibana_version: Asked,
    /// Say what would be done, and ask Kibana nothing but questions
    #[arg(long)]
    dry_run: bool,
    /// Take this host's action, its networks and its connector out of Kibana again; the rule stays
    #[arg(long, conflicts_with_all = ["rule", "mode"])]
    remove: bool,
    /// Which failed logins the rule counts, where it is not there yet
    #[arg(long, value_enum, value_name = "RULE", default_value = "wide")]
    rule: Which,
    /// Whether this host is called for each alert or once for all of a run
    #[arg(long, value_enum, default_value = "each")]
    mode: Mode,
    /// Replace, or remove, a connector of this name that posts elsewhere
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    secret: SecretArguments,
    #[command(flatten)]
    host: HostArguments,
}

const EXAMPLES: &str = "\
Examples:
  sudo webhookctl kibana apply --url https://kibana:5601 --api-key-file api.key
  K='--url https://kibana.example.org:5601 --api-key-file api.key'
  sudo webhookctl kibana apply $K --dry-run
  sudo webhookctl kibana apply $K --ca elastic-ca.pem --space soc --rule guide
  sudo webhookctl kibana apply $K --remove

It makes or changes the connector webhookd-HOST, and the rule that all hosts
share: this host's action in it and the networks of its never-block, which
raise no alert any more, for any host. All else in the rule stays, whoever
changed it. Where nothing is to be changed nothing is sent, so that it can be
repeated at any time: after a change of never-block, of the certificate's name
or of the token, and by each further host. The connector's name tells by which
token it calls, with the first digits of its SHA-256.

The webhook connector takes a Gold licence or a trial. The API key's role needs
all of Actions and Connectors and of Security in the space, and to read
filebeat-* and logs-*. Kibana runs the rule with the key of who changed it last:
it must stay valid.

Exit status: 0 Kibana is as it is to be, or with --dry-run it was told what is
not; 1 bad input, 2 failed.";

pub(super) fn apply(arguments: &Arguments, output: &Output) -> Result<Done, KibanaError> {
    let key = ApiKey::read(&arguments.api_key_file)?;
    let here = Here::read(&arguments.host)?;
    let mut api = Api::new(&arguments.url, arguments.ca.as_ref(), &key)?;
    let version = match arguments.kibana_version {
        Asked::Auto => api.version()?,
        Asked::Given(version) => version,
    };
    if version < Version::OLDEST {
        return Err(ApplyError::TooOld(version).into());
    }
    api.enter(&arguments.space)?;
    if arguments.remove {
        let removal = remove::remove(arguments, &api, &here, version)?;
        output.print(&removal, &removal.lines())?;
        return Ok(Done::Well);
    }
    let chosen = arguments.secret.choose(&here, version)?;
    let (connected, rule) = put(arguments, &api, &here, version, &chosen)?;
    let report = report(arguments, &here, version, connected, rule);
    output.print(&report, &report.lines())?;
    Ok(Done::Well)
}

/// The connector first: the rule's action names it.
fn put(
    arguments: &Arguments,
    api: &Api,
    here: &Here,
    version: Version,
    chosen: &Chosen,
) -> Result<(Connected, Ruled), KibanaError> {
    let body = definitions::connector(here, chosen.auth, Some(&chosen.secret), version)
        .map_err(KibanaError::Read)?;
    let connector = Connector {
        name: here.connector.clone(),
        mark: chosen.mark.clone(),
        body,
        replace: arguments.replace,
    };
    let space = &arguments.space;
    let (id, outcome, differed) = match connector.find(api, space)? {
        Some(found) if found.differs.is_empty() => (Some(found.id), Outcome::Unchanged, Vec::new()),
        Some(found) => {
            if !arguments.dry_run {
                connector.update(api, &found.id)?;
            }
            (Some(found.id), Outcome::Changed, found.differs)
        }
        None if arguments.dry_run => (None, Outcome::Created, Vec::new()),
        None => (Some(connector.create(api, space)?), Outcome::Created, Vec::new()),
    };
    let called = id.clone().unwrap_or_else(|| here.connector.clone());
    let part = Part {
        which: arguments.rule,
        action: Some(definitions::action(arguments.mode, &called)),
        ids: vec![called],
        exclusion: definitions::exclusion(here),
        label: definitions::label(&here.connector),
    };
    let ruled = if arguments.dry_run { part.foretell(api)? } else { part.join(api)? };
    let name = here.connector.clone();
    Ok((Connected { name, id, outcome, differed }, ruled))
}

fn report(
    arguments: &Arguments,
    here: &Here,
    version: Version,
    connector: Connected,
    rule: Ruled,
) -> Report {
    let mut notes = Vec::new();
    let mut note = |applies: bool, text: &str| notes.extend(applies.then(|| text.to_owned()));
    note(!version.has_connector_tls() && here.authority.is_some(), IN_KIBANA_YML);
    note(!rule.enabled, "the rule is switched off in Kibana; switch it on there");
    note(rule.overtook, OVERTOOK);
    Report {
        url: arguments.url.clone(),
        version: version.to_string(),
        space: arguments.space.clone(),
        dry_run: arguments.dry_run,
        changed: connector.outcome.is_change() || rule.outcome.is_change(),
        connector,
        rule,
        notes,
    }
}

/// Where the version is from.
#[derive(Clone, Copy)]
enum Asked {
    Auto,
    Given(Version),
}

impl FromStr for Asked {
    type Err = <Version as FromStr>::Err;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "auto" { Ok(Self::Auto) } else { text.parse().map(Self::Given) }
    }
}

fn url(text: &str) -> Result<String, String> {
    let example = "https://kibana.example.org:5601";
    let url = parse_url(text, example)?;
    if url.contains(['?', '#', '@']) {
        return Err(format!("is more than where Kibana is; write for example {example}"));
    }
    Ok(url)
}

/// As Kibana makes them.
fn space(text: &str) -> Result<String, String> {
    let plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    if text.is_empty() || !text.bytes().all(plain) {
        return Err("no identifier of a space: a-z, 0-9, `_` and `-`, as in its URL".to_owned());
    }
    Ok(text.to_owned())
}

const IN_KIBANA_YML: &str = "this Kibana trusts the host by its kibana.yml alone: put there what \
    `webhookctl kibana print --for kibana-yml` prints, and restart it";
const OVERTOOK: &str = "somebody else changed the rule at the same moment, and that may be lost: \
    look at it in Kibana; another host says so itself, or apply there again";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_a_kibana_and_a_space_is_taken() {
        for text in ["https://kibana:5601", "https://[::1]:5601/base/", "https://k.example"] {
            assert_eq!(url(text).as_deref(), Ok(text));
        }
        for text in ["http://kibana:5601", "kibana:5601", "https://k/?x", "https://u:p@k"] {
            assert!(url(text).unwrap_err().contains("https://kibana.example.org"), "{text}");
        }
        assert_eq!(space("soc-1").as_deref(), Ok("soc-1"));
        for text in ["", "SOC", "a/b", "a b", "../x"] {
            assert!(space(text).is_err(), "{text}");
        }
    }
}
