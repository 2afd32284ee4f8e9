//! The nftables engine: a table of our own, one element a block, any number of changes by one
//! transaction, then read back.
//!
//! Every transaction names the state of nf_tables that it was made for, and the kernel refuses it
//! where anybody has changed anything since: so what was found to stand still does.

mod allowed;
mod wanted;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use nftables::connection::{Connection, NftError};
use nftables::element::{self, Batch, Element};
use nftables::set::Set;
use nftables::table::{self, Handles};
use protocol::{EventId, Target, Text, Until, Untrusted};
use slog::{Logger, info, warn};

use crate::nft::allowed::AllowedSources;
use crate::nft::wanted::{SLACK, block, is_as_wanted, now, serves, wanted};
use crate::program::Program;
use crate::{Allowed, Change, Effect, Firewall, Found, Mark, Stamp, pulse};

/// nf_tables of this host.
#[derive(Debug)]
pub struct Nft {
    /// The sets that the table has.
    sets: BTreeSet<Set>,
    /// The table as it was made last.
    made: Option<Handles>,
    /// As it was found, where none was made: what an earlier run left still drops.
    seen: Option<Handles>,
    /// Whether it stood so when last looked at.
    stands: bool,
    /// Whether it was not filled yet, or others took it away since.
    lost: bool,
    /// The number of the last change to nf_tables before things were read back.
    generation: u32,
    /// Whether others changed something since all blocks were judged.
    others: bool,
    allowed: AllowedSources,
    log: Logger,
}

impl Nft {
    /// The engine of the daemon with this ledger; touches nothing yet.
    pub fn new(ledger: &Path, log: Logger) -> Self {
        Self {
            sets: BTreeSet::new(),
            made: None,
            seen: None,
            stands: false,
            lost: true,
            generation: 0,
            others: true,
            allowed: AllowedSources::new(ledger),
            log,
        }
    }

    /// Whether there is a table of ours, whoever made it.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn is_standing() -> Result<bool, NftError> {
        Ok(Connection::open()?.table()?.is_some())
    }

    /// Sees to it that the table stands and has these sets; the state of nf_tables in which it does.
    fn prepare(&mut self, kernel: &mut Connection, needed: &BTreeSet<Set>) -> Result<u32, Trouble> {
        for _ in 0..ROUNDS {
            let generation = kernel.generation()?;
            let table = kernel.table()?;
            let stands = self.made.is_some() && table == self.made;
            if stands && needed.is_subset(&self.sets) {
                self.others |= generation != self.generation;
                self.stands = true;
                return Ok(generation);
            }
            if self.made.is_some() && !stands {
                warn!(self.log, "the table was changed or removed by others, and is made anew";
                    "table" => table::NAME);
                (self.others, self.lost) = (true, true);
            }
            if self.made.is_none() {
                // The rules of an earlier run stay.
                self.sets.extend(kernel.sets()?);
            }
            self.sets.extend(needed);
            let script = table::script(&self.sets);
            if run_nft(&script).is_err() {
                // What has a name of ours and is something else goes, and all that was in it.
                run_nft(&format!("{}{script}", table::REMOVAL))?;
                (self.others, self.lost) = (true, true);
            }
            self.made = kernel.table()?.filter(Handles::is_awake);
        }
        Err(Trouble::Tool(Text::truncated(CONTENDED)))
    }

    /// Makes the change as often as somebody else is faster.
    fn change(
        &mut self,
        kernel: &mut Connection,
        needed: &BTreeSet<Set>,
        mut batch: Batch,
    ) -> Result<(), Trouble> {
        for _ in 0..ROUNDS {
            let generation = self.prepare(kernel, needed)?;
            match kernel.commit(&mut batch, generation) {
                Ok(()) => {
                    // The kernel leaves 0 out.
                    self.generation = generation.wrapping_add(1).max(1);
                    return Ok(());
                }
                // After an error more words may be on the way.
                Err(error) if error.is_stale() => *kernel = Connection::open()?,
                Err(error) => return Err(error.into()),
            }
        }
        Err(Trouble::Tool(Text::truncated(CONTENDED)))
    }

    fn try_apply(&mut self, changes: &[Change]) -> Result<Vec<Effect>, Trouble> {
        let mut kernel = Connection::open()?;
        if !changes.iter().any(Change::is_block) && kernel.table()?.is_none() {
            return Ok(vec![Effect::Already(Text::default()); changes.len()]);
        }
        let needed = changes.iter().map(|change| Set::of(change.target())).collect();
        let before = match self.add(&mut kernel, &needed, changes)? {
            true => vec![false; changes.len()],
            false => self.exchange(&mut kernel, &needed, changes)?,
        };
        let targets: Vec<Target> = changes.iter().map(Change::target).collect();
        let found = kernel.find(&targets)?;
        let effect = |((change, found), before): ((&Change, &Option<Element>), bool)| match (
            is_as_wanted(change, found.as_ref()),
            before,
        ) {
            (true, true) => Effect::Already(Text::default()),
            (true, false) => Effect::Done(Text::default()),
            (false, _) if change.is_block() => Effect::Unverified(Text::truncated(GONE)),
            (false, _) => Effect::Failed(Text::truncated("it is still in the table")),
        };
        Ok(changes.iter().zip(&found).zip(before).map(effect).collect())
    }

    /// Adds blocks of which none is there yet; whether that is what the changes are.
    fn add(
        &mut self,
        kernel: &mut Connection,
        needed: &BTreeSet<Set>,
        changes: &[Change],
    ) -> Result<bool, Trouble> {
        if !changes.iter().all(Change::is_block) {
            return Ok(false);
        }
        let new: Vec<Element> = changes.iter().filter_map(wanted).collect();
        match self.change(kernel, needed, element::change(&[], &new).map_err(NftError::from)?) {
            Err(Trouble::Kernel(error)) if error.is_known() || error.is_unheard() => {
                *kernel = Connection::open()?;
                Ok(false)
            }
            other => other.map(|()| true),
        }
    }

    /// Adds and removes, whatever is there; which were as wanted before.
    fn exchange(
        &mut self,
        kernel: &mut Connection,
        needed: &BTreeSet<Set>,
        changes: &[Change],
    ) -> Result<Vec<bool>, Trouble> {
        self.prepare(kernel, needed)?;
        let targets: Vec<Target> = changes.iter().map(Change::target).collect();
        let found = kernel.find(&targets)?.into_iter().zip(changes);
        let before: Vec<bool> =
            found.map(|(found, change)| is_as_wanted(change, found.as_ref())).collect();
        let open = changes.iter().zip(&before).filter(|(_, before)| !**before);
        let (old, new): (Vec<Target>, Vec<Option<Element>>) =
            open.map(|(change, _)| (change.target(), wanted(change))).unzip();
        let new: Vec<Element> = new.into_iter().flatten().collect();
        if !old.is_empty() {
            self.change(kernel, needed, element::change(&old, &new).map_err(NftError::from)?)?;
        }
        Ok(before)
    }
}

