//! The HTTPS writer alone.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use coriolis_ovm_exporter::client::target::Target;
use coriolis_ovm_exporter::client::target::coriolis::{
    HttpsWorker, HttpsWriter, Packing, WorkerKeys, WriterOptions,
};
use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use tempfile::TempDir;

use super::super::support::counts::count;
use super::super::support::wait;
use super::worker::{Asked, Authority, Fault, Worker};

const DEVICE: &str = "/dev/vdb";
const SIZE: usize = 4 << 20;
const CHUNK: usize = 64 << 10;

struct Scene {
    worker: Worker,
    _folder: TempDir,
}

impl Scene {
    /// A worker with a device of other bytes than zeros.
    async fn set() -> Scene {
        let folder = tempfile::tempdir().unwrap();
        let worker = Worker::start(folder.path()).await;
        worker.attach(DEVICE, &vec![0xee; SIZE]);
        Scene {
            worker,
            _folder: folder,
        }
    }

    fn writer(&self) -> HttpsWriter {
        self.writer_with(options())
    }

    fn writer_with(&self, options: WriterOptions) -> HttpsWriter {
        HttpsWriter::to(&self.worker.connect(), DEVICE, options)
    }

    fn writes(&self) -> Vec<Asked> {
        let mut asked = self.worker.asked();
        asked.retain(|asked| asked.what == "write");
        asked
    }
}

fn options() -> WriterOptions {
    WriterOptions {
        chunk: CHUNK,
        in_flight: 3,
        patience: Duration::from_secs(3),
        ..WriterOptions::default()
    }
}

/// A target's calls block.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    StdRng::seed_from_u64(length as u64).fill_bytes(&mut bytes);
    bytes
}

