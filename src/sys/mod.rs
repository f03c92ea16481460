//! One kernel facility per file; the only room with unsafe code.

pub mod socket;
