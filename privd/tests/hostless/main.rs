//! What orders and sessions come to, without a host: over a firewall and a clock that a test holds in
//! its hand, and a real ledger.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a broken test must fail at once, on the line that broke"
)]

mod bench;
mod enforcer;
mod session;
