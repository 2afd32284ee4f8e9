//! What webhookd, webhookctl and webhook-privd say to each other.
//!
//! One Unix stream socket, `/run/webhook-privd/privd.sock`, carries frames both ways:
//!
//! ```text
//!  0         1                     5                          5 + length
//!  +---------+---------------------+---------------------------+
//!  | version | length, u32, little | payload: one message,     |
//!  | 1 byte  | endian              | bincode, fixed-int, LE    |
//!  +---------+---------------------+---------------------------+
//! ```
//!
//! * The version byte comes first and never moves: two releases that disagree about everything
//!   else can still tell each other so. A frame of length 0 says only "I speak this version".
//! * The length is checked against the direction's cap ([`RequestFrame`]: 512 KiB,
//!   [`ReplyFrame`]: 8 MiB) before a byte is allocated.
//! * The message must use the payload up exactly. Anything else ends the connection: a peer that
//!   breaks the protocol is never resynchronised with.
//! * Each request carries an id that its reply repeats. Replies may overtake each other.
//!
//! | request | who may ask | reply | what it does |
//! |---|---|---|---|
//! | [`Request::Block`] | webhookd, uid 0 | [`Reply::Block`] | puts 1 to 10,000 targets in force, one [`Verdict`] each |
//! | [`Request::Unblock`] | uid 0 | [`Reply::Unblock`] | lifts blocks, one [`Lift`] each |
//! | [`Request::List`] | uid 0 | [`Reply::List`] | one [`Page`] of live blocks |
//! | [`Request::Show`] | uid 0 | [`Reply::Show`] | all that is known about one target |
//! | [`Request::Status`] | webhookd, uid 0 | [`Reply::Status`] | the daemon's state in numbers and words |
//! | [`Request::Judge`] | uid 0 | [`Reply::Judge`] | says what an alert would be told of 1 to 10,000 targets, and changes nothing |
//! | [`Request::Reload`] | uid 0 | [`Reply::Reload`] | reads the configuration file again and lifts what has become protected |
//! | [`Request::Protected`] | uid 0 | [`Reply::Protected`] | lists every network that no alert may block now |
//! | [`Request::Elements`] | uid 0 | [`Reply::Elements`] | what the kernel's table has of 1 to 10,000 targets, with the packets dropped; nftables alone |
//!
//! A `Block` whose `adopt` is true is for uid 0 alone: it takes over a rule of the administrator's.
//!
//! A `Block` of one address, `198.51.100.7`, with empty texts looks like this (see the golden-byte
//! tests in `message.rs`):
//!
//! ```text
//! 05                                 version 5
//! 48 00 00 00                        72 bytes follow
//! 07 00 00 00 00 00 00 00            request id 7
//! 00 00 00 00                        Block
//! 01 00 .. 00 (16 bytes)             event id 1
//! 00                                 no requester
//! 01 00 00 00 00 00 00 00            one target
//! 00 00 00 00 c6 33 64 07 20         IPv4 198.51.100.7 /32
//! 00                                 for as long as policy says
//! ..                                 reason, rule name, alert id: three lengths of zero
//! 00                                 an administrator's rule stays the administrator's
//! ```
//!
//! Nothing here does I/O except [`frame::read`] and [`frame::write`] on a caller's stream; the
//! frontend uses the same parts under tokio.

mod durations;
mod error;
pub mod frame;
mod message;
mod outcome;
mod target;
mod text;
mod untrusted;

pub use durations::Durations;
pub use error::{FrameError, TargetError};
pub use frame::VERSION;
pub use message::{
    Block, BlockInfo, Element, EventId, Lift, LiftOutcome, List, MAX_TARGETS, Message, Page,
    ProtectedNet, Reloaded, Reply, ReplyFrame, Request, RequestFrame, Shown, Status, TargetCount,
    Targets, Unblock, Which,
};
pub use outcome::{Enforced, Outcome, Refusal, Term, Until, Verdict};
pub use target::{Target, canonical};
pub use text::Text;
pub use untrusted::{Untrusted, mistake_in};
