//! Extent maps and their comparison: pure arithmetic, no I/O.
