//! The configuration file: reading, checking, secrets.