impl Firewall for Nft {
    fn name(&self) -> &'static str {
        "nftables"
    }

    fn programs(&self) -> &'static [Program] {
        &[Program::Nft]
    }

    fn load(&mut self, blocks: &[(Target, Mark)]) -> Result<(), Text> {
        let elements: Vec<Element> =
            blocks.iter().map(|(target, mark)| block(*target, *mark)).collect();
        let needed = elements.iter().map(|element| Set::of(element.target)).collect();
        let mut load = || -> Result<(), Trouble> {
            let mut kernel = Connection::open()?;
            // Those of an earlier run too: what is in them and in no ledger goes.
            self.sets.extend(kernel.sets()?);
            let sets = &self.sets | &needed;
            if sets.is_empty() {
                // No block, and none of an earlier run: the table comes with the first.
                self.lost = false;
                return Ok(());
            }
            self.change(
                &mut kernel,
                &sets,
                element::replace(sets.iter().copied(), &elements).map_err(NftError::from)?,
            )?;
            (self.others, self.lost) = (true, false);
            Ok(())
        };
        pulse::during(LONGEST, &mut load).map_err(Trouble::words)
    }

    fn look(&mut self) -> Result<(), Text> {
        let mut look = || -> Result<(), Trouble> {
            let mut kernel = Connection::open()?;
            let generation = kernel.generation()?;
            let table = kernel.table()?;
            if self.made.is_none() && self.seen.is_none() {
                self.seen = table.clone().filter(Handles::is_awake);
            }
            let known = self.made.as_ref().or(self.seen.as_ref());
            self.stands = known.is_some() && table.as_ref() == known;
            self.lost |= self.made.is_some() && !self.stands;
            self.others |= generation != self.generation || !self.stands;
            self.generation = generation;
            Ok(())
        };
        look().map_err(Trouble::words)
    }

    fn judge(&mut self, blocks: &[(Target, Mark)]) -> Vec<Effect> {
        self.others = false;
        let gone = || Effect::Unverified(Text::truncated(GONE));
        if !self.stands {
            return vec![gone(); blocks.len()];
        }
        let targets: Vec<Target> = blocks.iter().map(|(target, _)| *target).collect();
        let find = || Connection::open()?.find(&targets);
        match pulse::during(LONGEST, find) {
            Ok(found) => {
                let serves = |((_, mark), found): (&(Target, Mark), &Option<Element>)| {
                    // What is over is about to be lifted, whether or not the kernel was faster.
                    let over = matches!(mark.until(), Until::At(end) if end <= now());
                    let holds = over || serves(*mark, found.as_ref());
                    if holds { Effect::Already(Text::default()) } else { gone() }
                };
                blocks.iter().zip(&found).map(serves).collect()
            }
            Err(error) => {
                self.others = true;
                vec![Effect::Unavailable(Text::truncated(&error.to_string())); blocks.len()]
            }
        }
    }

    fn others_changed(&self) -> bool {
        self.others
    }

    /// Only what it changed.
    fn reads_all(&self) -> bool {
        false
    }

    fn is_lost(&self) -> bool {
        self.lost
    }

    fn allowed_sources(&mut self) -> Result<Vec<Allowed>, Text> {
        self.allowed.read(&self.log)
    }

    fn apply(&mut self, changes: &[Change]) -> Vec<Effect> {
        if changes.is_empty() {
            return Vec::new();
        }
        pulse::during(LONGEST, || self.try_apply(changes)).unwrap_or_else(|trouble| {
            let words = trouble.words();
            warn!(self.log, "a change of the table failed"; "why" => %words);
            vec![Effect::Failed(words); changes.len()]
        })
    }

    /// Nothing is left open: what comes from a target is dropped ahead of everything.
    fn cut(&self, _: &[Target]) -> Vec<Text> {
        Vec::new()
    }

    fn is_unsettled(&self) -> bool {
        false
    }

    fn settle(&mut self) {}

    fn found(&mut self) -> Result<Vec<Found>, Text> {
        let list = || -> Result<Vec<Element>, NftError> {
            let mut elements = BTreeMap::new();
            for set in Connection::open()?.sets()? {
                // Until a list brings nothing new: one alone may have gaps.
                for _ in 0..LISTS {
                    let before = elements.len();
                    let listed = Connection::open()?.list(set)?.into_iter();
                    elements.extend(listed.map(|element| (element.target, element)));
                    if elements.len() == before {
                        break;
                    }
                }
            }
            Ok(elements.into_values().collect())
        };
        let elements = pulse::during(LISTING, list)
            .map_err(|error| Text::truncated(&format!("the table cannot be listed: {error}")))?;
        let until = |left: Option<Duration>| match left {
            None => Until::Permanent,
            Some(left) => Until::At(now().saturating_add(left.saturating_sub(SLACK).as_secs())),
        };
        let found = |element: Element| {
            let mark = Mark::new(EventId(0), until(element.left));
            Found { target: element.target, mark }
        };
        Ok(elements.into_iter().map(found).collect())
    }

    /// None: what is in the table and in no ledger goes when the blocks are loaded, also after others
    /// took the table away and brought an older one.
    fn known(&mut self) -> Vec<Found> {
        Vec::new()
    }

    fn retire(&mut self) -> Result<(), Text> {
        let retire = || -> Result<(), Trouble> {
            if Connection::open()?.table()?.is_none() {
                return Ok(());
            }
            run_nft(table::REMOVAL)?;
            info!(self.log, "the table is removed"; "table" => table::NAME);
            Ok(())
        };
        retire().map_err(Trouble::words)
    }

    fn stamp(&self) -> Stamp {
        // The kernel leaves 0 out: no state is the one that was read back.
        Stamp::Generation(if self.others { 0 } else { self.generation })
    }

    fn changing(&self) -> Arc<AtomicBool> {
        Arc::default()
    }

    fn replaced(&self) -> bool {
        false
    }
}

