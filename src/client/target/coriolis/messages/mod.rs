//! The SSH writer's messages.
//!
//! The thread that writes packs messages and puts them on a line, on which a few are under way; a
//! conversation on threads of the writer's own sends them and hears their
//! acknowledgements. They are written in the order in which they are sent, and none is sent twice:
//! where the stream breaks nobody knows what has arrived, and the run ends.

mod conversation;
mod line;
mod message;
mod stream;

use std::fmt;
use std::io;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::super::state::State;
use super::super::{Fingerprint, Target};
use super::gathering::{Chunk, Gathering};
use super::threads::Threads;
use super::{Packing, WriterOptions};
use conversation::converse;
use line::Line;
use message::{Payload, end};
pub use stream::MessageStream;

/// Opens a way to the worker.
type Opener = dyn Fn() -> io::Result<MessageStream> + Send + Sync;

/// A volume of a worker on which `write_data` runs, as a target.
///
/// ```no_run
/// use std::process::Command;
/// use std::sync::Arc;
///
/// use coriolis_ovm_exporter::client::replicate::Replication;
/// use coriolis_ovm_exporter::client::target::coriolis::{
///     MessageStream, MessageWriter, WriterOptions,
/// };
///
/// # fn example() -> std::io::Result<()> {
/// let volume = MessageWriter::to("/dev/vdb", WriterOptions::default(), || {
///     let mut ssh = Command::new("ssh");
///     let line = r#"sudo flock /dev/vdb sh -c "./write_data && sync /dev/vdb""#;
///     ssh.args(["worker", line]);
///     MessageStream::of_command(ssh)
/// })?;
/// let run = Replication::of("0004fb0000060000ccaf98a0baa2c186")
///     .target("System.img", Arc::new(volume))
///     .overwrite();
/// # Ok(())
/// # }
/// ```
pub struct MessageWriter {
    device: String,
    name: String,
    options: WriterOptions,
    open: Arc<Opener>,
    threads: Threads,
    state: State,
    line: Arc<Line>,
    work: Mutex<Work>,
}

impl fmt::Debug for MessageWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageWriter")
            .field("name", &self.name)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// What one thread at a time does.
struct Work {
    gathering: Gathering,
    /// Where something was sent since the last flush.
    conversation: Option<Conversation>,
    /// Of the next message.
    number: u32,
}

/// One way to the worker, while it is used.
struct Conversation {
    /// Where messages go.
    messages: UnboundedSender<Vec<u8>>,
    /// How it has ended.
    result: Receiver<io::Result<()>>,
}

