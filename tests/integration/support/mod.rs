//! What several topics share.

pub mod daemon;
pub mod counts;
pub mod manager;
pub mod node;
