//! `webhookctl show`: why can this customer not connect?
//!
//! What webhook-privd knows comes over its socket; who stands first in ufw and what the kernel
//! counts is looked at now, so that also what has changed since is noticed.

mod page;
mod way;

use protocol::{
    BlockInfo, Element, Outcome, Refusal, Shown, Status, Target, Text, Untrusted, Verdict,
};
use serde::Serialize;

use crate::ctl::engine::Engine;
use crate::ctl::hits::Hits;
use crate::ctl::list::Row;
use crate::ctl::output::Output;
use crate::ctl::rules::Rule;
use crate::ctl::show::way::{Named, Way};
use crate::ctl::{CtlError, Done, nftables, target, ufw};
use crate::privd_client::PrivdClient;
use crate::times::{self, rfc3339, until_rfc3339};

/// What to look at.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Address or network, blocked or not
    #[arg(value_name = "ADDR", value_parser = target)]
    target: Target,
}

const EXAMPLES: &str = "\
Examples:
  webhookctl show 198.51.100.7
  webhookctl show 2001:db8::/64 --json

Whether it is blocked, and by which rule of whose, in the numbers of
ufw status numbered, or by which set of the nftables engine; since when, until
when and why; what an alert would be told of it now, also where it never was
blocked.

Exit status: 0 whether it is blocked or not; 1 bad input; 2 failed.";

pub(super) async fn show(
    privd: &PrivdClient,
    output: &Output,
    arguments: &Arguments,
) -> Result<Done, CtlError> {
    let target = arguments.target;
    let shown = privd.show(target).await?;
    let status = privd.status().await?;
    let (held, hits) = match (Engine::of(&status), &shown.block) {
        (Engine::Ufw, _) => (Held::Rules, Hits::of_ufw()),
        (Engine::Nftables, None) => (Held::Nothing, Hits::default()),
        (Engine::Nftables, Some(block)) => {
            let found = nftables::element(privd, block.target).await?;
            let counted = found.iter().flatten().map(|found| (block.target, found.packets));
            let hits = counted.collect();
            (Held::Element(found), hits)
        }
    };
    // The page says so where they cannot be read. What is off drops nothing.
    let filters = matches!(held, Held::Rules) || ufw::is_enabled().unwrap_or(false);
    let rules = if filters { Rule::all().ok() } else { None };
    let seen = Seen {
        target,
        way: rules.as_ref().map(|rules| Way::of(target, rules)),
        held,
        hits,
        now: times::now(),
        shown,
        status,
    };
    output.print(&Answer::new(&seen), &page::lines(&seen))?;
    Ok(Done::Well)
}

/// What a block is held by.
enum Held {
    /// Rules of ufw's.
    Rules,
    /// An element of a set of nftables'; or why the kernel did not tell.
    Element(Result<Option<Element>, Text>),
    /// There is no block, and ufw would not hold it.
    Nothing,
}

/// All that there is to say about one target.
struct Seen<'a> {
    target: Target,
    shown: Shown,
    status: Status,
    /// None where ufw's rules cannot be read, or where it is off and not needed.
    way: Option<Way<'a>>,
    held: Held,
    hits: Hits,
    now: u64,
}

impl Seen<'_> {
    /// webhookd's block, where webhook-privd saw it in force.
    fn block_in_force(&self) -> Option<&BlockInfo> {
        self.shown.block.as_ref().filter(|block| block.in_force)
    }

    fn placed(&self) -> Option<Placed> {
        let Held::Element(Ok(Some(found))) = &self.held else { return None };
        let set = nftables::set_of(self.shown.block.as_ref()?.target);
        Some(Placed { set, seconds_left: found.seconds_left })
    }

    /// The administrator's rule that shuts it out before anything lets it in.
    fn shut_out_by(&self) -> Option<&Named> {
        self.way.as_ref().and_then(|way| way.shut_out_by.as_ref())
    }
}

/// As JSON.
#[derive(Serialize)]
struct Answer<'a> {
    target: String,
    blocked: bool,
    /// Whose rule blocks it: `webhookd`, `administrator`.
    by: Option<&'static str>,
    block: Option<Row>,
    /// Where the nftables engine has it now.
    element: Option<Placed>,
    /// Rules of ufw about it, in their order.
    rules: Option<&'a [Named]>,
    verified_at: Option<String>,
    offences: u32,
    immune_until: Option<String>,
    verdict: Judged,
    refused_because: Option<&'static str>,
    detail: String,
}

/// An element of a set of nftables'.
#[derive(Serialize)]
struct Placed {
    set: String,
    /// None: the kernel does not end it.
    seconds_left: Option<u64>,
}

/// What an alert would be told now.
#[derive(Serialize)]
struct Judged {
    outcome: &'static str,
    enforced_as: Option<String>,
    until: Option<String>,
}

impl<'a> Answer<'a> {
    fn new(seen: &'a Seen<'_>) -> Self {
        let (shown, verdict) = (&seen.shown, &seen.shown.verdict);
        let by = if seen.block_in_force().is_some() {
            Some("webhookd")
        } else {
            seen.shut_out_by().map(|_| "administrator")
        };
        Self {
            target: seen.target.to_string(),
            blocked: by.is_some(),
            by,
            block: shown.block.as_ref().map(|block| Row::new(block, &seen.hits, seen.now)),
            element: seen.placed(),
            rules: seen.way.as_ref().map(|way| &*way.about),
            verified_at: seen.status.verified_at.map(rfc3339),
            offences: shown.offences,
            immune_until: shown.immune_until.map(rfc3339),
            verdict: Judged::new(verdict),
            refused_because: verdict.outcome.refusal().map(Refusal::name),
            detail: Untrusted(&verdict.detail).to_string(),
        }
    }
}

impl Judged {
    fn new(verdict: &Verdict) -> Self {
        let enforced = verdict.outcome.enforced();
        Self {
            outcome: Outcome::name(&verdict.outcome),
            enforced_as: enforced.map(|enforced| enforced.target.to_string()),
            until: enforced.map(|enforced| until_rfc3339(enforced.until)),
        }
    }
}
