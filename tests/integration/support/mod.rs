//! What several topics share.

pub mod manager;