impl MessageWriter {
    /// To the device at this path on the worker, by what `open` opens: when it is needed first, and
    /// again after each flush. It is called inside of a tokio runtime.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] for a device's path that no message can have; where no thread
    /// can be started.
    pub fn to(
        device: &str,
        options: WriterOptions,
        open: impl Fn() -> io::Result<MessageStream> + Send + Sync + 'static,
    ) -> io::Result<MessageWriter> {
        if device.is_empty() || device.contains('\0') {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{device:?} is no path of a device"),
            ));
        }
        let options = options.within_limits();
        Ok(MessageWriter {
            device: device.to_owned(),
            name: options
                .name
                .clone()
                .unwrap_or_else(|| format!("{device} by messages")),
            open: Arc::new(open),
            threads: Threads::start()?,
            state: State::new(0, options.declared_zeroed),
            line: Arc::new(Line::new(options.in_flight)),
            work: Mutex::new(Work {
                gathering: Gathering::new(options.chunk, options.in_flight),
                conversation: None,
                number: 0,
            }),
            options,
        })
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where messages go.
    fn conversation<'w>(&self, work: &'w mut Work) -> io::Result<&'w UnboundedSender<Vec<u8>>> {
        if work.conversation.is_none() {
            self.line.ending().check()?;
            let (sender, messages) = unbounded_channel();
            let (ended, result) = mpsc::sync_channel(1);
            let (open, line) = (Arc::clone(&self.open), Arc::clone(&self.line));
            let (patience, name) = (self.options.patience, self.name.clone());
            line.open();
            self.threads.spawn(async move {
                let done = match open() {
                    Ok(stream) => converse(stream, messages, &line, patience).await,
                    Err(error) => Err(error),
                };
                let done = done.map_err(|error| name_it(&name, error));
                if let Err(error) = &done {
                    line.fail(error);
                }
                let _ = ended.send(done);
            });
            work.number = 0;
            work.conversation = Some(Conversation {
                messages: sender,
                result,
            });
        }
        match &work.conversation {
            Some(open) => Ok(&open.messages),
            None => Err(io::Error::other("there is no stream")),
        }
    }

    fn send(&self, work: &mut Work, offset: u64, bytes: &[u8], packs: bool) -> io::Result<()> {
        let payload = Payload::of(&self.device, offset, bytes, packs)?;
        let sender = self.conversation(work)?.clone();
        let number = work.number;
        let message = payload.message(number)?;
        self.line.begin(number)?;
        // Where nobody takes it, the line says why.
        let _ = sender.send(message);
        work.number = number.wrapping_add(1);
        Ok(())
    }

    fn send_all(&self, work: &mut Work, chunks: Vec<Chunk>) -> io::Result<()> {
        for chunk in chunks {
            let packs = self.options.packing.is_worth_it(self.line.is_full());
            self.send(work, chunk.offset, &chunk.bytes, packs)?;
        }
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut work = self.work();
        // What these bytes replace goes first.
        let replaced = work.gathering.take(&(offset..offset + bytes.len() as u64));
        self.send_all(&mut work, replaced)?;
        let ready = work.gathering.add(offset, bytes);
        self.send_all(&mut work, ready)
    }

    fn write_zeros(&self, offset: u64, length: u64) -> io::Result<()> {
        let mut work = self.work();
        let replaced = work.gathering.take(&(offset..offset + length));
        self.send_all(&mut work, replaced)?;
        let chunk = self.options.chunk as u64;
        let zeros = vec![0; usize::try_from(length.min(chunk)).map_err(io::Error::other)?];
        let packs = self.options.packing != Packing::Never;
        let mut done = 0;
        while done < length {
            let count = (length - done).min(chunk);
            let here = usize::try_from(count).map_err(io::Error::other)?;
            self.send(&mut work, offset + done, &zeros[..here], packs)?;
            done += count;
        }
        Ok(())
    }

    fn finish(&self) -> io::Result<()> {
        let mut work = self.work();
        let rest = work.gathering.take_all();
        self.send_all(&mut work, rest)?;
        self.line.ending().check()?;
        if work.conversation.is_none() {
            return Ok(());
        }
        // Where that fails the conversation stays, for whoever gives the writer up to wait for.
        self.line.close(work.number)?;
        let Some(Conversation { messages, result }) = work.conversation.take() else {
            return Ok(());
        };
        let _ = messages.send(end(work.number));
        // The other side sees the end of its input.
        drop(messages);
        // In any case until nobody writes any more.
        let done = result.recv();
        self.line.ending().check()?;
        done.map_err(|_| io::Error::other("the conversation ended badly"))?
    }
}

/// The error of a stream, with the target's name before it.
fn name_it(name: &str, error: io::Error) -> io::Error {
    io::Error::new(
        error.kind(),
        format!("{name}: cannot go on writing: {error}"),
    )
}

impl Target for MessageWriter {
    /// Nobody can say: 0.
    fn size(&self) -> io::Result<u64> {
        Ok(0)
    }

    fn prepare(&self, disk: u64) -> io::Result<()> {
        self.state.set_limit(disk);
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.state.check(&self.name, offset, bytes.len() as u64)?;
        self.line.ending().check()?;
        if bytes.is_empty() {
            return Ok(());
        }
        self.state.is_written_to();
        let done = self.write(offset, bytes);
        done.inspect_err(|error| self.line.fail(error))
    }

    fn zero(&self, offset: u64, length: u64) -> io::Result<()> {
        self.state.check(&self.name, offset, length)?;
        self.line.ending().check()?;
        if length == 0 {
            return Ok(());
        }
        self.state.is_written_to();
        let done = self.write_zeros(offset, length);
        done.inspect_err(|error| self.line.fail(error))
    }

    /// Returns when the other side has acknowledged every message, and, where it is a program, has
    /// ended well.
    fn flush(&self) -> io::Result<()> {
        self.finish().inspect_err(|error| self.line.fail(error))
    }

    fn abandon(&self) {
        self.line.abandon(&self.name);
        let conversation = self.work().conversation.take();
        if let Some(Conversation { messages, result }) = conversation {
            // What was sent may arrive; the end of its input is the end of the other side.
            drop(messages);
            let _ = result.recv();
        }
    }

    fn is_opaque(&self) -> bool {
        true
    }

    fn fingerprint(&self) -> io::Result<Option<Fingerprint>> {
        Ok(self.options.fingerprint())
    }

    fn zeroed(&self) -> bool {
        self.state.is_blank()
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}
