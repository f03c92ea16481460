//! A complete node in a temporary folder, to be tried and tested without Oracle VM.

pub mod manager;
//! A complete node in a temporary folder, for `demo` and for the tests.

pub mod agent_databases;
