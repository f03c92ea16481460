//! Coriolis's destination workers as targets. The peers are servers to the same wire format, with
//! real TLS, that keep files.

mod https;
mod messages;
pub mod worker;
