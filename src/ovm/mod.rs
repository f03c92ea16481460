//! What the node tells us, read-only: agent databases, vm.cfg, repositories, domains, the manager.

pub mod domains;
pub mod manager;
pub mod repository;
pub mod vm_config;
