//! Both configuration files.

use std::path::Path;

/// What is taken keeps its bounds, and a mistake is one line that steers no terminal.
pub(crate) fn fuzz(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match policy::config::Config::read(&text, Path::new("privd.toml")) {
        Ok(config) => {
            assert!((8..=32).contains(&config.widest_v4.0));
            assert!((16..=128).contains(&config.widest_v6.0));
            assert!((32..=128).contains(&config.ipv6_prefix.0));
            assert!(!config.block_for.is_empty() && config.max_new_blocks_per_minute() > 0);
            assert!(config.socket.0.is_absolute() && config.ledger.0.is_absolute());
            assert!((1..=86_400).contains(&config.reconcile_every.as_secs()));
            assert!(
                config.never_block.iter().all(|net| *net == net.trunc() && net.prefix_len() > 0)
            );
        }
        Err(mistake) => is_one_line(&mistake.to_string()),
    }
    match frontend::server::config::Config::read(&text, Path::new("webhookd.toml")) {
        Ok(config) => {
            assert!(config.limits.max_connections > 0 && config.limits.max_bodies_in_flight > 0);
            assert!(((1 << 10)..=(64 << 20)).contains(&config.limits.max_body));
            assert!(config.audit_log.is_none_or(|path| path.is_absolute()));
            assert!(!config.allow_clients.to_string().is_empty());
        }
        Err(mistake) => is_one_line(&mistake.to_string()),
    }
}

fn is_one_line(words: &str) {
    assert!(!words.chars().any(char::is_control), "{words:?}");
}
