//! What was answered to be blocked, and until when: that it is so in the firewall.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard};

use jiff::{SignedDuration, Timestamp};

use super::alerts::{Alert, FOR_GOOD};
use crate::{Answer, Standing};

/// The end of each block that was answered.
#[derive(Debug, Default)]
pub struct Promises(Mutex<BTreeMap<IpAddr, Timestamp>>);

impl Promises {
    /// Forgets these: somebody is about to ask for them anew, or to lift them.
    pub fn withdraw(&self, addresses: &[IpAddr]) {
        self.book().retain(|address, _| !addresses.contains(address));
    }

    /// Notes what an answer says of an alert; else what is wrong with it.
    ///
    /// # Errors
    /// Not each is blocked, or not for its term.
    pub fn note(&self, alert: &Alert, answer: &Answer) -> Result<(), String> {
        let blocked = |outcome: &&str| matches!(*outcome, "blocked" | "already-blocked");
        let many = answer.outcomes().iter().filter(|outcome| blocked(outcome)).count();
        if answer.status != 200 || many != alert.addresses.len().max(1) {
            return Err(format!("{} {}", answer.status, answer.text));
        }
        if alert.addresses.is_empty() {
            return Ok(());
        }
        let now = Timestamp::now();
        let mut book = self.book();
        for result in answer.json["results"].as_array().into_iter().flatten() {
            let text = |name: &str| result[name].as_str().unwrap_or_default();
            let (Ok(address), Ok(until)) = (text("ip").parse(), text("until").parse::<Timestamp>())
            else {
                return Err(format!("no address, or no end: {result}"));
            };
            let left = until.duration_since(now).as_secs();
            if !(15..=21).contains(&left) || !alert.addresses.contains(&address) {
                return Err(format!("ends in {left} s: {result}"));
            }
            book.insert(address, until);
        }
        if alert.addresses.iter().all(|address| book.contains_key(address)) {
            Ok(())
        } else {
            Err(format!("not each has a result: {}", answer.text))
        }
    }

    /// What lacks of those that must stand, and what stands that has ended long ago; how many were to
    /// stand.
    #[must_use]
    pub fn compare(&self, look: impl FnOnce() -> Standing) -> (Vec<String>, usize) {
        let wanted = self.book().clone();
        let before = Timestamp::now();
        let standing = look();
        let after = Timestamp::now();
        let mut live = 0;
        let mut wrong = Vec::from_iter(standing.lacks(FOR_GOOD.parse().unwrap()));
        for (address, until) in wanted {
            let problem = if until > after + MOMENT {
                live += 1;
                standing.lacks(address)
            } else if until + LATE < before && standing.names(address) {
                Some(format!("{address} still stands"))
            } else {
                None
            };
            // Somebody may have asked for it since.
            if self.book().get(&address) == Some(&until) {
                wrong.extend(problem.map(|words| format!("{words} (until {until}, now {after})")));
            }
        }
        (wrong, live)
    }

    /// Whether one that was lifted is gone, unless somebody has asked for it since.
    #[must_use]
    pub fn is_gone(&self, address: IpAddr, look: impl FnOnce() -> Standing) -> bool {
        !look().names(address) || self.book().contains_key(&address)
    }

    /// One that goes on standing for a while.
    #[must_use]
    pub fn lasting(&self) -> Option<IpAddr> {
        let soon = Timestamp::now() + LATE;
        self.book().iter().find(|(_, until)| **until > soon).map(|(address, _)| *address)
    }

    fn book(&self) -> MutexGuard<'_, BTreeMap<IpAddr, Timestamp>> {
        self.0.lock().unwrap()
    }
}

/// Before its end a block may be gone so early: an end is said in whole seconds.
const MOMENT: SignedDuration = SignedDuration::from_secs(1);
/// What has ended may go on standing so long: others come first, and webhook-privd is started anew.
const LATE: SignedDuration = SignedDuration::from_secs(10);
