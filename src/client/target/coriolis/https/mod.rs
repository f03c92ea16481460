//! The HTTPS writer.
//!
//! The thread that writes gathers bytes to chunks, and packs them; threads of the
//! writer's own send [several of them](flight) at a time. What was refused or lost on the way is sent
//! again: the same bytes to the same place. The device is acquired before anything is written, or
//! checked, and released by each flush, which is when the worker has closed it.

mod answer;
mod checksum;
mod flight;

mod keys;
mod patience;
mod worker;

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;

use super::super::state::State;
use super::super::{Fingerprint, Target};
use super::ending::GRACE;
use super::gathering::{Chunk, Gathering};
use super::packing::gzip;
use super::{Packing, WriterOptions};
use flight::{Flight, Ticket};
pub use keys::WorkerKeys;
use patience::{Attempts, failed};
pub use worker::HttpsWorker;
use worker::{Body, DeviceCalls};

/// Zeros up to so many bytes are gathered with what is around them.
const FEW: u64 = 64 << 10;

/// A volume of a worker, as a target.
///
/// ```no_run
/// use std::path::Path;
/// use std::sync::Arc;
///
/// use coriolis_ovm_exporter::client::replicate::Replication;
/// use coriolis_ovm_exporter::client::target::coriolis::{
///     HttpsWorker, HttpsWriter, WorkerKeys, WriterOptions,
/// };
///
/// # fn example() -> std::io::Result<()> {
/// let file = |name| Path::new("/etc/replica").join(name);
/// let keys = WorkerKeys::read(&file("ca.pem"), &file("cert.pem"), &file("key.pem"))?;
/// let worker = HttpsWorker::at("https://10.0.0.5:5566", &keys)?;
/// let volume = HttpsWriter::to(&worker, "/dev/vdb", WriterOptions {
///     declared_zeroed: true,
///     ..WriterOptions::default()
/// });
/// let run = Replication::of("0004fb0000060000ccaf98a0baa2c186")
///     .target("System.img", Arc::new(volume))
///     .verified(); // by a checksum on the worker
/// # Ok(())
/// # }
/// ```
pub struct HttpsWriter {
    device: Arc<Device>,
}

impl fmt::Debug for HttpsWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpsWriter")
            .field("name", &self.device.name)
            .field("options", &self.device.options)
            .finish_non_exhaustive()
    }
}

/// What the writer and its threads share.
struct Device {
    worker: HttpsWorker,
    calls: DeviceCalls,
    name: String,
    options: WriterOptions,
    /// Whether something was written, and how far may be.
    state: State,
    gathering: Mutex<Gathering>,
    flight: Arc<Flight>,
    /// Whether the device is ours. Held while that changes.
    is_held: Mutex<bool>,
    /// A chunk of zeros.
    zeros: OnceLock<Body>,
}

impl HttpsWriter {
    /// To the device at this path on the worker. Nothing is sent yet.
    #[must_use]
    pub fn to(worker: &HttpsWorker, device: &str, options: WriterOptions) -> HttpsWriter {
        let options = options.within_limits();
        let own = || format!("{} on {}", device, worker.endpoint());
        HttpsWriter {
            device: Arc::new(Device {
                calls: worker.device(device),
                worker: worker.clone(),
                name: options.name.clone().unwrap_or_else(own),
                state: State::new(0, options.declared_zeroed),
                gathering: Mutex::new(Gathering::new(options.chunk, options.in_flight)),
                flight: Arc::new(Flight::new(options.in_flight)),
                is_held: Mutex::new(false),
                zeros: OnceLock::new(),
                options,
            }),
        }
    }
}

