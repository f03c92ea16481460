//! One moment for all disks: what a guard does, whatever happens to it and to the daemon.

mod answers;
mod commands;
mod kill;
mod misbehaviour;
mod records;
mod xm;
