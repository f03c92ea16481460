//! SHA-256 of files and of what the daemon sends.

use std::path::Path;

use coriolis_ovm_exporter::client::{Client, ClientError};
use coriolis_ovm_exporter::protocol::{Snapshot, SnapshotDisk};
use sha2::{Digest, Sha256};

pub type Sum = [u8; 32];

/// Of a file as it is now.
pub fn of_file(path: &Path) -> Sum {
    Sha256::digest(std::fs::read(path).unwrap()).into()
}

/// Of a snapshot's disk, as the daemon sends it.
///
/// # Errors
/// Whatever keeps it from coming whole.
pub async fn of_download(
    client: &Client,
    snapshot: &Snapshot,
    disk: &SnapshotDisk,
) -> Result<Sum, ClientError> {
    let mut body = client
        .read(&snapshot.vm_id, snapshot.id, &disk.name, 0, disk.size)
        .await?;
    let mut sum = Sha256::new();
    while let Some(bytes) = body.chunk().await? {
        sum.update(&bytes);
    }
    Ok(sum.finalize().into())
}
