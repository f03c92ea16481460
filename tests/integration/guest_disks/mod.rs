//! What is said of a guest's disk, of images that real tools have made. `blkid` and `partx` are asked
//! the same.

mod damage;
pub mod images;
mod mutations;
mod superblocks;
mod tables;
