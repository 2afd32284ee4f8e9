//! What is going on at a moment, for whoever tells of a failure.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Since when who does what, and how webhook-privd was ended last.
#[derive(Debug)]
pub struct Scene {
    began: Instant,
    attacks: Mutex<BTreeMap<&'static str, (&'static str, Instant)>>,
    end: Mutex<Option<End>>,
}

#[derive(Debug)]
struct End {
    how: How,
    at: Instant,
    back: Option<Instant>,
}

/// How webhook-privd is ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum How {
    /// By `systemctl restart`.
    Restarted,
    /// By SIGKILL: systemd waits for `RestartSec=` then.
    Killed,
}

impl Scene {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self { began: Instant::now(), attacks: Mutex::default(), end: Mutex::default() }
    }

    /// A source begins with an abuse.
    pub fn attacks(&self, source: &'static str, abuse: &'static str) {
        self.attacks.lock().unwrap().insert(source, (abuse, Instant::now()));
    }

    /// Has somebody end webhook-privd and wait until it is back.
    pub fn ends_privd(&self, how: How, work: impl FnOnce()) {
        *self.end.lock().unwrap() = Some(End { how, at: Instant::now(), back: None });
        work();
        self.end.lock().unwrap().as_mut().unwrap().back = Some(Instant::now());
    }

    /// Whether webhook-privd was ended, and what that left half done may not be put right yet.
    #[must_use]
    pub fn has_just_ended(&self) -> bool {
        let end = self.end.lock().unwrap();
        end.as_ref().is_some_and(|end| end.back.is_none_or(|back| back.elapsed() < MENDED))
    }

    /// By what an alert that was posted then, and is answered now, may have been held up.
    #[must_use]
    pub fn end_since(&self, asked: Instant) -> Option<How> {
        let end = self.end.lock().unwrap();
        let end = end.as_ref().filter(|end| end.back.is_none_or(|back| back > asked));
        end.map(|end| end.how)
    }
}

impl Default for Scene {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for Scene {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ago = |since: Instant| format!("{:.2} s", since.elapsed().as_secs_f64());
        write!(formatter, "after {}", ago(self.began))?;
        for (source, (abuse, since)) in &*self.attacks.lock().unwrap() {
            write!(formatter, "; {source}: {abuse} for {}", ago(*since))?;
        }
        if let Some(End { how, at, back }) = &*self.end.lock().unwrap() {
            let back = back
                .map_or_else(|| "not back".to_owned(), |back| format!("back for {}", ago(back)));
            write!(formatter, "; webhook-privd: {how:?} {} ago, {back}", ago(*at))?;
        }
        // Others on the host of the test may be what is in the way.
        let pressure = fs::read_to_string("/proc/pressure/cpu").unwrap_or_default();
        let share = pressure.split("avg10=").nth(1).and_then(|text| text.split(' ').next());
        share.map_or(Ok(()), |share| {
            write!(formatter, "; {share} % of 10 s somebody waited for a processor")
        })
    }
}

/// From its start until all that it has is looked at and put back.
const MENDED: Duration = Duration::from_secs(3);
