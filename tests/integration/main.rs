//! All integration tests, one binary, a module per topic.

mod berkeley_db;
mod vm_config;
