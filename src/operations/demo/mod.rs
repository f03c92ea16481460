//! A complete node in a temporary folder, to be tried and tested without Oracle VM.

pub mod manager;