impl Device {
    fn gathering(&self) -> MutexGuard<'_, Gathering> {
        let gathering = self.gathering.lock();
        gathering.unwrap_or_else(PoisonError::into_inner)
    }

    fn attempts(&self) -> Attempts {
        Attempts::new(self.options.patience, Arc::clone(&self.flight))
    }

    /// Sees that the device is ours.
    fn hold(&self) -> io::Result<()> {
        let mut is_held = self.is_held.lock().unwrap_or_else(PoisonError::into_inner);
        if *is_held {
            return Ok(());
        }
        self.flight.ending().check()?;
        let (calls, attempts) = (self.calls.clone(), self.attempts());
        let done = self.worker.threads().wait(async move {
            let call = || calls.acquire();
            attempts.until(call, |e| e.is_transient_for_device()).await
        })?;
        done.map_err(|error| failed(&self.name, "acquire the device", &error))?;
        *is_held = true;
        Ok(())
    }

    /// Lets go of the device, where it is ours. Asked once: the worker's kernel tells of a lost write to
    /// one close only, so that a second answer could call well what the first one did not.
    fn release(&self) -> io::Result<()> {
        let mut is_held = self.is_held.lock().unwrap_or_else(PoisonError::into_inner);
        if !*is_held {
            return Ok(());
        }
        let (calls, attempts) = (self.calls.clone(), self.attempts());
        let done = self.worker.threads().wait(async move {
            let call = || calls.release();
            attempts.until(call, |_| false).await
        })?;
        done.map_err(|error| failed(&self.name, "release the device", &error))?;
        *is_held = false;
        Ok(())
    }

    /// In this order, each before anything that overlaps with it and comes later: the gathering that
    /// they come from is locked meanwhile. None of them may overlap with another.
    fn begin(&self, chunks: Vec<Chunk>) -> io::Result<Vec<(Ticket, Chunk)>> {
        let begun = chunks.into_iter().map(|chunk| {
            let ticket = self.flight.begin(chunk.range())?;
            Ok((ticket, chunk))
        });
        begun.collect()
    }

    fn send_all(&self, chunks: Vec<(Ticket, Chunk)>) -> io::Result<()> {
        for (ticket, chunk) in chunks {
            let is_full = self.flight.is_full();
            let packing = self.options.packing.is_worth_it(is_full);
            let packed = if packing { gzip(&chunk.bytes)? } else { None };
            let length = chunk.bytes.len() as u64;
            let body = Body {
                is_gzip: packed.is_some(),
                bytes: packed.unwrap_or(chunk.bytes).into(),
            };
            self.send(ticket, chunk.offset, length, body)?;
        }
        Ok(())
    }

    /// Returns when it is its turn, not when it has arrived.
    fn send(&self, mut ticket: Ticket, offset: u64, length: u64, body: Body) -> io::Result<()> {
        let ready = self.hold().and_then(|()| ticket.wait_for_turn());
        if let Err(error) = ready {
            ticket.has_failed(&error);
            return Err(error);
        }
        let (calls, attempts) = (self.calls.clone(), self.attempts());
        let name = self.name.clone();
        self.worker.threads().spawn(async move {
            let call = || calls.write(offset, body.clone());
            match attempts.until(call, |e| e.is_transient()).await {
                Ok(()) => ticket.has_arrived(),
                Err(error) => {
                    let deed = format!("write {length} bytes at {offset}");
                    ticket.has_failed(&failed(&name, &deed, &error));
                }
            }
        });
        Ok(())
    }

    /// Sends what it has gathered of a range.
    fn send_gathered(&self, range: &Range<u64>) -> io::Result<()> {
        let ready = {
            let mut gathering = self.gathering();
            let chunks = gathering.take(range);
            self.begin(chunks)?
        };
        self.send_all(ready)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        // What these bytes replace goes first.
        self.send_gathered(&(offset..offset + bytes.len() as u64))?;
        let ready = {
            let mut gathering = self.gathering();
            let chunks = gathering.add(offset, bytes);
            self.begin(chunks)?
        };
        self.send_all(ready)
    }

    /// So many zeros, at most a chunk.
    fn zeros(&self, length: u64) -> io::Result<Body> {
        let length = usize::try_from(length).map_err(io::Error::other)?;
        let is_whole = length == self.options.chunk;
        if let Some(whole) = self.zeros.get().filter(|_| is_whole) {
            return Ok(whole.clone());
        }
        let zeros = vec![0; length];
        let packed = match self.options.packing {
            Packing::Never => None,
            Packing::Auto | Packing::Always => gzip(&zeros)?,
        };
        let body = Body {
            is_gzip: packed.is_some(),
            bytes: Bytes::from(packed.unwrap_or(zeros)),
        };
        Ok(if is_whole {
            self.zeros.get_or_init(|| body).clone()
        } else {
            body
        })
    }

    fn write_zeros(&self, range: Range<u64>) -> io::Result<()> {
        self.send_gathered(&range)?;
        let mut offset = range.start;
        while offset < range.end {
            let length = (range.end - offset).min(self.options.chunk as u64);
            let ticket = self.flight.begin(offset..offset + length)?;
            self.send(ticket, offset, length, self.zeros(length)?)?;
            offset += length;
        }
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        self.flight.ending().check()?;
        let ready = {
            let mut gathering = self.gathering();
            let chunks = gathering.take_all();
            self.begin(chunks)?
        };
        self.send_all(ready)?;
        self.flight.settle();
        self.flight.ending().check()?;
        // Only what was closed on the worker is where it should be.
        self.release()
    }

    /// Lets go of the device as well as it can.
    fn abandon(&self) {
        self.flight.abandon(&self.name);
        self.flight.settle();
        let mut is_held = self.is_held.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::take(&mut *is_held) {
            return;
        }
        let calls = self.calls.clone();
        let released = self.worker.threads().wait(async move {
            let released = tokio::time::timeout(GRACE, calls.release()).await;
            released
                .map_err(|_| "no answer".to_owned())?
                .map_err(|error| error.to_string())
        });
        if !matches!(released, Ok(Ok(()))) {
            tracing::debug!(target = self.name, ?released, "the device was not released");
        }
    }
}

