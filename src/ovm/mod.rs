//! What the node tells us, read-only: agent databases, vm.cfg, repositories, domains, the manager.

pub mod agent;
pub mod berkeley_db;
pub mod domains;
pub mod inventory;
mod looks;
pub mod manager;
pub mod pickle;
pub mod repository;
pub mod vm_config;
pub mod warning_log;
