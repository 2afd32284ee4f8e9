//! How both daemons log: each record is a line for people on stderr, and what somebody did is also a
//! document for machines in the audit file, in the Elastic Common Schema (ECS), one a line.
//!
//! | file | what it is |
//! |---|---|
//! | `stderr` | the lines |
//! | `action` | the table of what can be said in a document |
//! | `field` | the names of fields that are read back |
//! | `document` | one document: fields, each bounded |
//! | `audit` | where documents go, with what they all begin with |
//! | `file` | appends whole lines to a file that may be full, rotated, or gone |
//! | `limiter` | how often a caller can cause a line |
//! | `blocks` | the documents of webhook-privd |
//! | `journal` | what webhook-privd tells of each request (what webhookd tells is in frontend/) |
//!
//! A line of a log cannot be forged: lines show outside text through `protocol::Untrusted`, documents
//! hold it as JSON strings, and both cut what is long.

mod action;
mod audit;
mod blocks;
mod document;
pub mod field;
mod file;
mod journal;
mod limiter;
mod stderr;

pub use action::Action;
pub use audit::{Audit, Origin};
pub use blocks::Asker;
pub use document::{Document, Level};
pub use file::{AuditError, escape};
pub use journal::Journal;
pub use limiter::{Limiter, Suppressed};
pub use stderr::logger;
