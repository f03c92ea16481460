//! What several topics share.

pub mod api;
pub mod bolt;
pub mod counts;
pub mod daemon;
pub mod digest;
pub mod disk;
pub mod frozen;
pub mod manager;
pub mod neighbour;
pub mod node;
pub mod peace;
pub mod silent;
pub mod truth;
pub mod wait;
pub mod wire;
