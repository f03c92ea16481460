//! The SSH writer's messages, to peers that read them as `write_data` does.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use coriolis_ovm_exporter::client::target::Target;
use coriolis_ovm_exporter::client::target::coriolis::{
    MessageStream, MessageWriter, Packing, WriterOptions,
};
use flate2::read::ZlibDecoder;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use super::super::support::counts::count;
use super::super::support::wait;

const SIZE: usize = 2 << 20;
const CHUNK: usize = 64 << 10;

/// What a peer does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// It ends after so many messages, in the middle of the next one.
    End(u32),
    /// It acknowledges another message than it got.
    WrongNumber,
    /// It takes all and acknowledges nothing.
    Silence,
    /// It does not acknowledge the last message.
    NoFarewell,
}

/// What came.
#[derive(Debug, Default)]
struct Seen {
    messages: AtomicU32,
    packed: AtomicU32,
    conversations: AtomicU32,
    /// Bytes that came, unpacked.
    bytes: AtomicUsize,
}

async fn peer(mut stream: DuplexStream, device: PathBuf, fault: Option<Fault>, seen: Arc<Seen>) {
    seen.conversations.fetch_add(1, SeqCst);
    for expected in 0.. {
        let mut head = [0; 8];
        if stream.read_exact(&mut head).await.is_err() {
            return;
        }
        let word = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().unwrap());
        let (number, length) = (word(0), word(4));
        assert_eq!(number, expected);
        if length == 0 {
            if fault != Some(Fault::NoFarewell) {
                stream.write_all(&number.to_le_bytes()).await.unwrap();
                // Nothing follows the last one.
                assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
            }
            return;
        }
        assert!(length <= 100 << 20);
        let unpacked = stream.read_u32_le().await.unwrap();
        let mut payload = vec![0; length as usize];
        if fault == Some(Fault::End(number)) {
            return;
        }
        if stream.read_exact(&mut payload).await.is_err() {
            return;
        }
        if unpacked > 0 {
            seen.packed.fetch_add(1, SeqCst);
            let packed = std::mem::take(&mut payload);
            ZlibDecoder::new(&packed[..])
                .read_to_end(&mut payload)
                .unwrap();
            assert_eq!(payload.len(), unpacked as usize);
        }
        let end = payload.iter().position(|byte| *byte == 0).unwrap();
        assert_eq!(&payload[..end], b"/dev/vdb");
        let (offset, bytes) = payload[end + 1..].split_at(8);
        let offset = u64::from_le_bytes(offset.try_into().unwrap());
        let file = File::options().write(true).open(&device).unwrap();
        file.write_all_at(bytes, offset).unwrap();
        seen.messages.fetch_add(1, SeqCst);
        seen.bytes.fetch_add(bytes.len(), SeqCst);
        let answer = match fault {
            Some(Fault::Silence) => continue,
            Some(Fault::WrongNumber) if number == 3 => 17,
            _ => number,
        };
        if stream.write_all(&answer.to_le_bytes()).await.is_err() {
            return;
        }
    }
}

struct Scene {
    device: PathBuf,
    seen: Arc<Seen>,
    _folder: TempDir,
}

fn options() -> WriterOptions {
    WriterOptions {
        chunk: CHUNK,
        in_flight: 3,
        patience: Duration::from_secs(1),
        ..WriterOptions::default()
    }
}

impl Scene {
    fn set() -> Scene {
        let folder = tempfile::tempdir().unwrap();
        let device = folder.path().join("vdb");
        std::fs::write(&device, vec![0xee; SIZE]).unwrap();
        Scene {
            device,
            seen: Arc::default(),
            _folder: folder,
        }
    }

    fn writer(&self, fault: Option<Fault>, options: WriterOptions) -> MessageWriter {
        let (device, seen) = (self.device.clone(), Arc::clone(&self.seen));
        MessageWriter::to("/dev/vdb", options, move || {
            let (ours, theirs) = tokio::io::duplex(10_000);
            tokio::spawn(peer(theirs, device.clone(), fault, Arc::clone(&seen)));
            let (output, input) = tokio::io::split(ours);
            Ok(MessageStream::of(input, output))
        })
        .unwrap()
    }

    fn bytes(&self) -> Vec<u8> {
        std::fs::read(&self.device).unwrap()
    }
}

