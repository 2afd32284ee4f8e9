//! `webhookctl simulate`: what a body of Kibana's would do, and nothing is done.
//!
//! | file | what it is |
//! |---|---|
//! | `mustache` | renders a template as Kibana does |
//! | `alert` | the variables that Kibana makes of alerts |
//! | `foretold` | the server's answer to a body, policy asked |

mod alert;
mod foretold;
mod mustache;

use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::ctl::output::Output;
use crate::ctl::simulate::foretold::{Foretold, Posted};
use crate::ctl::simulate::mustache::{Budget, NotRendered, TooMuch, Value};
use crate::ctl::{CtlError, Done, explained};
use crate::privd_client::PrivdClient;
use crate::server::body::BodyError;
use crate::server::config::Config;

pub(super) use crate::ctl::simulate::alert::Mode;

/// The bodies that Kibana makes of a template for alerts, given as JSON, as it posts them with
/// `Content-Type: application/json`; `summary`: one for all alerts.
///
/// # Errors
/// A sentence that says what cannot be understood, or takes too much.
pub fn posted(template: &str, alerts: &str, summary: bool) -> Result<Vec<String>, String> {
    let alerts: Value = serde_json::from_str(alerts).map_err(|error| error.to_string())?;
    let mode = summary.then_some(Mode::Summary);
    rendered(template, alerts, mode, true).map_err(|error| error.to_string())
}

/// What to simulate.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// A body as Kibana sends it, or with --alert the template of one; - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Render FILE as a template for this: an alert's document, a list of them, a search's answer,
    /// or all variables with context in them; - for standard input
    #[arg(long, value_name = "FILE")]
    alert: Option<PathBuf>,
    /// Whether the rule calls its action for each alert or once for all; each is the default
    #[arg(long, requires = "alert")]
    mode: Option<Mode>,
    /// The address that Kibana calls from, which no request of its own blocks
    #[arg(long, value_name = "ADDR")]
    requester: Option<IpAddr>,
    /// The connector's header Content-Type
    #[arg(long, value_name = "TYPE", default_value = "application/json")]
    content_type: String,
    /// webhookd's configuration: it says how large a body may be
    #[arg(long, value_name = "FILE", default_value = super::WEBHOOKD_TOML)]
    config: PathBuf,
}

const EXAMPLES: &str = "\
Examples:
  sudo webhookctl simulate body.json
  sudo webhookctl simulate template.txt --alert alert.json
  sudo webhookctl simulate template.txt --alert alerts.json --mode summary
  echo '{\"ip\":\"198.51.100.7\"}' | sudo webhookctl simulate - --requester 10.0.0.5

The body goes the way of one that Kibana posts, as far as webhook-privd, which
tells what it would say and changes nothing. How many blocks a minute are
allowed is not counted. A template is rendered as Kibana does it, with its
ParseHjson; its other functions (FormatDate, EvalMath and so on) cannot be
simulated. An alert's document is what Discover shows of
.alerts-security.alerts-* as JSON.

Exit status: 0 something would be blocked, or is, or there is nothing to block;
1 the body is unusable, or everything is refused; 2 failed.";

pub(super) async fn simulate(
    privd: &PrivdClient,
    output: &Output,
    arguments: &Arguments,
) -> Result<Done, CtlError> {
    let max_body =
        Config::load(&arguments.config).map_or(MAX_BODY, |config| config.limits.max_body);
    let posted = Posted {
        content_type: &arguments.content_type,
        requester: arguments.requester.map(protocol::canonical),
        max_body,
    };
    let bodies = bodies(arguments, max_body)?;
    let mut foretold = Vec::new();
    for body in bodies {
        foretold.push(foretold::foretell(body, &posted, privd).await);
    }
    output.print(&foretold, &lines(&foretold, arguments))?;
    // The same for all of them.
    if let Some(why) = foretold.iter().find_map(|one| one.unasked.as_ref()) {
        let why = explained(why);
        output.complain(&format!("what policy says of these could not be asked: {why}"));
        return Ok(Done::Failed);
    }
    let status =
        |wanted: fn(u16) -> bool| foretold.iter().any(|one| one.status.is_some_and(wanted));
    Ok(if foretold.iter().any(|one| one.in_force) {
        Done::Well
    } else if status(|status| status >= 500) {
        Done::Failed
    } else if status(|status| status >= 400) {
        Done::BadInput
    } else {
        Done::Well
    })
}

