//! The unprivileged side: `webhookd`, which speaks HTTPS to Kibana, and `webhookctl`, the
//! operator's command. Both know webhook-privd only through its socket.
//!
//! The way of an alert: [`server::pipeline`] gives its connection a place and a handshake,
//! [`server::routes`] checks who asks ([`server::admission`]), reads the body
//! ([`server::body`]), asks privd ([`privd_client`]) and words the answer ([`server::answer`]).

pub mod ctl;
#[cfg(test)]
mod fake_privd;
pub mod privd_client;
pub mod regular;
pub mod server;
pub mod term;
pub mod times;
