//! The pure part of `make bench`: its own tests, which that program has no harness for.

// What only the bench itself uses.
#[allow(dead_code, unused_imports, clippy::cast_precision_loss)]
#[path = "../../benches/bench/report/mod.rs"]
mod report;
