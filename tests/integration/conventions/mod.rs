//! What anybody may expect of an HTTP service: health, figures, events, its document, errors that can
//! be found in the log.

mod certificates;
mod events;
mod flood;
mod health;
mod metrics;