/// What the kernel has of these targets now, in their order; 3 µs each, whoever else is at work.
///
/// # Errors
/// What the kernel says.
pub fn elements(targets: &[Target]) -> Result<Vec<Option<protocol::Element>>, Text> {
    let told = |element: Element| protocol::Element {
        packets: element.packets,
        seconds_left: element.left.map(|left| left.as_secs()),
    };
    let found = Connection::open().and_then(|mut kernel| kernel.find(targets));
    let found = found.map_err(|error| Text::truncated(&error.to_string()))?;
    Ok(found.into_iter().map(|found| found.map(told)).collect())
}

/// Runs commands in nft's language.
fn run_nft(script: &str) -> Result<(), Trouble> {
    match Program::Nft.run(&[script]) {
        Ok(output) if output.success => Ok(()),
        Ok(output) => Err(Trouble::Tool(Text::truncated(&format!(
            "nft refuses: {}",
            Untrusted(output.complaint())
        )))),
        Err(error) => Err(Trouble::Tool(Text::truncated(&error.to_string()))),
    }
}

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Kernel(#[from] NftError),
    #[error("{0}")]
    Tool(Text),
}

impl Trouble {
    fn words(self) -> Text {
        match self {
            Self::Kernel(error) => Text::truncated(&error.to_string()),
            Self::Tool(words) => words,
        }
    }
}

const GONE: &str = "it is not in the table webhookd of nftables";
const CONTENDED: &str = "others keep changing nftables, so that nothing can be made and read back";
/// Attempts to be faster than others.
const ROUNDS: usize = 100;
/// In which a million blocks are put in force or looked up, the kernel's other work included.
const LONGEST: Duration = Duration::from_mins(2);
/// Lists of one set at most.
const LISTS: usize = 5;
/// In which a million are listed: a minute and a half each time (measured).
const LISTING: Duration = Duration::from_mins(10);
