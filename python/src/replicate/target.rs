//! Where Python writes to.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use coriolis_ovm_exporter::client::target::{self, Fingerprint, Held, Target, TargetOptions};
use coriolis_ovm_exporter::protocol::SnapshotDisk;
use serde_json::json;

use super::calls::{Answer, Caller, Deed, Opened};

/// The target of a disk, from Python's half.
pub(super) fn open(opener: &Caller, disk: &SnapshotDisk) -> io::Result<Option<Arc<dyn Target>>> {
    let told = json!({ "name": disk.name, "size": disk.size, "path": disk.parent_path });
    match opener.ask(Deed::Open(told.to_string()))? {
        Answer::Target(None) => Ok(None),
        Answer::Target(Some(Opened::Path(path, declared_zeroed))) => {
            let options = TargetOptions {
                declared_zeroed,
                ..TargetOptions::default()
            };
            target::open(&path, &options).map(Some)
        }
        Answer::Target(Some(Opened::Https(writer, declared_zeroed))) => {
            writer.get().open(declared_zeroed).map(Some)
        }
        Answer::Target(Some(Opened::Writer(written))) => Ok(Some(Arc::new(Writer {
            line: opener.to(written.object),
            name: written.name,
            is_readable: written.is_readable,
            is_zero: AtomicBool::new(written.is_zero),
        }))),
        _ => Err(unexpected()),
    }
}

/// What takes bytes in Python, on the thread that asked for the run.
struct Writer {
    line: Caller,
    name: String,
    is_readable: bool,
    is_zero: AtomicBool,
}

impl Writer {
    fn ask(&self, deed: Deed) -> io::Result<Answer> {
        self.line
            .ask(deed)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", self.name)))
    }

    fn change(&self, deed: Deed) -> io::Result<()> {
        match self.ask(deed)? {
            Answer::Done => Ok(()),
            Answer::DoesNotHold(reason) => Err(target::does_not_hold(reason)),
            _ => Err(unexpected()),
        }
    }
}

impl Target for Writer {
    fn size(&self) -> io::Result<u64> {
        match self.ask(Deed::Size)? {
            Answer::Size(size) => Ok(size),
            _ => Err(unexpected()),
        }
    }

    fn rely_on(&self, held: Held<'_>) -> io::Result<()> {
        let (what, left) = match held {
            Held::Anything => ("anything", None),
            Held::Zeros => ("zeros", None),
            Held::Base(left) => ("base", left),
        };
        let left = left.map(|left| (left.identity.clone(), left.version.clone()));
        self.ask(Deed::Rely(what, left)).map(drop)
    }

    fn fingerprint(&self) -> io::Result<Option<Fingerprint>> {
        match self.ask(Deed::Looks)? {
            Answer::Looks(looks) => Ok(looks.map(|(identity, version)| Fingerprint {
                identity,
                version,
                changed: None,
            })),
            _ => Err(unexpected()),
        }
    }

    fn prepare(&self, disk: u64) -> io::Result<()> {
        self.ask(Deed::Prepare(disk)).map(drop)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.is_zero.store(false, Ordering::SeqCst);
        self.change(Deed::Write(offset, bytes.to_vec()))
    }

    fn zero(&self, offset: u64, length: u64) -> io::Result<()> {
        self.change(Deed::Zero(offset, length))
    }

    fn flush(&self) -> io::Result<()> {
        self.change(Deed::Flush)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        match self.ask(Deed::Read(offset, buffer.len()))? {
            Answer::Bytes(bytes) if bytes.len() == buffer.len() => {
                buffer.copy_from_slice(&bytes);
                Ok(())
            }
            Answer::Bytes(bytes) => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!(
                    "{}: {} bytes at {offset} were asked for, and it gave {}",
                    self.name,
                    buffer.len(),
                    bytes.len()
                ),
            )),
            _ => Err(unexpected()),
        }
    }

    fn readable(&self) -> bool {
        self.is_readable
    }

    fn zeroed(&self) -> bool {
        self.is_zero.load(Ordering::SeqCst)
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}

fn unexpected() -> io::Error {
    io::Error::other("Python answered something else than was asked for")
}
