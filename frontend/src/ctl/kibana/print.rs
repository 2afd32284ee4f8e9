//! `webhookctl kibana print`: for who does it by hand, or by other tools.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::Value;

use crate::ctl::Done;
use crate::ctl::kibana::KibanaError;
use crate::ctl::kibana::definitions::{self, Auth, Secret, Which};
use crate::ctl::kibana::guide::Guide;
use crate::ctl::kibana::here::{Here, HostArguments};
use crate::ctl::kibana::version::Version;
use crate::ctl::output::{Line, Output};
use crate::ctl::simulate::Mode;
use crate::ctl::token;

/// What is to be printed.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Print this alone, as it goes to Kibana
    #[arg(long = "for", value_name = "WHAT")]
    what: Option<What>,
    /// The Kibana that it is for, for example 8.17; without this any, and what differs is told
    #[arg(long, value_name = "VERSION")]
    kibana: Option<Version>,
    /// How Kibana proves who it is; without this, the best that its version keeps encrypted
    #[arg(long, value_name = "HOW")]
    auth: Option<Auth>,
    /// Which failed logins the rule counts
    #[arg(long, value_enum, value_name = "RULE", default_value = "wide")]
    rule: Which,
    /// Whether the action is for each alert or once for all of a run
    #[arg(long, value_enum, default_value = "each")]
    mode: Mode,
    /// Print the token itself, which webhookd's file holds first, instead of where it stands
    #[arg(long)]
    show_token: bool,
    #[command(flatten)]
    host: HostArguments,
}

/// A part of what Kibana needs.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum What {
    /// The body of POST api/actions/connector/ID
    Connector,
    /// The body of POST api/detection_engine/rules, this host's action and exclusions in it
    Rule,
    /// An entry of a rule's actions
    Action,
    /// For a Kibana before 8.10: what makes it trust this host
    KibanaYml,
}

const EXAMPLES: &str = "\
Examples:
  webhookctl kibana print
  webhookctl kibana print --kibana 8.17
  webhookctl kibana print --kibana 9.2 --for connector
  webhookctl kibana print --for rule --rule guide --mode summary
  webhookctl kibana print --for kibana-yml

In what is printed for Kibana's API, TOKEN stands where the token goes, unless
--show-token asks for it, which takes root. A connector of its own id is made by
POST api/actions/connector/webhookd-HOST, any other by POST
api/actions/connector; that id then stands in the rule's action.";

pub(super) fn print(arguments: &Arguments, output: &Output) -> Result<Done, KibanaError> {
    let here = Here::read(&arguments.host)?;
    let token = arguments.show_token.then(|| shown_token(&here)).transpose()?;
    let document = arguments.what.map(|what| part(what, arguments, &here, token.as_ref()));
    match document.transpose()? {
        Some(Part::Json(document)) => {
            let text = serde_json::to_string_pretty(&document).map_err(std::io::Error::from)?;
            output.print(&document, &[Line::Whole(text)])?;
        }
        Some(Part::Text(text)) => {
            let lines: Vec<Line> = text.lines().map(|line| Line::Whole(line.to_owned())).collect();
            output.print(&text, &lines)?;
        }
        None => {
            let all = All::of(arguments, &here, token)?;
            let mut lines = all.guide.lines();
            lines.extend(NEXT.map(|line| Line::Whole(line.to_owned())));
            output.print(&all, &lines)?;
        }
    }
    Ok(Done::Well)
}

/// Everything, as JSON.
#[derive(Serialize)]
struct All {
    #[serde(flatten)]
    guide: Guide,
    connector: Value,
    rule: Value,
    action: Value,
    kibana_yml: Option<String>,
}

impl All {
    fn of(arguments: &Arguments, here: &Here, token: Option<String>) -> Result<Self, KibanaError> {
        Ok(Self {
            connector: connector(arguments, here, token.as_ref())?,
            rule: rule(arguments, here),
            action: definitions::action(arguments.mode, &here.connector),
            kibana_yml: definitions::kibana_yml(here).map_err(KibanaError::Read)?,
            guide: Guide::new(here, token, arguments.rule, arguments.kibana),
        })
    }
}

enum Part {
    Json(Value),
    Text(String),
}

fn part(
    what: What,
    arguments: &Arguments,
    here: &Here,
    token: Option<&String>,
) -> Result<Part, KibanaError> {
    Ok(match what {
        What::Connector => Part::Json(connector(arguments, here, token)?),
        What::Rule => Part::Json(rule(arguments, here)),
        What::Action => Part::Json(definitions::action(arguments.mode, &here.connector)),
        What::KibanaYml => {
            let text = definitions::kibana_yml(here).map_err(KibanaError::Read)?;
            Part::Text(text.ok_or(KibanaError::NoAuthority)?)
        }
    })
}

fn connector(
    arguments: &Arguments,
    here: &Here,
    token: Option<&String>,
) -> Result<Value, KibanaError> {
    let kibana = arguments.kibana.unwrap_or(Version::NEWEST);
    let auth = arguments.auth.unwrap_or_else(|| Auth::best_for(kibana));
    let secret = token.cloned().map(Secret::Token);
    definitions::connector(here, auth, secret.as_ref(), kibana).map_err(KibanaError::Read)
}

fn rule(arguments: &Arguments, here: &Here) -> Value {
    let action = definitions::action(arguments.mode, &here.connector);
    definitions::rule_with(arguments.rule, action, definitions::exclusion(here))
}

fn shown_token(here: &Here) -> Result<String, KibanaError> {
    let file: &PathBuf = &here.token_file;
    let plain = token::first_plain(file)?.map(|(_, secret)| secret);
    plain.ok_or_else(|| KibanaError::NoToken(file.clone()))
}

const NEXT: [&str; 2] = [
    "All of it at once, and again after a change:",
    "  sudo webhookctl kibana apply --url https://KIBANA:5601 --api-key-file FILE",
];
