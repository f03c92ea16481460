//! Coriolis's destination workers: temporary machines on the destination, on which a program takes
//! the bytes of disks and writes them to attached volumes.
//!
//! | | how the bytes get there | acknowledged | a checksum of what is there |
//! | --- | --- | --- | --- |
//! | [`HttpsWriter`] | a request for each chunk, several at a time, mutual TLS | each chunk; sent again where that fails | yes |
//! | [`MessageWriter`] | messages to the program `write_data`, such as over SSH | each message; a stream that breaks ends the run | no |
//!
//! Neither can be read back, and neither can zero: zeros are written, packed. What lies on a volume nobody
//! can tell ([`Target::is_opaque`](super::Target::is_opaque)), so a replica that has no state is copied
//! in full, over whatever is there, and only with the owner's word
//! ([`WriterOptions::declared_zeroed`], or
//! [`Replication::overwrite`](crate::client::replicate::Replication::overwrite)).
//!
//! A volume under the same name may be another one the next time, or an older copy of itself. Over HTTPS
//! the worker's checksums of some places tell, before an increment goes there; where there are none, only
//! the owner's word does ([`WriterOptions::identity`]).
//!
//! Writes are answered before they have arrived; an error comes with a later call, at the latest with
//! [`flush`](super::Target::flush), after which everything is there or the run has failed.

mod awaited;
mod ending;
mod gathering;
mod https;
mod messages;
mod options;
mod packing;
mod threads;

pub(crate) use ending::is_of_abandoned;
pub use https::{HttpsWorker, HttpsWriter, WorkerKeys};
pub use messages::{MessageStream, MessageWriter};
pub use options::WriterOptions;
pub use packing::Packing;