/// What arrives: the file itself, or what Kibana makes of a template.
fn bodies(arguments: &Arguments, max_body: usize) -> Result<Vec<String>, SimulateError> {
    let Some(alert) = &arguments.alert else { return Ok(vec![read(&arguments.file, max_body)?]) };
    if arguments.file == *alert && is_stdin(alert) {
        return Err(SimulateError::OneStdin);
    }
    let template = read(&arguments.file, max_body)?;
    let alerts: Value = serde_json::from_str(&read(alert, max_body)?)
        .map_err(|error| SimulateError::NotJson { path: alert.clone(), error })?;
    let is_json = arguments.content_type.contains("application/json");
    rendered(&template, alerts, arguments.mode, is_json)
}

fn rendered(
    template: &str,
    alerts: Value,
    mode: Option<Mode>,
    is_json: bool,
) -> Result<Vec<String>, SimulateError> {
    let mut bodies = Vec::new();
    let budget = Budget::new();
    for variables in alert::actions(alerts, mode, &budget)? {
        let body = mustache::render(template, variables, &budget)?;
        bodies.push(if is_json { mustache::wired(&body) } else { body });
    }
    Ok(bodies)
}

/// Reads a text, and of one that is too large so much that the server would see it, too.
fn read(path: &Path, max_body: usize) -> Result<String, SimulateError> {
    let failed = |source| SimulateError::Read { path: path.to_owned(), source };
    let from: Box<dyn Read> = if is_stdin(path) {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path).map_err(failed)?)
    };
    let most = u64::try_from(max_body).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    from.take(most).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > max_body {
        return Err(SimulateError::TooLarge { path: path.to_owned(), max_body });
    }
    String::from_utf8(bytes).map_err(|_| SimulateError::NotText(path.to_owned()))
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn lines(foretold: &[Foretold], arguments: &Arguments) -> Vec<String> {
    let mut lines = Vec::new();
    for (number, one) in (1_usize..).zip(foretold) {
        if arguments.alert.is_some() {
            lines.push(match foretold.len() {
                1 => "Kibana would send:".to_owned(),
                all => format!("Kibana would send, {number} of {all}:"),
            });
            lines.push(format!("  {}", visible(&one.body)));
        }
        match one.status {
            Some(status) => {
                lines.push(format!("Kibana would be answered {status}: {}", one.message()));
                lines.extend(one.lines.iter().map(|line| format!("  {line}")));
            }
            None => {
                lines.push("The body names:".to_owned());
                let names = one.names.iter().map(|name| protocol::Untrusted(name));
                lines.extend(names.map(|name| format!("  {name}")));
            }
        }
        if arguments.alert.is_none() && one.body.contains("{{") {
            lines.push(
                "This is a template, not what it renders to: add --alert FILE with the document of \
                 an alert"
                    .to_owned(),
            );
        }
    }
    lines.push("Nothing was changed.".to_owned());
    lines
}

/// A body on one line, whatever is in it, as much as can be looked at.
fn visible(body: &str) -> String {
    let (shown, rest) =
        body.split_at_checked(body.floor_char_boundary(SHOWN)).unwrap_or((body, ""));
    let mut text = String::new();
    for character in shown.chars() {
        match character {
            '"' | '\'' | '\\' => text.push(character),
            _ => text.extend(character.escape_debug()),
        }
    }
    if rest.is_empty() { text } else { format!("{text}... ({} bytes more)", rest.len()) }
}

/// Why nothing can be simulated.
#[derive(Debug, thiserror::Error)]
pub(super) enum SimulateError {
    #[error("{} cannot be read: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is larger than a body may be, {max_body} bytes (limits.max-body); webhookd answers 413", path.display())]
    TooLarge { path: PathBuf, max_body: usize },
    #[error("{}: {}", .0.display(), BodyError::NotUtf8)]
    NotText(PathBuf),
    #[error("{} is not JSON: {error}; give the document of an alert", path.display())]
    NotJson { path: PathBuf, error: serde_json::Error },
    #[error(
        "--alert: no alert is in it; give its document, {{\"kibana.alert.uuid\":...}}, a list of them, or all variables, {{\"context\":...}}"
    )]
    NoAlert,
    #[error("--mode is for documents of alerts; this file has all variables (context) of one call")]
    ModeOfVariables,
    #[error("template and alert cannot both come from standard input; give one as a file")]
    OneStdin,
    #[error(transparent)]
    NotRendered(#[from] NotRendered),
    #[error(transparent)]
    TooMuch(#[from] TooMuch),
}

impl SimulateError {
    pub(super) const fn is_bad_input(&self) -> bool {
        !matches!(self, Self::NotRendered(NotRendered::Unsupported(_)))
    }
}

/// Bytes of a body where webhookd's configuration does not say; its default.
const MAX_BODY: usize = 8 << 20;
/// Bytes of a body that are shown.
const SHOWN: usize = 2_000;
