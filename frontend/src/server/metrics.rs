//! What is counted, in the text format of OpenMetrics 1.0, which Prometheus and Metricbeat read.
//!
//! Names and units follow <https://prometheus.io/docs/practices/naming/>: base units, `_total` on what
//! only grows (the format adds it), seconds since the Unix epoch as `_timestamp_seconds`.

use std::fmt;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Metric, Registry, Unit};
use protocol::{Durations, Outcome, Refusal, Status};

use crate::server::admission::Reason;

/// The type of what [`Metrics::text`] returns.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What webhookd counts since it started.
#[derive(Debug, Default)]
pub struct Metrics {
    requests: Family<[(&'static str, u16); 1], Counter>,
    addresses: Family<Label, Counter>,
    refusals: Family<Label, Counter>,
    auth_failures: Family<Label, Counter>,
}

/// What is asked for when the metrics are read.
#[derive(Debug)]
pub struct Readings<'a> {
    /// privd's state; None when it does not answer.
    pub privd: Option<&'a Status>,
    /// When the certificate ends, in seconds since the Unix epoch.
    pub certificate_ends: Option<i64>,
    /// Lines of webhookd's audit log that could not be written.
    pub lost_lines: u64,
}

impl Metrics {
    /// Nothing yet, but under each name that there can be: a rate is seen from the first one on.
    #[must_use]
    pub fn new() -> Self {
        let metrics = Self::default();
        for refusal in Refusal::ALL {
            drop(metrics.refusals.get_or_create(&[("reason", refusal.name())]));
        }
        for reason in Reason::ALL {
            drop(metrics.auth_failures.get_or_create(&[("reason", reason.name())]));
        }
        for outcome in Outcome::NAMES {
            drop(metrics.addresses.get_or_create(&[("outcome", outcome)]));
        }
        metrics
    }

    /// A request of somebody who was let in.
    pub fn answered(&self, status: u16) {
        self.requests.get_or_create(&[("status", status)]).inc();
    }

    /// What became of one address.
    pub fn decided(&self, outcome: &Outcome) {
        self.addresses.get_or_create(&[("outcome", outcome.name())]).inc();
        if let Outcome::Refused(refusal) = outcome {
            self.refusals.get_or_create(&[("reason", refusal.name())]).inc();
        }
    }

    /// Somebody was not let in.
    pub fn turned_away(&self, reason: Reason) {
        self.auth_failures.get_or_create(&[("reason", reason.name())]).inc();
    }

