//! One kernel facility per file; the only room with unsafe code.
//!
//! The kernels this runs on go back to Linux 3.8 and 4.1: nothing here needs a newer call, or it
//! falls back.

pub mod aligned;
pub mod allocation;
pub mod allocator;
pub mod attributes;
pub mod block_device;
pub mod child;
pub mod descriptors;
pub mod durable;
pub mod entropy;
pub mod extent_count;
pub mod fiemap;
pub mod file_size;
pub mod file_system;
pub mod flock;
pub mod hole;
pub mod identity;
pub mod nowait;
pub mod occupied;
pub mod ocfs2_inode;
pub mod page_cache;
pub mod reflink;
pub mod regular_file;
pub mod residency;
pub mod socket;
pub mod syncfs;
pub mod uncached;
