//! The compiled half of the Python package `coriolis_ovm_exporter`: the client, as Python sees it.
//!
//! | file | what it is |
//! | --- | --- |
//! | `connection` | calls to a node; what they answer goes to Python as JSON |
//! | `streams` | a download and a delta, piece by piece |
//! | `replicate/` | a whole run, and what of it is done in Python |
//! | `waiting` | how Python waits for any of that: without the GIL, and hearing Ctrl-C |
//! | `errors` | what is raised |
//!
//! Names, signatures and types that people use are in the Python half, `package/`.

mod connection;
mod errors;
mod replicate;
mod streams;
mod waiting;

use pyo3::prelude::*;

/// The module `coriolis_ovm_exporter._native`.
#[pymodule]
mod _native {
    #[pymodule_export]
    use super::connection::Connection;
    #[pymodule_export]
    use super::replicate::HttpsWriter;
    #[pymodule_export]
    use super::replicate::replicate;
    #[pymodule_export]
    use super::streams::{Delta, Download};
    use coriolis_ovm_exporter::client::replicate::{Place, Replication};

    // Numbers that both halves go by.
    #[pymodule_export]
    const MOST_AT_A_TIME: usize = Replication::MOST_AT_A_TIME;
    #[pymodule_export]
    const PLACE_AT_START: u64 = Place::AT_START;
    #[pymodule_export]
    const PLACE_AT_END: u64 = Place::AT_END;
    #[pymodule_export]
    const PLACE_LONGEST: u64 = Place::LONGEST;
    #[pymodule_export]
    const PLACES_HERE_AND_THERE: u64 = Place::HERE_AND_THERE;
    #[pymodule_export]
    const PLACES_WRITTEN: usize = Place::MOST_WRITTEN;
}
