//! The kernel's nf_tables over netlink: elements go into our sets and out of them, and are read back
//! one by one.
//!
//! nft(8) itself makes the table around them, once. For elements it is too slow by far: 4 ms for
//! each start, and for as little as one look at one element it lists the whole set, a second for a
//! hundred thousand (measured, nft 1.0.6); asked directly, the kernel takes 16 µs for a change and
//! 3 µs for a look.
//!
//! Everything here but [`connection`] is pure: values in, bytes out, and back.

pub mod connection;
pub mod element;
pub mod set;
pub mod table;
pub mod wire;
