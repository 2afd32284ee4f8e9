//! This host, taken out of Kibana again: its action and its networks out of either rule, then its
//! connector, which no action names any more.

use crate::ctl::kibana::KibanaError;
use crate::ctl::kibana::apply::Arguments;
use crate::ctl::kibana::apply::api::Api;
use crate::ctl::kibana::apply::connector::Connector;
use crate::ctl::kibana::apply::report::{Connected, Outcome, Removal};
use crate::ctl::kibana::apply::rule::Part;
use crate::ctl::kibana::definitions::{self, Auth, Which};
use crate::ctl::kibana::here::Here;
use crate::ctl::kibana::version::Version;

/// Does it, or says what would be done. What is gone already is no failure.
pub(super) fn remove(
    arguments: &Arguments,
    api: &Api,
    here: &Here,
    version: Version,
) -> Result<Removal, KibanaError> {
    let (dry_run, space) = (arguments.dry_run, &arguments.space);
    let connector = Connector {
        name: here.connector.clone(),
        // Which secret it has is nothing to this.
        mark: String::new(),
        body: definitions::connector(here, Auth::Basic, None, version)
            .map_err(KibanaError::Read)?,
        replace: arguments.replace,
    };
    // Asked first: a host of the same name keeps what it has in the rule, too.
    let found = connector.find(api, space)?;
    let mut rules = Vec::new();
    for which in [Which::Wide, Which::Guide] {
        let part = Part {
            which,
            ids: connector.ids(space),
            action: None,
            exclusion: None,
            label: definitions::label(&here.connector),
        };
        rules.push(if dry_run { part.foretell(api)? } else { part.join(api)? });
    }
    let id = found.map(|found| found.id);
    let outcome = match &id {
        None => Outcome::Absent,
        Some(_) if dry_run => Outcome::Removed,
        Some(id) if Connector::remove(api, id)? => Outcome::Removed,
        Some(_) => Outcome::Absent,
    };
    let changed = outcome.is_change() || rules.iter().any(|rule| rule.outcome.is_change());
    let connector = Connected { name: here.connector.clone(), id, outcome, differed: Vec::new() };
    Ok(Removal {
        url: arguments.url.clone(),
        version: version.to_string(),
        space: space.clone(),
        dry_run,
        changed,
        connector,
        rules,
    })
}
