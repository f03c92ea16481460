//! What goes over the wire: JSON types, durations. No I/O.

pub mod duration;