#[test]
fn any_writes_and_zeros_arrive_in_their_order() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let scene = Scene::set();
    let mut expected = vec![0xee; SIZE];
    for packing in [Packing::Always, Packing::Auto, Packing::Never] {
        let packed = scene.seen.packed.load(SeqCst);
        let writer = scene.writer(
            None,
            WriterOptions {
                packing,
                ..options()
            },
        );
        assert!(writer.is_opaque() && !writer.readable());
        assert!(writer.write_at(0, &[1]).is_err(), "it was not prepared");
        writer.prepare(SIZE as u64).unwrap();
        // Twice: the first part of a run, and the second.
        for _ in 0..2 {
            for _ in 0..count(100, 2000) {
                let length = random.random_range(0..50_000);
                let at = random.random_range(0..SIZE - length);
                if random.random_bool(0.3) {
                    writer.zero(at as u64, length as u64).unwrap();
                    expected[at..at + length].fill(0);
                } else {
                    let bytes = vec![random.random(); length];
                    writer.write_at(at as u64, &bytes).unwrap();
                    expected[at..at + length].copy_from_slice(&bytes);
                }
            }
            writer.zero(1000, 200_000).unwrap();
            expected[1000..201_000].fill(0);
            writer.flush().unwrap();
            assert!(scene.bytes() == expected, "seed {seed}");
        }
        let packed = scene.seen.packed.load(SeqCst) - packed;
        assert_eq!(packed > 0, packing != Packing::Never);
        assert_eq!(writer.sha256(0..0).unwrap(), None);
    }
    assert_eq!(scene.seen.conversations.load(SeqCst), 6);
}

#[test]
fn small_writes_go_together() {
    let scene = Scene::set();
    let writer = scene.writer(None, options());
    writer.prepare(SIZE as u64).unwrap();
    for at in 0..100 {
        writer.write_at(at * 1000, &[7; 1000]).unwrap();
    }
    writer.flush().unwrap();
    assert_eq!(scene.seen.messages.load(SeqCst), 2);
    // Nothing to say, nobody to say it to.
    writer.flush().unwrap();
    assert_eq!(scene.seen.conversations.load(SeqCst), 1);
}

#[test]
fn a_stream_that_breaks_is_never_a_success() {
    for (fault, said) in [
        (Fault::End(0), "ended before it had acknowledged"),
        (Fault::End(5), "ended before it had acknowledged"),
        (Fault::WrongNumber, "acknowledges message 17 in place of 3"),
        (Fault::Silence, "acknowledged nothing for"),
        (Fault::NoFarewell, "ended before it had acknowledged"),
    ] {
        let scene = Scene::set();
        let writer = scene.writer(Some(fault), options());
        writer.prepare(SIZE as u64).unwrap();
        let mut done = Ok(());
        for at in 0..20 {
            done = done.and_then(|()| writer.write_at(at * 100_000, &[1; 70_000]));
        }
        let error = done.and_then(|()| writer.flush()).unwrap_err();
        println!("{fault:?}: {error}");
        let text = error.to_string();
        // A pipe may break before its end is read.
        let is_broken = matches!(fault, Fault::End(_)) && text.contains("broken pipe");
        assert!(text.contains(said) || is_broken, "{text}");
        assert!(text.starts_with("/dev/vdb by messages: "), "{text}");
        assert!(writer.flush().is_err() && writer.write_at(0, &[1]).is_err());
        writer.abandon();
    }
}

#[test]
fn no_more_messages_are_under_way_than_are_allowed() {
    let scene = Scene::set();
    let writer = Arc::new(scene.writer(
        Some(Fault::Silence),
        WriterOptions {
            patience: Duration::from_secs(600),
            ..options()
        },
    ));
    writer.prepare(SIZE as u64).unwrap();
    let target = Arc::clone(&writer);
    let writing = std::thread::spawn(move || {
        let all = (0..10).map(|at| target.write_at(at * CHUNK as u64, &[1; CHUNK]));
        all.collect::<io::Result<()>>().unwrap_err()
    });
    wait::until("three have come", || scene.seen.messages.load(SeqCst) == 3);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(scene.seen.messages.load(SeqCst), 3);
    writer.abandon();
    let error = writing.join().unwrap().to_string();
    assert!(error.contains("the run was ended"), "{error}");
}

