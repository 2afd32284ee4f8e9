//! What is told of blocks that begin or end without being asked for.

use logging::{Action, Journal};

use crate::batch::{Item, Why};
use firewall::Effect;

/// A line for each block that ends, and one for all that were put back. Whether something failed.
pub fn upkeep(journal: &Journal, items: &[Item]) -> bool {
    let (mut missing, mut ended) = (Vec::new(), Vec::new());
    let mut failed = false;
    let unasked = items.iter().filter(|item| !matches!(item.why, Why::New | Why::Asked));
    for item in unasked {
        let (target, event) = (item.change.target(), item.event());
        let holds = item.effect.as_ref().is_some_and(Effect::holds);
        failed |= !holds;
        let action = match item.why {
            Why::Missing => {
                missing.push((target, event, holds));
                continue;
            }
            _ if !holds => Action::UnblockFailed,
            Why::Expired => Action::Expired,
            _ => Action::Unblocked,
        };
        ended.push((action, target, event, item.why.words()));
    }
    journal.ended(&ended);
    if !missing.is_empty() {
        journal.restored(&missing);
    }
    failed
}
