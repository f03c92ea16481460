//! What several topics share.

pub mod counts;
pub mod digest;
pub mod manager;
pub mod node;
pub mod wait;
