//! The command `ovm-exporter`: the real program against the real daemon.

mod broken_connections;
pub mod command;
mod download;
mod forms;
mod manual;
mod middle;
mod misuse;
mod pictures;
mod replica;
mod snapshots;
mod workers;
