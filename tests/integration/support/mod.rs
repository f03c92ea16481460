//! What several topics share.

pub mod daemon;
pub mod manager;
pub mod node;
