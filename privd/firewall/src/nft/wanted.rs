//! What a block is in the kernel, and whether what is there is that.

use std::time::{Duration, SystemTime};

use nftables::element::Element;
use protocol::{Target, Until};

use crate::{Change, Mark};

/// Whether the kernel has what a change wants.
pub(super) fn is_as_wanted(change: &Change, found: Option<&Element>) -> bool {
    match change {
        Change::Lift(_) => found.is_none(),
        Change::Block { mark, .. } => serves(*mark, found),
    }
}

/// Whether what the kernel has lasts as long as a block, and not much longer.
pub(super) fn serves(mark: Mark, found: Option<&Element>) -> bool {
    let Some(found) = found else { return false };
    match (mark.until(), found.left) {
        (Until::Permanent, left) => left.is_none(),
        (Until::At(end), Some(left)) => {
            let wanted = Duration::from_secs(end.saturating_sub(now()));
            wanted <= left.saturating_add(SECOND) && left <= wanted.saturating_add(LATEST)
        }
        (Until::At(_), None) => false,
    }
}

/// What a block is in the kernel.
pub(super) fn wanted(change: &Change) -> Option<Element> {
    let Change::Block { target, mark, .. } = change else { return None };
    Some(block(*target, *mark))
}

pub(super) fn block(target: Target, mark: Mark) -> Element {
    let left = match mark.until() {
        Until::Permanent => None,
        Until::At(end) => {
            Some(Duration::from_secs(end.saturating_sub(now())).saturating_add(SLACK))
        }
    };
    Element { target, left, packets: 0 }
}

pub(super) fn now() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs()
}

/// By which the kernel's own end of a block comes after ours: privd lifts it in time, and where it
/// does not run, the kernel does.
pub(super) const SLACK: Duration = Duration::from_secs(5);
/// In which a time in seconds may have passed.
const SECOND: Duration = Duration::from_secs(1);
/// By which the kernel may be later than that, after the clock was set.
const LATEST: Duration = Duration::from_mins(1);