/// `write_data` as the format describes it, for a program that is spoken to.
fn program(more: &str) -> Command {
    let script =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/integration/coriolis/write_data.py");
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg(format!("python3 '{}' && {more}", script.display()));
    command
}

#[test]
fn a_program_is_spoken_to_and_its_end_counts() {
    let scene = Scene::set();
    let device = scene.device.to_str().unwrap().to_owned();
    for (more, size, said) in [
        ("true", SIZE, None),
        // It has to bring everything to storage, and cannot.
        ("exit 9", SIZE, Some("exit status: 9")),
        ("true", SIZE + 1, Some("past the end of the device")),
    ] {
        let writer = MessageWriter::to(&device, options(), move || {
            MessageStream::of_command(program(more))
        })
        .unwrap();
        writer.prepare(size as u64).unwrap();
        writer.write_at(size as u64 - 3, b"end").unwrap();
        let done = writer.flush();
        match said {
            None => {
                done.unwrap();
                assert!(scene.bytes().ends_with(b"end"));
            }
            Some(said) => {
                let text = done.unwrap_err().to_string();
                assert!(text.contains(said), "{text}");
            }
        }
    }
    let writer = MessageWriter::to("/absent", options(), || {
        MessageStream::of_command(Command::new("/no/such/program"))
    })
    .unwrap();
    writer.prepare(10).unwrap();
    let done = writer.write_at(0, b"a").and_then(|()| writer.flush());
    let text = done.unwrap_err().to_string();
    assert!(text.contains("/no/such/program"), "{text}");
    assert!(MessageWriter::to("", options(), || Err(io::Error::other("never"))).is_err());
}

/// Ends by itself when it is killed, and tells its number first.
fn sleeper(note: &Path) -> String {
    // Whoever looks finds all of it.
    let new = note.with_extension("new");
    let (new, note) = (new.display(), note.display());
    format!("echo $$ > '{new}' && mv '{new}' '{note}' && exec sleep 600")
}

#[test]
fn who_is_given_up_while_the_program_syncs_waits_for_no_sync() {
    let scene = Scene::set();
    let device = scene.device.to_str().unwrap().to_owned();
    let note = scene.device.with_extension("pid");
    let line = sleeper(&note);
    // On a busy machine Python takes its time to begin.
    let patient = WriterOptions {
        patience: Duration::from_secs(60),
        ..options()
    };
    let writer = MessageWriter::to(&device, patient, move || {
        MessageStream::of_command(program(&line))
    });
    given_up_at_its_end(writer.unwrap(), &note);
}

#[test]
fn nothing_of_a_writer_is_left_when_it_was_given_up() {
    let scene = Scene::set();
    let note = scene.device.with_extension("pid");
    // It acknowledges nothing, so that the last message finds no room.
    let line = sleeper(&note);
    let patient = WriterOptions {
        patience: Duration::from_secs(600),
        ..options()
    };
    let writer = MessageWriter::to("/dev/vdb", patient, move || {
        let mut command = Command::new("sh");
        command.arg("-c").arg(&line);
        MessageStream::of_command(command)
    });
    given_up_at_its_end(writer.unwrap(), &note);
}

/// Three messages and the end; it is given up then, and the program is gone when that returns.
fn given_up_at_its_end(writer: MessageWriter, note: &Path) {
    let writer = Arc::new(writer);
    writer.prepare(SIZE as u64).unwrap();
    let target = Arc::clone(&writer);
    let flushing = std::thread::spawn(move || {
        target.write_at(0, &[1; 3 * CHUNK]).unwrap();
        target.flush().unwrap_err()
    });
    wait::until("the program sleeps", || note.exists());
    // There is nothing to see of who waits for its answer.
    std::thread::sleep(Duration::from_millis(300));
    let begun = std::time::Instant::now();
    writer.abandon();
    let number = std::fs::read_to_string(note).unwrap();
    let process = Path::new("/proc").join(number.trim());
    assert!(!process.exists(), "{} still runs", process.display());
    assert!(begun.elapsed() < Duration::from_secs(300));
    let error = flushing.join().unwrap().to_string();
    assert!(error.contains("the run was ended"), "{error}");
}
