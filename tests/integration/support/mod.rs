//! What several topics share.

pub mod manager;
pub mod node;
