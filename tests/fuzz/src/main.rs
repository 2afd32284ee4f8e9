//! Runs libFuzzer over one target, which `FUZZ_TARGET` names.
//!
//! One program for all of them: linking is what takes the time. Each target is a function of bytes that
//! panics where a promise is broken, not only where the code under it panics.

#![no_main]

mod body;
mod config;
mod frame;
mod header;
mod host;
mod kernel;
mod ledger_rows;
mod log;
mod netlink;
mod rules;
mod template;

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    static TARGET: OnceLock<fn(&[u8])> = OnceLock::new();
    TARGET.get_or_init(chosen)(bytes);
});

fn chosen() -> fn(&[u8]) {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let found = TARGETS.iter().find(|(target, _)| *target == name);
    found.unwrap_or_else(|| panic!("FUZZ_TARGET={name:?} is none of {TARGETS:?}")).1
}

/// Each has a folder in corpus/.
const TARGETS: [(&str, fn(&[u8])); 11] = [
    ("frame", frame::fuzz),
    ("body", body::fuzz),
    ("header", header::fuzz),
    ("rules", rules::fuzz),
    ("host", host::fuzz),
    ("kernel", kernel::fuzz),
    ("ledger", ledger_rows::fuzz),
    ("netlink", netlink::fuzz),
    ("config", config::fuzz),
    ("template", template::fuzz),
    ("log", log::fuzz),
];
