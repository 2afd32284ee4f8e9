//! What a test has put in place, and how it is taken away again.

use std::path::PathBuf;
use std::time::Duration;

use protocol::{Target, Targets, Unblock, Which};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::ctl::check::Finding;
use crate::ctl::engine::Engine;
use crate::ctl::https::{Answer, HttpsError};
use crate::ctl::outside::{shown, shown_path};
use crate::ctl::test::block::{away, is_gone_from_rules, is_gone_from_set};
use crate::ctl::test::{Steps, Tried};
use crate::ctl::token;
use crate::privd_client::{PrivdClient, new_event};

/// Everything that there is to undo so far.
#[derive(Default)]
pub(super) struct Undo {
    /// An alert whose answer has not come.
    pub(super) posted: Option<Posted>,
    /// The address of the alert.
    pub(super) target: Option<Target>,
    /// What was seen to hold the block.
    pub(super) held_by: Option<Engine>,
    /// The token file with [`TOKEN`].
    pub(super) token: Option<PathBuf>,
}

/// An alert under way.
pub(super) struct Posted(pub(super) oneshot::Receiver<Result<Answer, HttpsError>>);

impl Undo {
    /// Undoes it all, and notes what came of it.
    pub(super) async fn all(self, privd: &PrivdClient, steps: &mut Steps) {
        if let Some(posted) = self.posted {
            // The block would come behind its lifting. If it takes longer, the term ends it.
            let _ = timeout(PATIENCE, posted.0).await;
        }
        if let Some(target) = self.target
            && let Some(lifted) = lift(privd, target, self.held_by).await
        {
            steps.take("lifted", lifted);
        }
        if let Some(file) = self.token {
            let revoked = token::revoke(&file, TOKEN).map(|_| ((), format!("{TOKEN} is revoked")));
            let failed = |error: token::TokenFileError| {
                let mend = format!("webhookctl token revoke {TOKEN}");
                Finding::problem(format!("{}: {error}", shown_path(&file)), mend)
            };
            steps.take("token", revoked.map_err(failed));
        }
    }
}

/// None where nothing is blocked.
async fn lift(privd: &PrivdClient, target: Target, held_by: Option<Engine>) -> Option<Tried<()>> {
    // As what it stands: policy may have made a network of it.
    let blocked = match privd.show(target).await {
        Ok(shown) => shown.block?.target,
        Err(error) => return Some(Err(away(error))),
    };
    let which = Which::Targets(Targets::try_from(vec![blocked]).ok()?);
    let lifts = privd.unblock(Unblock { event: new_event(), which, immune_for: 0 }).await;
    let left = |why: &str| {
        let what = format!("{blocked} is still blocked{why}; that ends by itself after a minute");
        Err(Finding::problem(what, format!("webhookctl unblock {blocked}")))
    };
    Some(match (lifts, privd.show(target).await) {
        (Err(error), _) | (_, Err(error)) => Err(away(error)),
        (Ok(lifts), Ok(shown)) if shown.block.is_some() => {
            let why = lifts.first().map(|lift| lift.detail.to_string()).unwrap_or_default();
            left(&if why.is_empty() { why } else { format!(" ({})", self::shown(&why)) })
        }
        _ if held_by == Some(Engine::Ufw) && !is_gone_from_rules(blocked) => {
            left(", by ufw's rules")
        }
        _ if held_by == Some(Engine::Nftables) && !is_gone_from_set(privd, blocked).await => {
            left(", by the table of nftables")
        }
        _ => Ok(((), format!("{blocked} is blocked no more"))),
    })
}

/// What a token is called that a test has made for itself.
pub(super) const TOKEN: &str = "webhookctl-test";
/// A block takes well under a second, or the firewall is busy.
const PATIENCE: Duration = Duration::from_secs(15);
