//! What the daemon's program does, a file for each subcommand.

pub mod check_config;
pub mod demo;
pub mod doctor;
pub mod init;
mod instance;
pub mod log;
pub mod purge;
pub mod random_numbers;
mod recovery;
mod reload;
pub mod serve;
mod service_files;
mod service_manager;
pub mod token;
