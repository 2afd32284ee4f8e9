//! An attacker that sends without a pause, from any of its addresses, and what of that arrives.

use std::collections::BTreeSet;
use std::net::{IpAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::World;
use crate::world::{SERVER, SERVER6};

/// Both ends: nothing is ever answered, so each packet is the first.
#[derive(Debug)]
pub struct Knocks {
    senders: Vec<UdpSocket>,
    receiver: UdpSocket,
}

impl Knocks {
    /// To the server's port 22, for UDP too; the attacker gets those of the addresses that it has not.
    ///
    /// # Panics
    /// When they cannot be had.
    #[must_use]
    pub fn from(world: &World, addresses: &[&str]) -> Self {
        // Of both families.
        let receiver = world.server.udp("[::]:22");
        let sender = |address: &&str| {
            let v6 = address.contains(':');
            let (prefix, to) = if v6 { ("64 nodad", SERVER6) } else { ("24", SERVER) };
            world.attacker.sh(&format!("ip address replace {address}/{prefix} dev eth0"));
            let socket = world.attacker.inside(|| UdpSocket::bind((*address, 0)).unwrap());
            socket.connect((to, 22)).unwrap();
            socket
        };
        Self { senders: addresses.iter().map(sender).collect(), receiver }
    }

    /// Sends a packet from each address; from which any has arrived by now.
    #[must_use]
    pub fn arrive(&self) -> BTreeSet<IpAddr> {
        // The kernel may say that an earlier one was refused.
        self.senders.iter().for_each(|socket| drop(socket.send(b"x")));
        let mut arrived = BTreeSet::new();
        while let Ok((_, from)) = self.receiver.recv_from(&mut [0]) {
            arrived.insert(from.ip().to_canonical());
        }
        arrived
    }

    /// Sends until `work` is done: what that came to, how often was sent, from which addresses any
    /// packet arrived.
    pub fn during<T>(&self, work: impl FnOnce() -> T) -> (T, usize, BTreeSet<IpAddr>) {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let sending = scope.spawn(|| {
                let (mut sent, mut arrived) = (0, BTreeSet::new());
                while !done.load(Ordering::Relaxed) {
                    sent += 1;
                    arrived.extend(self.arrive());
                }
                (sent, arrived)
            });
            let stop = Stop(&done);
            let came_to = work();
            drop(stop);
            let (sent, arrived) = sending.join().unwrap();
            (came_to, sent, arrived)
        })
    }
}

/// Also where the work panics: the sender would be waited for.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
