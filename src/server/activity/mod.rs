//! What the daemon does now that takes a while: told to whoever watches, counted in metrics.
//!
//! | file | what it has |
//! | --- | --- |
//! | `registry` | operations that run, and the last ones that ended |
//! | `watch` | what one watcher has been told, and what is new to it |
//! | [`metered`] | a body that counts what it sends |
//! | `events` | `GET /api/v1/events` |
//!
//! Nobody is told anything by the operations themselves: watchers look. One that reads slowly looks
//! less often, and costs neither memory nor anybody's time.

pub(super) mod events;
pub(super) mod metered;
mod registry;
mod watch;

pub use registry::Activities;
pub(super) use registry::{Running, Subject};
