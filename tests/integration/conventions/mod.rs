//! What anybody may expect of an HTTP service: health, figures, events, its document, errors that can
//! be found in the log.

mod events;
mod health;
mod metrics;
