//! A client among hostile ones: a thousand slow and idle connections, a flood of logins, and bodies of
//! 300 MB, all at once.

use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::api::{Api, text};
use crate::support::counts::count;
use crate::support::node::{Kind, TestNode, USER};
use crate::support::wait::until_nothing;
use crate::support::wire::{Dialler, Wire};

/// One that was turned away comes back after so long.
const BACK: Duration = Duration::from_secs(2);
/// A slow one sends a byte so often.
const TRICKLE: Duration = Duration::from_millis(500);
/// So long it may take until all are there: handshakes by the thousand, on both sides.
const GATHERING: Duration = Duration::from_secs(120);
const BODY: usize = 300 << 20;
/// The most memory that the daemon may ever have used, KiB.
const MEMORY: u64 = 128 << 10;

/// Tells those who attack when it is over, and counts them.
#[derive(Debug, Default)]
struct Flood {
    over: AtomicBool,
    connections: AtomicUsize,
    logins: AtomicUsize,
    bodies: AtomicUsize,
}

impl Flood {
    fn goes_on(&self) -> bool {
        !self.over.load(Relaxed)
    }

    /// Waits, no longer than the flood lasts.
    async fn pause(&self, long: Duration) {
        let begun = Instant::now();
        while self.goes_on() && begun.elapsed() < long {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Silent, idle after the handshake, slow with the headers, slow with the body.
    async fn hold(&self, dialler: &Dialler, kind: usize) -> std::io::Result<()> {
        if kind.is_multiple_of(4) {
            let mut tcp = dialler.tcp().await?;
            self.connections.fetch_add(1, Relaxed);
            let mut byte = [0];
            tokio::select! {
                _ = tcp.read(&mut byte) => {}
                () = self.pause(Duration::MAX) => {}
            }
            return Ok(());
        }
        let mut wire = dialler.open().await?;
        self.connections.fetch_add(1, Relaxed);
        let begin = [
            "",
            "GET /api/v1/vms HTTP/1.1\r\nX: ",
            "POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\n{",
        ];
        wire.send(begin[kind % 4 - 1]).await?;
        let mut byte = [0];
        while self.goes_on() {
            if kind % 4 > 1 {
                wire.send("x").await?;
            }
            tokio::select! {
                read = wire.stream.read(&mut byte) => { read?; return Ok(()); }
                () = self.pause(TRICKLE) => {}
            }
        }
        Ok(())
    }

    async fn log_in(&self, dialler: &Dialler) -> std::io::Result<()> {
        let body = format!(r#"{{"username":"{USER}","password":"wrong"}}"#);
        let mut wire = dialler.open().await?;
        wire.send(format!(
            "POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
        .await?;
        let answer = wire.answer(false).await?;
        assert!([401, 429].contains(&answer.status), "{answer:?}");
        self.logins.fetch_add(1, Relaxed);
        Ok(())
    }

    async fn send_much(&self, dialler: &Dialler, chunked: bool) -> std::io::Result<()> {
        let Wire { stream } = dialler.open().await?;
        let (mut reading, mut writing) = tokio::io::split(stream);
        let framing = match chunked {
            true => "Transfer-Encoding: chunked".to_owned(),
            false => format!("Content-Length: {BODY}"),
        };
        let head = format!("POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n");
        let block = vec![b' '; 1 << 20];
        let sending = async {
            writing.write_all(head.as_bytes()).await?;
            for _ in 0..BODY >> 20 {
                if chunked {
                    writing.write_all(b"100000\r\n").await?;
                }
                writing.write_all(&block).await?;
                if chunked {
                    writing.write_all(b"\r\n").await?;
                }
            }
            writing.flush().await
        };
        let mut answer = Vec::new();
        let answered = reading.read_to_end(&mut answer);
        // The daemon need not listen to the end of it.
        let _ = tokio::join!(sending, answered);
        // One that had to make room has no answer.
        let refused = answer.starts_with(b"HTTP/1.1 413 ");
        assert!(
            refused || answer.is_empty(),
            "{}",
            String::from_utf8_lossy(&answer)
        );
        self.bodies.fetch_add(usize::from(refused), Relaxed);
        Ok(())
    }
}

/// Runs one attack again and again.
fn attack<F: Future<Output = std::io::Result<()>> + Send>(
    flood: &Arc<Flood>,
    back: Duration,
    once: impl Fn(Arc<Flood>) -> F + Send + Sync + 'static,
) -> tokio::task::JoinHandle<()> {
    let flood = flood.clone();
    tokio::spawn(async move {
        while flood.goes_on() {
            // That it is turned away is what it has to expect.
            let _ = once(flood.clone()).await;
            flood.pause(back).await;
        }
    })
}

fn descriptors(node: &TestNode) -> usize {
    let folder = format!("/proc/{}/fd", node.daemon_id());
    fs::read_dir(folder).unwrap().count()
}

fn peak_memory(node: &TestNode) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", node.daemon_id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    line.unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap()
}

/// What the good client does, and how long each took, sorted.
async fn work(api: &Api, disk: &str, rounds: u32) -> Vec<Duration> {
    let mut took = Vec::new();
    for round in 0..rounds {
        let begun = Instant::now();
        let answer = match round % 2 {
            0 => api.get("/vms").await,
            _ => {
                let part = [("range", "bytes=0-65535")];
                api.send(reqwest::Method::GET, disk, &part).await
            }
        };
        took.push(begun.elapsed());
        assert!([200, 206].contains(&answer.status), "{answer:?}");
    }
    took.sort_unstable();
    took
}

/// Another good client that opens a connection for each request: how often it had to do so again,
/// because it was taken for one of the flood before it could show its token.
async fn come_anew(dialler: &Dialler, api: &Api, rounds: u32) -> u32 {
    let token = format!("Authorization: Bearer {}\r\n", api.token);
    let mut again = 0;
    for _ in 0..rounds {
        let answer = loop {
            let once = async {
                dialler
                    .open()
                    .await?
                    .ask("GET", "/api/v1/vms", &token)
                    .await
            };
            match once.await {
                Ok(answer) => break answer,
                Err(_) => again += 1,
            }
            assert!(again <= rounds, "it is not let in");
        };
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    again
}

/// So long at most for all but one in a hundred.
fn p99(sorted: &[Duration]) -> Duration {
    sorted[(sorted.len() * 99).div_ceil(100) - 1]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_served_in_a_flood() {
    let hostile = usize::try_from(count(100, 1000)).unwrap();
    let (rounds, loggers) = (count(100, 2000), count(2, 8));
    // Of this process: each hostile connection has one end here.
    let raised = Command::new("prlimit")
        .arg(format!("--pid={}", std::process::id()))
        .arg("--nofile=8192:")
        .status()
        .expect("prlimit cannot be started: install the package util-linux");
    assert!(raised.success());
    let node = TestNode::new(&[Kind::Xfs]).await;
    let vm = node.machine(0, 1, &[4 << 20]);
    let api = Api::of(&node).await;
    let snapshot = api.snapshot(&vm.id).await;
    let disk = format!(
        "/vms/{}/snapshots/{}/disks/{}",
        vm.id,
        text(&snapshot["id"]),
        text(&snapshot["disks"][0]["name"])
    );
    let idle = work(&api, &disk, rounds).await;
    let before = descriptors(&node);

    let flood = Arc::new(Flood::default());
    let dialler = Dialler::of(&node);
    let mut attackers = Vec::new();
    for kind in 0..hostile {
        let dialler = dialler.clone();
        attackers.push(attack(&flood, BACK, move |flood| {
            let dialler = dialler.clone();
            async move { flood.hold(&dialler, kind).await }
        }));
    }
    for _ in 0..loggers {
        let dialler = dialler.clone();
        attackers.push(attack(&flood, Duration::from_millis(20), move |flood| {
            let dialler = dialler.clone();
            async move { flood.log_in(&dialler).await }
        }));
    }
    for chunked in [false, true] {
        let dialler = dialler.clone();
        attackers.push(attack(&flood, Duration::from_millis(20), move |flood| {
            let dialler = dialler.clone();
            async move { flood.send_much(&dialler, chunked).await }
        }));
    }
    let begun = Instant::now();
    loop {
        let made = [&flood.connections, &flood.logins, &flood.bodies].map(|one| one.load(Relaxed));
        if made[0] >= hostile && made[1] > 5 && made[2] > 1 {
            break;
        }
        assert!(begun.elapsed() < GATHERING, "no flood: {made:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let flooded = work(&api, &disk, rounds).await;
    let again = come_anew(&dialler, &api, rounds / 10).await;
    flood.over.store(true, Relaxed);
    for attacker in attackers {
        attacker.await.unwrap();
    }

    let memory = peak_memory(&node);
    let (quiet, loud) = (p99(&idle), p99(&flooded));
    println!(
        "{hostile} hostile ({} connections), {} logins, {} bodies of 300 MB; p99 of {rounds} requests \
         {quiet:?} idle, {loud:?} flooded; {again} of {} new connections had to come again; {memory} KiB at most",
        flood.connections.load(Relaxed),
        flood.logins.load(Relaxed),
        flood.bodies.load(Relaxed),
        rounds / 10,
    );
    assert!(memory < MEMORY, "{memory} KiB");
    until_nothing("descriptors are back to the start", || {
        let now = descriptors(&node);
        if now > before {
            vec![(now, before)]
        } else {
            Vec::new()
        }
    })
    .await;
    // Of a machine that does nothing else.
    if count(0, 1) == 1 {
        assert!(loud < quiet * 10, "{loud:?} is not below 10 × {quiet:?}");
    }
}
