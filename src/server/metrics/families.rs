//! What is counted as it happens.

use std::sync::Arc;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::{Counter, PREFIX};

/// Upper ends of the durations that are told apart, seconds: from what is in memory to what compares
/// bytes for as long as it may.
const SECONDS: [f64; 9] = [0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 30.0, 120.0];

/// Counters of this daemon.
#[derive(Debug)]
pub struct Metrics {
    pub(super) registry: Registry,
    requests: Family<RequestLabels, Counter>,
    durations: Family<RouteLabels, Histogram, fn() -> Histogram>,
    sent: Family<SentLabels, Counter>,
    logins: Family<LoginLabels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    method: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: String,
    method: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SentLabels {
    kind: Sent,
}

/// What is sent in bulk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(in crate::server) enum Sent {
    /// Disks, whole or in ranges.
    #[allow(non_camel_case_types)]
    disk,
    /// Deltas.
    #[allow(non_camel_case_types)]
    delta,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LoginLabels {
    outcome: Login,
}

/// How a login went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(in crate::server) enum Login {
    /// The manager knows the user.
    #[allow(non_camel_case_types)]
    accepted,
    /// It does not.
    #[allow(non_camel_case_types)]
    refused,
    /// It was not asked: too many were refused before.
    #[allow(non_camel_case_types)]
    slowed,
    /// It does not answer, or not as it should.
    #[allow(non_camel_case_types)]
    failed,
}

impl Metrics {
    /// All at zero.
    #[must_use]
    pub fn new() -> Arc<Metrics> {
        let mut registry = Registry::with_prefix(PREFIX);
        let requests = Family::default();
        registry.register("requests", "Requests answered", requests.clone());
        let durations: Family<RouteLabels, Histogram, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new(SECONDS));
        registry.register_with_unit(
            "request_duration",
            "From a request's headers to those of its answer",
            Unit::Seconds,
            durations.clone(),
        );
        let sent = Family::default();
        registry.register_with_unit(
            "sent",
            "What disks and deltas have handed to connections",
            Unit::Bytes,
            sent.clone(),
        );
        let logins = Family::default();
        registry.register("logins", "Logins, by how they went", logins.clone());
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "This daemon", build);
        let metrics = Metrics {
            registry,
            requests,
            durations,
            sent,
            logins,
        };
        // So that they are there before the first one.
        for login in [
            Login::accepted,
            Login::refused,
            Login::slowed,
            Login::failed,
        ] {
            let labels = LoginLabels { outcome: login };
            metrics.logins.get_or_create_owned(&labels);
        }
        for kind in [Sent::disk, Sent::delta] {
            metrics.sent(kind);
        }
        Arc::new(metrics)
    }

    /// A request was answered. `route` is a template, never a path: there are few.
    pub(super) fn answered(&self, route: &str, method: &'static str, status: u16, seconds: f64) {
        let labels = RequestLabels {
            route: route.to_owned(),
            method,
            status,
        };
        self.requests.get_or_create(&labels).inc();
        let labels = RouteLabels {
            route: route.to_owned(),
            method,
        };
        self.durations.get_or_create(&labels).observe(seconds);
    }

    /// Where bytes of that kind are counted.
    pub(in crate::server) fn sent(&self, kind: Sent) -> Counter {
        self.sent.get_or_create_owned(&SentLabels { kind })
    }

    /// A login went so.
    pub(in crate::server) fn login(&self, outcome: Login) {
        self.logins.get_or_create(&LoginLabels { outcome }).inc();
    }
}
