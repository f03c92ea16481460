//! A complete node in a temporary folder, to be tried and tested without Oracle VM.

pub mod agent_databases;
pub mod manager;
