//! The library's client in a process of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::bail;
use coriolis_ovm_exporter::client::{Client, Comparison, DiskOf, Trust};
use coriolis_ovm_exporter::protocol::delta::{Compression, Item};
use serde::{Deserialize, Serialize};
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
}

pub fn run(errand: &Errand) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let received = runtime.block_on(all(errand))?;
    println!("{}", serde_json::to_string(&received)?);
    Ok(())
}

async fn all(errand: &Errand) -> anyhow::Result<Received> {
    let trust = Trust::Authority(errand.authority.clone().into_bytes());
    let client = Client::with_token(&errand.endpoint, &errand.token, &trust)?;
    let begun = Instant::now();
    let gate = Arc::new(Barrier::new(usize::try_from(errand.streams)?));
    let streams: Vec<_> = (0..errand.streams)
        .map(|_| tokio::spawn(one(client.clone(), errand.clone(), Arc::clone(&gate))))
        .collect();
    let mut bytes = 0;
    for stream in streams {
        bytes += stream.await??;
    }
    let seconds = begun.elapsed().as_secs_f64();
    if bytes != errand.size * errand.streams {
        bail!("{bytes} bytes came of {} × {}", errand.streams, errand.size);
    }
    Ok(Received { bytes, seconds })
}

/// All streams begin, then all are read.
async fn opened(errand: &Errand, gate: &Barrier) {
    if errand.streams > 1 {
        gate.wait().await;
        tokio::time::sleep(REST).await;
    }
}

async fn one(client: Client, errand: Errand, gate: Arc<Barrier>) -> anyhow::Result<u64> {
    let mut bytes = 0;
    match errand.what {
        What::Disk => {
            let (vm, disk) = (&errand.vm, &errand.disk);
            let mut body = client
                .read(vm, errand.snapshot, disk, 0, errand.size)
                .await?;
            opened(&errand, &gate).await;
            while let Some(piece) = body.chunk().await? {
                bytes += piece.len() as u64;
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
                    Item::Data { bytes: data, .. } => bytes += data.len() as u64,
                    Item::Zero { length, .. } => bytes += length,
                    _ => {}
                }
            }
        }
    }
    Ok(bytes)
}
