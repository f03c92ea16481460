//! The library's client in a process of its own.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::bail;
use coriolis_ovm_exporter::client::{Client, Comparison, DiskOf, Trust};
use coriolis_ovm_exporter::protocol::delta::{Compression, Item};
use serde::{Deserialize, Serialize};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Barrier;
use uuid::Uuid;

/// How long streams that have begun are left alone before any is read: what a server reads ahead
/// for a client that does not take it, it has read by then. Nothing tells when.
const REST: Duration = Duration::from_millis(500);

/// What it is sent for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Errand {
    pub endpoint: String,
    pub token: String,
    /// PEM.
    pub authority: String,
    pub vm: String,
    pub snapshot: Uuid,
    pub disk: String,
    /// Bytes from the disk's beginning on.
    pub size: u64,
    pub what: What,
    /// So often at the same time.
    pub streams: u64,
}

/// How the bytes come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// As they are.
    Disk,
    /// As a delta since nothing, packed so: every frame is checked.
    Delta(Compression),
}

/// What came of it, on standard output.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Received {
    /// Bytes of disks.
    pub bytes: u64,
    /// From before the connection was made to the last byte.
    pub seconds: f64,
    /// What the slowest stream had when the first one ended, as a part of what each would have had if
    /// all had got the same.
    pub least_share: f64,
}

pub fn run(errand: &Errand) -> anyhow::Result<()> {
    let runtime = Runtime::new()?;
    let received = runtime.block_on(all(errand))?;
    println!("{}", serde_json::to_string(&received)?);
    Ok(())
}

async fn all(errand: &Errand) -> anyhow::Result<Received> {
    let trust = Trust::Authority(errand.authority.clone().into_bytes());
    let begun = Instant::now();
    let gate = Arc::new(Barrier::new(usize::try_from(errand.streams)?));
    let race = Arc::new(Race::of(errand.streams));
    let streams: Vec<_> = (0..usize::try_from(errand.streams)?)
        .map(|at| {
            let lane = Lane {
                race: Arc::clone(&race),
                at,
            };
            let client = Client::with_token(&errand.endpoint, &errand.token, &trust)?;
            let stream = one(client, errand.clone(), Arc::clone(&gate), lane);
            Ok(if errand.streams == 1 {
                tokio::spawn(stream)
            } else {
                // Clients of their own, between which the kernel shares the cores: tasks on the threads
                // of one runtime would get what these have, evenly or not.
                tokio::task::spawn_blocking(|| {
                    let own = Builder::new_current_thread().enable_all().build()?;
                    own.block_on(stream)
                })
            })
        })
        .collect::<anyhow::Result<_>>()?;
    let mut bytes = 0;
    for stream in streams {
        bytes += stream.await??;
    }
    let seconds = begun.elapsed().as_secs_f64();
    if bytes != errand.size * errand.streams {
        bail!("{bytes} bytes came of {} × {}", errand.streams, errand.size);
    }
    Ok(Received {
        bytes,
        seconds,
        least_share: race.least_share(),
    })
}

/// How far streams that run beside each other are.
struct Race {
    /// Bytes of each.
    so_far: Vec<AtomicU64>,
    /// Those of each when the first one ended: until then all ran.
    at_first_end: OnceLock<Vec<u64>>,
}

impl Race {
    fn of(streams: u64) -> Race {
        Race {
            so_far: (0..streams).map(|_| AtomicU64::new(0)).collect(),
            at_first_end: OnceLock::new(),
        }
    }

    fn least_share(&self) -> f64 {
        let all = self.at_first_end.get().map_or(&[][..], Vec::as_slice);
        let least = all.iter().min().copied().unwrap_or(0);
        let mean = all.iter().sum::<u64>() as f64 / all.len().max(1) as f64;
        least as f64 / mean.max(1.0)
    }
}

/// One stream's part in a race.
struct Lane {
    race: Arc<Race>,
    at: usize,
}

impl Lane {
    fn came(&self, bytes: u64) {
        self.race.so_far[self.at].fetch_add(bytes, Relaxed);
    }

    /// How many bytes came in all.
    fn ended(&self) -> u64 {
        let race = &self.race;
        race.at_first_end.get_or_init(|| {
            race.so_far
                .iter()
                .map(|bytes| bytes.load(Relaxed))
                .collect()
        });
        race.so_far[self.at].load(Relaxed)
    }
}

/// All streams begin, then all are read.
async fn opened(errand: &Errand, gate: &Barrier) {
    if errand.streams > 1 {
        gate.wait().await;
        tokio::time::sleep(REST).await;
    }
}

async fn one(
    client: Client,
    errand: Errand,
    gate: Arc<Barrier>,
    lane: Lane,
) -> anyhow::Result<u64> {
    match errand.what {
        What::Disk => {
            let (vm, disk) = (&errand.vm, &errand.disk);
            let mut body = client
                .read(vm, errand.snapshot, disk, 0, errand.size)
                .await?;
            opened(&errand, &gate).await;
            while let Some(piece) = body.chunk().await? {
                lane.came(piece.len() as u64);
            }
        }
        What::Delta(compression) => {
            let disk = DiskOf {
                vm: &errand.vm,
                snapshot: errand.snapshot,
                disk: &errand.disk,
            };
            let all = Comparison::to(None);
            let end = Some(errand.size);
            let stream = client.delta_between(&disk, &all, 0, end, compression);
            let mut stream = stream.await?;
            opened(&errand, &gate).await;
            while let Some(item) = stream.next().await? {
                match item {
                    Item::Data { bytes, .. } => lane.came(bytes.len() as u64),
                    Item::Zero { length, .. } => lane.came(length),
                    _ => {}
                }
            }
        }
    }
    Ok(lane.ended())
}