    /// All of it, as text.
    #[must_use]
    pub fn text(&self, readings: &Readings<'_>) -> String {
        let mut registry = Registry::default();
        let own = registry.sub_registry_with_prefix("webhookd");
        own.register("requests", "Answered webhook requests", self.requests.clone());
        own.register("addresses", "Addresses by outcome", self.addresses.clone());
        own.register("refusals", "Addresses that policy refused", self.refusals.clone());
        own.register("auth_failures", "Requests not let in", self.auth_failures.clone());
        own.register("audit_lines_lost", LOST, ConstCounter::new(readings.lost_lines));
        if let Some(ends) = readings.certificate_ends {
            let help = "When the certificate expires";
            seconds(own, "certificate_expiry_timestamp", help, ConstGauge::new(ends));
        }
        let privd = registry.sub_registry_with_prefix("webhook_privd");
        let up = i64::from(readings.privd.is_some());
        privd.register("up", "Whether webhook-privd answers", ConstGauge::new(up));
        if let Some(status) = readings.privd {
            register(privd, status);
        }
        let mut text = String::new();
        // A string takes everything.
        let _ = encode(&mut text, &registry);
        text
    }
}

fn register(registry: &mut Registry, status: &Status) {
    let usable = i64::from(status.problem.is_none());
    registry.register("usable", "Whether blocks can be put in force", ConstGauge::new(usable));
    for (name, help, value) in [
        ("live_blocks", "Blocks that have not ended", status.live_blocks),
        ("blocks_not_in_force", "Live blocks missing from the firewall", status.not_in_force),
        ("max_blocks", "max-blocks of privd.toml", status.max_blocks),
        ("queued_requests", "Requests that wait for the firewall", status.queued),
    ] {
        registry.register(name, help, ConstGauge::new(value));
    }
    let drift = "Blocks found missing from the firewall and put back";
    registry.register("drift", drift, ConstCounter::new(status.drift));
    registry.register("audit_lines_lost", LOST, ConstCounter::new(status.lost_lines));
    if let Some(time) = status.verified_at {
        let help = "When rules and kernel were last read back";
        seconds(registry, "last_reconcile_timestamp", help, ConstGauge::new(time));
    }
    let help = "How long each batch of changes of the firewall took, read back included";
    seconds(registry, "firewall_change_duration", help, Histogram(status.changes));
}

fn seconds(registry: &mut Registry, name: &str, help: &str, metric: impl Metric) {
    registry.register_with_unit(name, help, Unit::Seconds, metric);
}

const LOST: &str = "Lines of the audit log that could not be written";

type Label = [(&'static str, &'static str); 1];

/// privd's durations, as the format has them.
#[derive(Debug)]
struct Histogram(Durations);

impl EncodeMetric for Histogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let bucket = |(bound, count): (Option<u32>, u64)| {
            (bound.map_or(f64::INFINITY, |millis| f64::from(millis) / 1_000.0), count)
        };
        let buckets: Vec<(f64, u64)> = self.0.counts().map(bucket).collect();
        let sum = self.0.sum().as_secs_f64();
        encoder.encode_histogram::<NoLabelSet>(sum, self.0.count(), &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::fake_privd;

    #[test]
    fn everything_is_there_under_its_conventional_name() {
        let metrics = Metrics::new();
        metrics.answered(200);
        metrics.answered(200);
        metrics.decided(&Outcome::Failed);
        metrics.decided(&Outcome::Refused(Refusal::Gateway));
        metrics.turned_away(Reason::WrongToken);
        let mut changes = Durations::default();
        changes.note(Duration::from_millis(40));
        changes.note(Duration::from_millis(300));
        changes.note(Duration::from_secs(60));
        let status = Status { changes, verified_at: Some(1_790_000_000), ..fake_privd::status() };
        let readings =
            Readings { privd: Some(&status), certificate_ends: Some(2_000_000_000), lost_lines: 3 };
        let text = metrics.text(&readings);
        for line in [
            "# TYPE webhookd_requests counter",
            "webhookd_requests_total{status=\"200\"} 2",
            "webhookd_addresses_total{outcome=\"failed\"} 1",
            "webhookd_refusals_total{reason=\"gateway\"} 1",
            "webhookd_refusals_total{reason=\"too-wide\"} 0",
            "webhookd_addresses_total{outcome=\"blocked\"} 0",
            "webhookd_auth_failures_total{reason=\"bad token\"} 1",
            "webhookd_certificate_expiry_timestamp_seconds 2000000000",
            "webhookd_audit_lines_lost_total 3",
            "webhook_privd_up 1",
            "webhook_privd_usable 1",
            "webhook_privd_live_blocks 3",
            "webhook_privd_max_blocks 2000",
            "webhook_privd_queued_requests 0",
            "webhook_privd_drift_total 0",
            "webhook_privd_audit_lines_lost_total 0",
            "webhook_privd_last_reconcile_timestamp_seconds 1790000000",
            "webhook_privd_firewall_change_duration_seconds_bucket{le=\"0.025\"} 0",
            "webhook_privd_firewall_change_duration_seconds_bucket{le=\"0.05\"} 1",
            "webhook_privd_firewall_change_duration_seconds_bucket{le=\"0.5\"} 2",
            "webhook_privd_firewall_change_duration_seconds_bucket{le=\"+Inf\"} 3",
            "webhook_privd_firewall_change_duration_seconds_count 3",
            "webhook_privd_firewall_change_duration_seconds_sum 60.34",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(text.ends_with("# EOF\n"), "{text}");
        let without =
            metrics.text(&Readings { privd: None, certificate_ends: None, lost_lines: 0 });
        assert!(without.contains("\nwebhook_privd_up 0\n"), "{without}");
        assert!(!without.contains("live_blocks"), "{without}");
    }
}
