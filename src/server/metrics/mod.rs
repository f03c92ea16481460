//! `/metrics`: figures for Prometheus, in its text format (that of OpenMetrics).
//!
//! | file | what it has |
//! | --- | --- |
//! | `families` | what is counted as it happens |
//! | `gauges` | what is looked up when it is asked for |
//! | `observe` | counting of requests |
//! | `scrape` | the answer, and who gets it |
//! | `token` | the token of their own |
//! | [`listener`] | an address of its own, without TLS |

mod families;
mod gauges;
pub mod listener;
mod observe;
mod scrape;
mod token;

pub use families::Metrics;
pub(super) use families::{Login, Sent};
pub(super) use observe::observe;
pub(super) use scrape::{require_token, show};
pub use token::MetricsToken;

/// A number that goes up.
pub(super) type Counter = prometheus_client::metrics::counter::Counter;

/// Every name begins with it.
const PREFIX: &str = "ovm_exporter";
