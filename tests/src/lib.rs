//! The harness of the end-to-end tests: real daemons, real ufw and real packets in network
//! namespaces of their own, or under a booted systemd. Nothing on the host changes, and everything ends with the test.

pub mod abuse;
pub mod audit_log;
pub mod auth_log;
pub mod certificates;
pub mod container;
pub mod detection;
pub mod disk;
pub mod door;
pub mod engine;
pub mod faults;
pub mod filler;
pub mod https;
pub mod kibana_api;
pub mod knocks;
pub mod last_words;
pub mod node;
pub mod package;
pub mod place;
pub mod probe;
pub mod processes;
pub mod random;
pub mod sessions;
pub mod shipped;
pub mod standing;
pub mod stream;
pub mod table;
pub mod wait;
pub mod world;

pub use abuse::Abuse;
pub use container::Container;
pub use disk::Disk;
pub use door::Door;
pub use engine::Engine;
pub use faults::Fault;
pub use https::Answer;
pub use kibana_api::KibanaApi;
pub use knocks::Knocks;
pub use node::{Judgement, Kibana};
pub use place::Place;
pub use random::Random;
pub use standing::Standing;
pub use stream::Stream;
pub use table::Table;
pub use wait::until;
pub use world::World;