impl Target for HttpsWriter {
    /// Nobody can say: 0.
    fn size(&self) -> io::Result<u64> {
        Ok(0)
    }

    fn prepare(&self, disk: u64) -> io::Result<()> {
        self.device.state.set_limit(disk);
        // Refused before anything is written, if it is.
        let held = self.device.hold();
        held.inspect_err(|error| self.device.flight.fail(error))
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let device = &self.device;
        device
            .state
            .check(&device.name, offset, bytes.len() as u64)?;
        device.flight.ending().check()?;
        if bytes.is_empty() {
            return Ok(());
        }
        device.state.is_written_to();
        let done = device.write(offset, bytes);
        done.inspect_err(|error| device.flight.fail(error))
    }

    fn zero(&self, offset: u64, length: u64) -> io::Result<()> {
        let device = &self.device;
        device.state.check(&device.name, offset, length)?;
        device.flight.ending().check()?;
        if length == 0 {
            return Ok(());
        }
        device.state.is_written_to();
        let done = match usize::try_from(length) {
            Ok(few) if length <= FEW => device.write(offset, &vec![0; few]),
            _ => device.write_zeros(offset..offset + length),
        };
        done.inspect_err(|error| device.flight.fail(error))
    }

    /// Returns when the worker has acknowledged every chunk, and has let go of the device.
    fn flush(&self) -> io::Result<()> {
        let done = self.device.flush();
        done.inspect_err(|error| self.device.flight.fail(error))
    }

    /// By a checksum job on the worker. [`io::ErrorKind::Unsupported`] where it knows of none,
    /// [`io::ErrorKind::InvalidData`] where the job has failed, or its result is none.
    fn sha256(&self, range: Range<u64>) -> io::Result<Option<String>> {
        self.device.sha256(range).map(Some)
    }

    fn abandon(&self) {
        self.device.abandon();
    }

    fn is_opaque(&self) -> bool {
        true
    }

    fn fingerprint(&self) -> io::Result<Option<Fingerprint>> {
        Ok(self.device.options.fingerprint())
    }

    fn zeroed(&self) -> bool {
        self.device.state.is_blank()
    }

    fn name(&self) -> String {
        self.device.name.clone()
    }
}

impl Drop for HttpsWriter {
    fn drop(&mut self) {
        let is_held = self.device.is_held.lock();
        if !*is_held.unwrap_or_else(PoisonError::into_inner) {
            return;
        }
        // Nobody waits: a run that has ended badly has waited for `abandon`.
        let device = Arc::clone(&self.device);
        let threads = self.device.worker.threads();
        threads.spawn_blocking(move || device.abandon());
    }
}