/// Each of the words stands in it.
#[track_caller]
fn assert_says(error: &io::Error, words: &[&str]) {
    println!("{error}");
    for word in words {
        assert!(error.to_string().contains(word), "no {word:?} in: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_and_zeros_arrive_and_the_device_is_held_meanwhile_only() {
    let scene = Scene::set().await;
    let writer = Arc::new(scene.writer());
    assert!(writer.is_opaque() && !writer.readable() && !writer.zeroed());
    assert_eq!(
        (writer.size().unwrap(), writer.fingerprint().unwrap()),
        (0, None)
    );
    assert!(writer.name().contains(DEVICE) && writer.name().contains("https://localhost"));
    let bytes = noise(300_000);
    let (sent, target) = (bytes.clone(), Arc::clone(&writer));
    blocking(move || {
        target.prepare(SIZE as u64 - 1).unwrap();
        // In pieces that follow upon each other.
        for (at, piece) in sent.chunks(1000).enumerate() {
            target.write_at(5000 + 1000 * at as u64, piece).unwrap();
        }
        target.zero(1_000_000, 1_000_001).unwrap();
        target.zero(3_000_000, 3).unwrap();
        for error in [
            target.write_at(SIZE as u64 - 1, &[1]).unwrap_err(),
            target.zero(u64::MAX, 2).unwrap_err(),
        ] {
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
    })
    .await;
    assert_eq!(scene.worker.held(), [DEVICE]);
    let target = Arc::clone(&writer);
    blocking(move || target.flush().unwrap()).await;
    assert_eq!(scene.worker.held(), [""; 0]);
    let mut expected = vec![0xee; SIZE];
    expected[5000..305_000].copy_from_slice(&bytes);
    expected[1_000_000..2_000_001].fill(0);
    expected[3_000_000..3_000_003].fill(0);
    assert!(scene.worker.bytes(DEVICE) == expected);
    let asked = scene.worker.asked();
    let writes = asked.iter().filter(|asked| asked.what == "write").count();
    // Five chunks of bytes, sixteen of zeros, and what is beside.
    assert!(writes <= 24, "{asked:#?}");
    assert!(asked.iter().all(|asked| asked.length <= CHUNK));
    let zeros = asked.iter().filter(|asked| asked.offset >= 1_000_000);
    assert!(zeros.filter(|asked| asked.is_gzip).count() >= 15);
    assert_eq!(
        (asked[0].what, asked.last().unwrap().what),
        ("acquire", "release")
    );
    // It can be written again.
    blocking(move || {
        writer.write_at(0, b"again").unwrap();
        writer.flush().unwrap();
    })
    .await;
    assert!(scene.worker.bytes(DEVICE).starts_with(b"again"));
}

#[tokio::test(flavor = "multi_thread")]
async fn several_are_under_way_and_never_two_for_the_same_bytes() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let scene = Scene::set().await;
    // What comes later is often faster, and some is refused: the order is up to the writer.
    let random = std::sync::Mutex::new(StdRng::seed_from_u64(seed));
    scene.worker.plan(move |asked| {
        let mut random = random.lock().unwrap();
        match random.random_range(0..10) {
            _ if asked.what != "write" => None,
            0 => Some(Fault::Refuse(500)),
            1 => Some(Fault::DoAndRefuse(503)),
            2 => Some(Fault::HalfAndCut),
            3 => Some(Fault::CutBody(1000)),
            4..7 => Some(Fault::Late(Duration::from_millis(
                random.random_range(0..30),
            ))),
            _ => None,
        }
    });
    let writer = scene.writer_with(WriterOptions {
        patience: Duration::from_secs(60),
        ..options()
    });
    let expected = blocking(move || {
        let mut random = StdRng::seed_from_u64(seed);
        let mut expected = vec![0xee; SIZE];
        writer.prepare(SIZE as u64).unwrap();
        for _ in 0..count(60, 3000) {
            // A small device: most are written twice.
            let length = random.random_range(1..100_000);
            let at = random.random_range(0..1_000_000);
            if random.random_bool(0.3) {
                writer.zero(at as u64, length as u64).unwrap();
                expected[at..at + length].fill(0);
            } else {
                let bytes = vec![random.random(); length];
                writer.write_at(at as u64, &bytes).unwrap();
                expected[at..at + length].copy_from_slice(&bytes);
            }
        }
        writer.flush().unwrap();
        expected
    })
    .await;
    assert!(scene.worker.bytes(DEVICE) == expected, "seed {seed}");
    assert!(scene.worker.most_writing() > 1);
    assert_eq!(scene.worker.held(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_are_sent_at_once_than_are_allowed_and_memory_is_bounded() {
    let scene = Scene::set().await;
    scene
        .worker
        .plan(|asked| (asked.what == "write").then_some(Fault::Hang));
    let writer = Arc::new(scene.writer_with(WriterOptions {
        patience: Duration::from_secs(60),
        ..options()
    }));
    let taken = Arc::new(AtomicUsize::new(0));
    let (target, counter) = (Arc::clone(&writer), Arc::clone(&taken));
    let writing = tokio::task::spawn_blocking(move || {
        target.prepare(SIZE as u64).unwrap();
        for at in 0..SIZE / CHUNK {
            target.write_at((at * CHUNK) as u64, &noise(CHUNK)).unwrap();
            counter.fetch_add(1, SeqCst);
        }
        target.flush().unwrap();
    });
    let (worker, counted) = (&scene.worker, Arc::clone(&taken));
    wait::until_told("three hang", async || worker.most_writing() == 3).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    // Three on their way; the fourth waits with whoever writes.
    assert_eq!((worker.most_writing(), counted.load(SeqCst)), (3, 3));
    worker.mend();
    writing.await.unwrap();
    assert_eq!(worker.most_writing(), 3);
    for (at, bytes) in worker.bytes(DEVICE).chunks(CHUNK).enumerate() {
        assert!(bytes == noise(CHUNK), "chunk {at}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_gains_is_packed() {
    let scene = Scene::set().await;
    for (packing, text_is_packed, zeros_are) in [
        (Packing::Always, true, true),
        (Packing::Never, false, false),
    ] {
        let writer = scene.writer_with(WriterOptions {
            packing,
            ..options()
        });
        blocking(move || {
            writer.prepare(SIZE as u64).unwrap();
            writer.write_at(0, &noise(CHUNK)).unwrap();
            writer
                .write_at(1 << 20, &b"text".repeat(CHUNK / 4))
                .unwrap();
            writer.zero(2 << 20, 2 * CHUNK as u64).unwrap();
            writer.flush().unwrap();
        })
        .await;
        for write in scene.writes() {
            let expected = match write.offset {
                0 => false,
                0x10_0000 => text_is_packed,
                _ => zeros_are,
            };
            assert_eq!(write.is_gzip, expected, "{packing:?} {write:?}");
            assert_eq!(write.length, CHUNK);
        }
        let mut expected = vec![0xee; SIZE];
        expected[..CHUNK].copy_from_slice(&noise(CHUNK));
        expected[1 << 20..][..CHUNK].copy_from_slice(&b"text".repeat(CHUNK / 4));
        expected[2 << 20..][..2 * CHUNK].fill(0);
        assert!(scene.worker.bytes(DEVICE) == expected);
    }
}

/// Faults of one request each: the next attempt works.
#[tokio::test(flavor = "multi_thread")]
async fn what_passes_is_tried_again() {
    let scene = Scene::set().await;
    for (what, fault) in [
        ("acquire", Fault::Refuse(409)),
        ("acquire", Fault::Refuse(500)),
        ("acquire", Fault::DoAndRefuse(502)),
        ("acquire", Fault::CutBody(0)),
        ("write", Fault::Refuse(500)),
        ("write", Fault::Refuse(503)),
        ("write", Fault::Refuse(429)),
        ("write", Fault::DoAndRefuse(500)),
        ("write", Fault::HalfAndCut),
        ("write", Fault::CutBody(20_000)),
        ("write", Fault::Late(Duration::from_millis(300))),
        ("checksum", Fault::Refuse(500)),
        ("look", Fault::Refuse(503)),
        ("look", Fault::CutBody(0)),
        ("drop", Fault::Refuse(500)),
    ] {
        println!("{what}: {fault:?}");
        let left = AtomicUsize::new(1);
        let wrong = fault.clone();
        scene.worker.plan(move |asked| {
            let is_it = asked.what == what && left.swap(0, SeqCst) == 1;
            is_it.then(|| wrong.clone())
        });
        let writer = scene.writer();
        let digest = blocking(move || {
            writer.prepare(SIZE as u64).unwrap();
            writer.write_at(100, &noise(200_000)).unwrap();
            writer.flush().unwrap();
            writer.sha256(100..200_100).unwrap().unwrap()
        })
        .await;
        assert!(scene.worker.bytes(DEVICE)[100..200_100] == noise(200_000));
        assert_eq!(digest, sha256(&noise(200_000)));
        assert_eq!(scene.worker.held(), [""; 0]);
        scene.worker.attach(DEVICE, &vec![0xee; SIZE]);
    }
    // Only the one whose end was refused is left.
    assert_eq!(scene.worker.jobs(), 1);
}

/// A chunk that is handed to a connection which ends in the same instant is sent again at once: not
/// when the time is up in which a worker may answer.
#[tokio::test(flavor = "multi_thread")]
async fn no_chunk_waits_for_a_connection_that_has_ended() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let scene = Scene::set().await;
    let random = std::sync::Mutex::new(StdRng::seed_from_u64(seed));
    scene.worker.plan(move |asked| {
        let mut random = random.lock().unwrap();
        let ends = asked.what == "write" && random.random_bool(0.3);
        ends.then(|| Fault::EndAfter(random.random_range(0..60)))
    });
    let writer = scene.writer_with(WriterOptions {
        patience: Duration::from_secs(60),
        ..options()
    });
    let begun = Instant::now();
    let bytes = noise(SIZE);
    let sent = bytes.clone();
    blocking(move || {
        writer.prepare(SIZE as u64).unwrap();
        for _ in 0..count(3, 300) {
            writer.write_at(0, &sent).unwrap();
        }
        writer.flush().unwrap();
    })
    .await;
    assert!(scene.worker.bytes(DEVICE) == bytes, "seed {seed}");
    let limit = Duration::from_secs(count(90, 3600).into());
    assert!(
        begun.elapsed() < limit,
        "seed {seed}: {:?}",
        begun.elapsed()
    );
}

fn sha256(bytes: &[u8]) -> String {
    use coriolis_ovm_exporter::protocol::digest::{Algorithm, BlockDigests};
    let mut digests = BlockDigests::new(Algorithm::Sha256, None);
    digests.take(bytes);
    digests.finish().whole
}

/// Faults that stay: each is reported, and no later call says that all is well.
#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_pass_is_reported_with_its_place() {
    let scene = Scene::set().await;
    let slow = Duration::from_secs(2);
    let cases: &[(&'static str, Fault, bool, &[&str])] = &[
        (
            "acquire",
            Fault::Refuse(403),
            true,
            &["acquire", "403 Forbidden", "told to"],
        ),
        (
            "acquire",
            Fault::Refuse(409),
            false,
            &["409", "another client holds"],
        ),
        (
            "write",
            Fault::Refuse(400),
            true,
            &["write 65536 bytes at 131172", "400"],
        ),
        (
            "write",
            Fault::Refuse(500),
            false,
            &["write 65536 bytes at 131172", "500"],
        ),
        ("write", Fault::HalfAndCut, false, &["at 131172"]),
        ("write", Fault::CutBody(100), false, &["at 131172"]),
        // What was lost is told once: whatever is not a success counts.
        ("release", Fault::Refuse(500), true, &["release", "500"]),
        (
            "release",
            Fault::DoAndRefuse(503),
            true,
            &["release", "503"],
        ),
        ("release", Fault::CutBody(0), true, &["release"]),
        ("release", Fault::Refuse(403), true, &["release", "403"]),
    ];
    for (what, fault, at_once, words) in cases {
        println!("{what}: {fault:?}");
        let (what, wrong) = (*what, fault.clone());
        scene.worker.plan(move |asked| {
            // One chunk in the middle; the others arrive.
            let is_it = what != "write" || asked.offset == 131_172;
            (asked.what == what && is_it).then(|| wrong.clone())
        });
        let begun = Instant::now();
        let writer = Arc::new(scene.writer_with(WriterOptions {
            patience: slow,
            ..options()
        }));
        let target = Arc::clone(&writer);
        let (first, second) = blocking(move || {
            let first = target
                .prepare(SIZE as u64)
                .and_then(|()| target.write_at(100, &noise(1_000_000)))
                .and_then(|()| target.flush())
                .unwrap_err();
            assert!(target.write_at(0, &[1]).is_err());
            (first, target.flush().unwrap_err())
        })
        .await;
        assert_says(
            &first,
            &[words, &["/dev/vdb on https://localhost"][..]].concat(),
        );
        assert_says(&second, words);
        assert_eq!(begun.elapsed() < slow, *at_once, "{:?}", begun.elapsed());
        if what == "release" {
            scene.worker.mend();
        }
        blocking(move || writer.abandon()).await;
        assert_eq!(scene.worker.held(), [""; 0]);
        scene.worker.mend();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_behind_the_device_is_refused_by_the_worker() {
    let scene = Scene::set().await;
    let writer = scene.writer();
    let error = blocking(move || {
        writer.prepare(2 * SIZE as u64).unwrap();
        writer.write_at(SIZE as u64 - 1, &[1, 2]).unwrap();
        writer.flush().unwrap_err()
    })
    .await;
    assert_says(&error, &["write 2 bytes at 4194303", "400", "past the end"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_another_client_holds_is_waited_for_and_not_written() {
    let scene = Scene::set().await;
    scene.worker.hold(DEVICE, "somebody else");
    let writer = scene.writer_with(WriterOptions {
        patience: Duration::from_secs(1),
        ..options()
    });
    let error = blocking(move || writer.prepare(SIZE as u64).unwrap_err()).await;
    assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
    assert_says(&error, &["acquire", "409", "somebody else has acquired it"]);
    assert_eq!(scene.worker.held(), [DEVICE]);
    let absent = HttpsWriter::to(&scene.worker.connect(), "/dev/vdz", options());
    let error = blocking(move || absent.prepare(1).unwrap_err()).await;
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    assert_says(&error, &["/dev/vdz", "404", "attached"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_writers_never_hold_one_device() {
    let scene = Scene::set().await;
    let worker = scene.worker.connect();
    let impatient = WriterOptions {
        patience: Duration::from_millis(300),
        ..options()
    };
    let [first, second] = [(); 2].map(|()| HttpsWriter::to(&worker, DEVICE, impatient.clone()));
    let error = blocking(move || {
        first.prepare(SIZE as u64).unwrap();
        first.write_at(0, &[1]).unwrap();
        let error = second.prepare(SIZE as u64).unwrap_err();
        first.flush().unwrap();
        error
    })
    .await;
    assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
    assert_says(&error, &["acquire", "409"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_right_worker_is_spoken_to_and_only_by_the_right_client() {
    let scene = Scene::set().await;
    let (ours, other) = (scene.worker.authority.keys(), Authority::new());
    let prepare = async |endpoint: String, keys: WorkerKeys| {
        let worker = HttpsWorker::at(&endpoint, &keys).unwrap();
        let begun = Instant::now();
        let options = WriterOptions {
            patience: Duration::from_secs(20),
            ..options()
        };
        let writer = HttpsWriter::to(&worker, DEVICE, options);
        let error = blocking(move || writer.prepare(1).unwrap_err()).await;
        println!("{error}");
        assert!(
            begun.elapsed() < Duration::from_secs(15),
            "it was tried again"
        );
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}");
        assert_says(&error, &["certificate"]);
    };
    // Not signed by the authority that we believe.
    let wrong = WorkerKeys {
        authority: other.pem().into_bytes(),
        ..ours.clone()
    };
    prepare(scene.worker.endpoint(), wrong).await;
    // Another name than the certificate's.
    let elsewhere = scene.worker.endpoint().replace("localhost", "127.0.0.1");
    prepare(elsewhere, ours.clone()).await;
    // A client of somebody else's.
    let theirs = other.keys();
    let wrong = WorkerKeys {
        certificate: theirs.certificate,
        key: theirs.key,
        ..ours
    };
    prepare(scene.worker.endpoint(), wrong).await;
    assert_eq!(scene.worker.asked(), []);
    // Without any certificate nobody gets in: the peer is as strict as the real one.
    let http = reqwest::Client::builder()
        .tls_certs_only([
            reqwest::Certificate::from_pem(scene.worker.authority.pem().as_bytes()).unwrap(),
        ])
        .build()
        .unwrap();
    http.post(format!(
        "{}/api/v2/device/L2Rldi92ZGI=/acquire",
        scene.worker.endpoint()
    ))
    .send()
    .await
    .unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_gone_is_given_up() {
    let scene = Scene::set().await;
    let (endpoint, keys) = (scene.worker.endpoint(), scene.worker.authority.keys());
    drop(scene);
    let worker = HttpsWorker::at(&endpoint, &keys).unwrap();
    let writer = HttpsWriter::to(
        &worker,
        DEVICE,
        WriterOptions {
            patience: Duration::from_secs(1),
            ..options()
        },
    );
    let error = blocking(move || writer.prepare(1).unwrap_err()).await;
    assert_says(&error, &["acquire", "runs and can be reached"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn abandoning_ends_what_waits_and_lets_go_of_the_device() {
    let scene = Scene::set().await;
    // Refused until patience ends, which is long.
    scene
        .worker
        .plan(|asked| (asked.what == "write").then_some(Fault::Refuse(503)));
    let writer = Arc::new(scene.writer_with(WriterOptions {
        patience: Duration::from_secs(600),
        ..options()
    }));
    let target = Arc::clone(&writer);
    let writing = tokio::task::spawn_blocking(move || {
        target.prepare(SIZE as u64).unwrap();
        let done = target.write_at(0, &noise(SIZE));
        done.and_then(|()| target.flush()).unwrap_err()
    });
    let mut refused = 0;
    wait::until("three are refused", || {
        refused += scene.writes().len();
        refused >= 3
    });
    let target = Arc::clone(&writer);
    blocking(move || target.abandon()).await;
    assert_says(&writing.await.unwrap(), &["the run was ended"]);
    assert_eq!(scene.worker.held(), [""; 0]);
    // Dropped with the device in hand.
    scene.worker.mend();
    let writer = scene.writer();
    let writer = blocking(move || {
        writer.prepare(SIZE as u64).unwrap();
        writer.write_at(0, &[1]).unwrap();
        writer
    })
    .await;
    assert_eq!(scene.worker.held(), [DEVICE]);
    drop(writer);
    wait::until_told("the device is free", async || {
        scene.worker.held().is_empty()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_is_declared_zero_is_no_longer_once_it_was_written() {
    let scene = Scene::set().await;
    let writer = scene.writer_with(WriterOptions {
        declared_zeroed: true,
        name: Some("the volume of a.img".to_owned()),
        ..options()
    });
    assert_eq!(writer.name(), "the volume of a.img");
    blocking(move || {
        writer.prepare(SIZE as u64).unwrap();
        assert!(writer.zeroed());
        writer.write_at(0, &[]).unwrap();
        assert!(writer.zeroed());
        writer.write_at(0, &[1]).unwrap();
        assert!(!writer.zeroed());
        writer.flush().unwrap();
    })
    .await;
}
