//! What a taken webhookd can do to webhook-privd, as its user and with the socket in hand:
//! `taken SOCKET ATTACK SECONDS SEED`. It checks what an attacker can see, and prints in one line what it
//! did and what it was told.

mod bytes;
mod connections;
mod descriptors;
mod floods;
mod ids;
mod quota;
mod races;
mod raid;
mod slow;
mod verbs;

use raid::Raid;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().expect("taken SOCKET ATTACK SECONDS SEED");
    let (socket, name) = (next(), next());
    let [seconds, seed] = [next(), next()].map(|number| number.parse().expect("a number"));
    let attack = ATTACKS.iter().find(|(known, _)| *known == name);
    let (_, attack) = attack.unwrap_or_else(|| panic!("there is no attack {name}"));
    let raid = Raid::new(socket.into(), seconds, seed);
    attack(&raid);
    println!("{}", raid.counts());
}

type Attack = fn(&Raid);

const ATTACKS: [(&str, Attack); 11] = [
    ("garbage", bytes::garbage),
    ("small", floods::small),
    ("large", floods::large),
    ("connections", connections::come_and_go),
    ("slow", slow::write_and_read),
    ("descriptors", descriptors::send_along),
    ("ids", ids::forge),
    ("races", races::run),
    ("verbs", verbs::try_all),
    ("quota", quota::evade),
    ("protected", quota::name_what_is_protected),
];
