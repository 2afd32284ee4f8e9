//! The harness of the end-to-end tests: real daemons, real ufw and real packets in network
//! namespaces of their own, or under a booted systemd. Nothing on the host changes, and everything ends with the test.

pub mod container;
pub mod https;
pub mod place;
pub mod sessions;
pub mod wait;
pub mod world;

pub use container::Container;
pub use https::Answer;
pub use place::Place;
pub use wait::until;
pub use world::World;
