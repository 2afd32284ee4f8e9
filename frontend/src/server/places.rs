//! A bounded number of places, of which one source takes a quarter at most: however much it asks
//! for, there is room for another.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Whose share something is.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Source {
    /// This host, by whichever of its loopback's addresses: any local user may choose one.
    ThisHost,
    /// One address.
    Address(IpAddr),
    /// A /64 of IPv6, all of which one host may use (RFC 4291 2.5.1).
    Network(Ipv6Addr),
    /// All that may not post, together: one of them is easily many.
    Strangers,
}

impl Source {
    /// Where an address belongs to.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            address if address.is_loopback() => Self::ThisHost,
            IpAddr::V6(address) => Self::Network(Ipv6Addr::from_bits(address.to_bits() & NETWORK)),
            address => Self::Address(address),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ThisHost => formatter.write_str("this host"),
            Self::Address(address) => write!(formatter, "{address}"),
            Self::Network(network) => write!(formatter, "{network}/64"),
            Self::Strangers => formatter.write_str("whoever is not in allow-clients"),
        }
    }
}

/// So many places for all together.
#[derive(Debug)]
pub struct Places {
    total: usize,
    taken: Mutex<Taken>,
    freed: Notify,
}

/// Only who has a place stands here, and so it stays as small as the places are few.
#[derive(Debug, Default)]
struct Taken {
    total: usize,
    of: HashMap<Source, usize>,
}

impl Places {
    /// All of them free.
    #[must_use]
    pub fn new(total: usize) -> Arc<Self> {
        Arc::new(Self { total, taken: Mutex::default(), freed: Notify::new() })
    }

    /// Takes a place now.
    ///
    /// # Errors
    /// There is none for this source, or for anybody.
    pub fn take(self: &Arc<Self>, source: Source) -> Result<Place, Full> {
        let mut taken = self.taken();
        if taken.total >= self.total {
            return Err(Full::All);
        }
        let own = taken.of.get(&source).copied().unwrap_or_default();
        if own >= self.share() {
            return Err(Full::Source);
        }
        taken.total = taken.total.saturating_add(1);
        taken.of.insert(source, own.saturating_add(1));
        Ok(Place { places: Arc::clone(self), source })
    }

    /// Takes a place as soon as there is one.
    pub async fn wait(self: &Arc<Self>, source: Source) -> Place {
        loop {
            // Listened for first: one that is freed in between is not missed.
            let freed = self.freed.notified();
            let mut freed = std::pin::pin!(freed);
            freed.as_mut().enable();
            if let Ok(place) = self.take(source) {
                return place;
            }
            freed.await;
        }
    }

    fn share(&self) -> usize {
        self.total.div_euclid(SHARES).max(1)
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One that is taken, until this is dropped.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    source: Source,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.total = taken.total.saturating_sub(1);
        match taken.of.get(&self.source).copied().unwrap_or_default() {
            0 | 1 => taken.of.remove(&self.source),
            own => taken.of.insert(self.source, own.saturating_sub(1)),
        };
        drop(taken);
        self.places.freed.notify_waiters();
    }
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Full {
    /// The source has its share.
    #[error("its source has a quarter of limits.max-connections")]
    Source,
    /// Several sources have them all.
    #[error("there are limits.max-connections already")]
    All,
}

/// A source takes one part of so many.
const SHARES: usize = 4;
/// The part of an IPv6 address that one host does not choose.
const NETWORK: u128 = u128::MAX << 64;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn source(address: &str) -> Source {
        Source::of(address.parse().unwrap())
    }

    #[test]
    fn a_host_is_one_source_whatever_address_it_chooses() {
        for (one, other, same) in [
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("2001:db8:0:1::1", "2001:db8:0:1:ffff::7", true),
            ("2001:db8:0:1::1", "2001:db8:0:2::1", false),
            ("127.0.0.1", "127.9.9.9", true),
            ("127.0.0.1", "::1", true),
            ("127.0.0.1", "192.0.2.1", false),
        ] {
            assert_eq!(source(one) == source(other), same, "{one} {other}");
        }
        assert_eq!(source("2001:db8:0:1:ffff::7").to_string(), "2001:db8:0:1::/64");
    }

    #[test]
    fn one_source_has_a_quarter_and_all_have_all() {
        for (total, share) in [(1, 1), (3, 1), (4, 1), (7, 1), (8, 2), (256, 64)] {
            let places = Places::new(total);
            let mut held: Vec<Place> = Vec::new();
            for host in 1..=8 {
                let source = source(&format!("192.0.2.{host}"));
                for number in 1.. {
                    match places.take(source) {
                        Ok(place) => held.push(place),
                        Err(Full::Source) => {
                            assert_eq!(number, share + 1, "of {total}");
                            break;
                        }
                        Err(Full::All) => {
                            assert_eq!(held.len(), total);
                            break;
                        }
                    }
                }
            }
            assert_eq!(held.len(), total);
            drop(held);
            assert_eq!(places.taken().total, 0);
            assert!(places.taken().of.is_empty(), "a source that has gone is remembered");
        }
    }

    #[tokio::test]
    async fn who_waits_gets_the_place_that_is_freed() {
        let places = Places::new(4);
        let one = source("192.0.2.1");
        let place = places.take(one).unwrap();
        let patience = Duration::from_secs(20);
        // Another source does not wait for this one.
        tokio::time::timeout(patience, places.wait(source("192.0.2.2"))).await.unwrap();
        let waiting = tokio::spawn({
            let places = Arc::clone(&places);
            async move { drop(places.wait(one).await) }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(place);
        tokio::time::timeout(patience, waiting).await.unwrap().unwrap();
    }
}
