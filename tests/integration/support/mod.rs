//! What several topics share.

pub mod counts;
pub mod daemon;
pub mod manager;
pub mod node;
