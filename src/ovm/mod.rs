//! What the node tells us, read-only: agent databases, vm.cfg, repositories, domains, the manager.

pub mod manager;
