//! A complete node in a temporary folder, for `demo` and for the tests.

pub mod agent_databases;
