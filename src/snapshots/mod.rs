//! Life of a snapshot: create, seal, compare, read, delete, recover.
