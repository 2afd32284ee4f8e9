//! Replies on their way: whoever was promised something is told before the process ends.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// How many replies no socket has taken yet; clones count together.
#[derive(Clone, Debug, Default)]
pub struct Delivery(Arc<(Mutex<usize>, Condvar)>);

impl Delivery {
    /// One more, until what is returned is dropped.
    pub fn begin(&self) -> Undelivered {
        self.change(|many| many.saturating_add(1));
        Undelivered(self.clone())
    }

    /// Waits until there is none, but not for ever: there may be a peer that does not read. Returns
    /// how many are left.
    pub fn finish(&self, within: Duration) -> usize {
        let (many, changed) = &*self.0;
        let many = many.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = changed.wait_timeout_while(many, within, |many| *many > 0);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn change(&self, to: impl FnOnce(usize) -> usize) {
        let (many, changed) = &*self.0;
        let mut many = many.lock().unwrap_or_else(PoisonError::into_inner);
        *many = to(*many);
        changed.notify_all();
    }
}

/// A reply that is on its way.
#[derive(Debug)]
pub struct Undelivered(Delivery);

impl Drop for Undelivered {
    fn drop(&mut self) {
        self.0.change(|many| many.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Instant;

    use super::*;

    #[test]
    fn what_is_on_its_way_is_waited_for_but_not_for_ever() {
        let delivery = Delivery::default();
        assert_eq!(delivery.finish(FOR_EVER), 0);
        let [first, second] = [delivery.begin(), delivery.begin()];
        let (began, pause) = (Instant::now(), Duration::from_millis(20));
        assert_eq!(delivery.finish(pause), 2);
        assert!(began.elapsed() >= pause);
        drop(first);
        assert_eq!(delivery.finish(pause), 1);
        let waited = delivery.clone();
        let waiting = thread::spawn(move || waited.finish(FOR_EVER));
        drop(second);
        assert_eq!(waiting.join().unwrap(), 0);
        assert!(began.elapsed() < FOR_EVER);
    }

    const FOR_EVER: Duration = Duration::from_secs(30);
}
