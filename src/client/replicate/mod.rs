//! Keeping a replica of a virtual machine's disks: a whole run, again and again.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use coriolis_ovm_exporter::client::replicate::{Replication, StateFile};
//! use coriolis_ovm_exporter::client::{Client, Trust};
//!
//! let trust = Trust::Authority(std::fs::read("ca-pub.pem")?);
//! let client = Client::login("https://ovs1.example:5544", "admin", "password", &trust).await?;
//! let outcome = Replication::of("0004fb0000060000ccaf98a0baa2c186")
//!     .from(client)
//!     .state(StateFile::open("/var/lib/replicas/web.json")?)
//!     .to_files("/replicas/web")
//!     .verified()
//!     .run()
//!     .await?;
//! for disk in &outcome.disks {
//!     println!("{}: {} ({})", disk.name, disk.how, disk.why);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A run takes a snapshot, brings each disk's target from the base in the [state](ReplicaState) to
//! it, flushes, checks if asked, **only then** saves the new base, and drops the old one. What a
//! run that was killed has left is in the state, and the next run deals with it first:
//!
//! | the state says | left by a run that was ended | what the next run does |
//! | --- | --- | --- |
//! | a key, no snapshot | before it knew of its snapshot | takes another one; looks for that one by the key, for a day, and drops it |
//! | a snapshot, no disk written | before it wrote | drops it |
//! | a snapshot, disks written | while it wrote | finishes it: the same delta again, from the start. Then goes on to a fresh one |
//! | the same, but the snapshot is gone | | compares the written disks by digests, or copies them in full |
//! | snapshots to be dropped | after it had saved the new base | drops them |
//!
//! A file that somebody else has changed since the last run, such as by restoring it from a backup,
//! is told by its inode and its times, and compared by digests. While a run writes, it saves every
//! few seconds when its files were changed last, so that what somebody puts there after a run that
//! was killed is told too. A device is told by its serial number and by samples of its bytes; once a
//! run was killed while it wrote to it, by its serial number alone. Have the run
//! [verified](Replication::verified) where anything else may have been written there.
//!
//! A volume of a worker, which cannot be read from here, is known by what lies on it: before an increment
//! goes there, the worker's checksums of some places, those that were written last among them, are compared
//! with what the base has there. Where they differ, or nobody can make any and the caller has not said which
//! volume it is, the run is refused, or with [`Replication::overwrite`] everything is copied.
//!
//! The third line is why a run that wrote is not just repeated with a newer snapshot: a block that
//! differs between base and the snapshot half applied, and is in the newer one again as it was in
//! the base, is in no delta from the base to that, and would keep the bytes of the one between.

mod at_work;
mod cancellation;
mod checksums;
mod digesting;
mod disk;
mod dispenser;
mod endpoints;
mod error;
mod goals;
mod halt;
mod job;
mod journal;
mod look;
mod lost;
mod options;
mod outcome;
mod past;
mod places;
mod plan;
mod progress;
mod proof;
mod rate;
mod replication;
mod run;
mod state;
mod state_file;
mod stop;
mod store;
mod streaming;
mod tally;
mod transfer;
mod verification;
mod watch;
mod writing;

pub use cancellation::Cancellation;
pub use error::ReplicateError;
pub use outcome::{DiskOutcome, EndpointShare, How, Outcome};
pub use places::Place;
pub use progress::{Event, Progress};
pub use rate::LEAST_RATE;
pub use replication::Replication;
pub use state::{DiskState, Pending, ReplicaState, STATE_VERSION};
pub use state_file::StateFile;
pub use store::{InMemory, StateStore};
pub use verification::{Verification, verify};
