//! Tells systemd, while it is so, that every thread which serves gets to its work. When it is told
//! no more, it starts webhookd afresh.
//!
//! Each worker has a heart: a task of its runtime, as requests are. The one that feeds the watchdog
//! runs where the server itself does. A request to ourselves would prove more of an idle server, and
//! fail on a healthy one whose connections are all taken.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use sd_notify::NotifyState;

/// The hearts of all workers.
#[derive(Clone, Debug)]
pub struct Hearts {
    /// What systemd waits for; None without its watchdog.
    interval: Option<Duration>,
    beats: Arc<Mutex<Vec<Weak<AtomicBool>>>>,
}

impl Hearts {
    /// None yet, and as fast as systemd wants.
    #[must_use]
    pub fn new(interval: Option<Duration>) -> Self {
        Self { interval, beats: Arc::default() }
    }

    /// Begins to beat on the calling worker, until it ends.
    pub fn begin(&self) {
        let Some(pause) = self.fraction() else { return };
        let beat = Arc::new(AtomicBool::new(true));
        self.beats.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&beat));
        actix_web::rt::spawn(async move {
            loop {
                tokio::time::sleep(pause).await;
                beat.store(true, Ordering::Relaxed);
            }
        });
    }

    /// Feeds the watchdog as long as all of them beat.
    pub async fn feed(self) {
        let Some(pause) = self.fraction() else { return };
        loop {
            if self.all_beat() {
                // Without systemd there is nobody to notify.
                let _ = sd_notify::notify(&[NotifyState::Watchdog]);
            }
            tokio::time::sleep(pause.saturating_mul(2)).await;
        }
    }

    /// Whether each has beaten since this was asked last. A worker that has ended, as at a stop, has
    /// taken its heart along.
    fn all_beat(&self) -> bool {
        let mut beats = self.beats.lock().unwrap_or_else(PoisonError::into_inner);
        beats.retain(|beat| beat.strong_count() > 0);
        let living = beats.iter().filter_map(Weak::upgrade);
        // Every one is asked: what it said counts from here on.
        living.filter(|beat| !beat.swap(false, Ordering::Relaxed)).count() == 0
    }

    fn fraction(&self) -> Option<Duration> {
        self.interval.and_then(|interval| interval.checked_div(6))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_web::test]
    async fn one_heart_that_stands_still_is_noticed_and_one_that_has_gone_is_not_missed() {
        let hearts = Hearts::new(Some(Duration::from_millis(6)));
        hearts.begin();
        let stands = Arc::new(AtomicBool::new(true));
        hearts.beats.lock().unwrap().push(Arc::downgrade(&stands));
        assert!(hearts.all_beat());
        // Nothing ran in between, and then one of the two.
        assert!(!hearts.all_beat());
        let beats = async |hearts: &Hearts| {
            let beaten = async {
                while !hearts.all_beat() {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(Duration::from_millis(500), beaten).await.is_ok()
        };
        assert!(!beats(&hearts).await);
        drop(stands);
        assert!(beats(&hearts).await);
    }
}
