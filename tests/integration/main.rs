//! All integration tests, one binary, a module per topic.

// clippy.toml allows it in test functions; their helpers stand outside of those.
#![allow(clippy::unwrap_used)]

mod architecture;
mod bench_report;
mod berkeley_db;
mod bolt;
mod cli;
mod comparison;
mod concurrency;
mod conventions;
mod coriolis;
mod crash;
mod defects;
mod documents;
mod error_table;
mod first_steps;
mod guest_disks;
mod guest_volumes;
mod inventory;
mod listener;
mod logs;
mod manager;
mod old_client;
mod openapi;
mod pause;
mod readme;
mod replicate;
mod requests;
mod services;
mod setup;
mod streams;
mod support;
mod targets;
mod troubleshooting;
mod upgrade;
mod vm_config;
