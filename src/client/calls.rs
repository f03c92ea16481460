//! Every call of the interface.

use reqwest::header::{CONTENT_RANGE, RANGE};
use reqwest::{Method, Response, StatusCode};
use uuid::Uuid;

use super::answer::{LOOK, MANY, ONE, READING, WHOLE, WORK};
use super::delta_stream::DeltaStream;
use super::reading::{Comparison, DiskOf, disk_path, segment, snapshot_path, snapshots_path};
use super::{Client, ClientError};
use crate::protocol::delta::{Compression, DeltaError};
use crate::protocol::digest::Algorithm;
use crate::protocol::{
    DiskDigests, Node, RangePage, Snapshot, SnapshotChange, SnapshotEntry, SnapshotRequest, Vm,
    VmReport,
};

/// Spares an answer what is allocated in disks.
const WITHOUT_CHUNKS: (&str, bool) = ("chunks", false);

impl Client {
    /// The node and its repositories.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn node(&self) -> Result<Node, ClientError> {
        self.get("node", MANY).await
    }

    /// Every virtual machine that the node sees.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn vms(&self) -> Result<Vec<Vm>, ClientError> {
        self.get("vms", MANY).await
    }

    /// One virtual machine.
    ///
    /// # Errors
    /// [`ClientError`]; 404 where the node does not see it.
    pub async fn vm(&self, vm: &str) -> Result<Vm, ClientError> {
        self.get(&format!("vms/{}", segment(vm)), ONE).await
    }

    /// What a machine's disks hold, read from a snapshot; none: the latest one.
    ///
    /// # Errors
    /// [`ClientError`]; 404 where there is no snapshot.
    pub async fn report(&self, vm: &str, snapshot: Option<Uuid>) -> Result<VmReport, ClientError> {
        let path = format!("vms/{}/report", segment(vm));
        let mut request = self.session.request(Method::GET, &path);
        if let Some(snapshot) = snapshot {
            request = request.query(&[("snapshot", snapshot)]);
        }
        self.session.call(WORK, MANY, request).await
    }

    /// The snapshots of all machines, those that cannot be used among them. Finding out how much
    /// each holds alone (`space`) takes the daemon a look at every extent.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn all_snapshots(&self, space: bool) -> Result<Vec<SnapshotEntry>, ClientError> {
        let request = self.session.request(Method::GET, "snapshots");
        let request = request.query(&[("space", space)]);
        self.session.call(WORK, MANY, request).await
    }

    /// Takes a snapshot of all disks of a machine.
    ///
    /// # Errors
    /// [`ClientError`]; 400 where a disk cannot be cloned, 507 where the repository is full.
    pub async fn create_snapshot(&self, vm: &str) -> Result<Snapshot, ClientError> {
        self.create_snapshot_with(vm, &SnapshotRequest::default())
            .await
    }

    /// Takes a snapshot as the request says. With an idempotency key, a request that is sent again
    /// answers the snapshot that the first one took.
    ///
    /// # Errors
    /// [`ClientError`]; besides those of [`Client::create_snapshot`], 409 where the key belongs to
    /// another request or the machine has too many snapshots, 503 where it cannot be paused now.
    pub async fn create_snapshot_with(
        &self,
        vm: &str,
        wish: &SnapshotRequest,
    ) -> Result<Snapshot, ClientError> {
        let request = self.session.request(Method::POST, &snapshots_path(vm));
        self.session.call(WORK, WHOLE, request.json(wish)).await
    }

    /// The same. The answer is without the ranges of its disks, which those who stream them do not
    /// need: a million of them are 60 MB.
    ///
    /// # Errors
    /// As [`Client::create_snapshot_with`].
    pub async fn create_snapshot_without_ranges(
        &self,
        vm: &str,
        wish: &SnapshotRequest,
    ) -> Result<Snapshot, ClientError> {
        let request = self.session.request(Method::POST, &snapshots_path(vm));
        let request = request.query(&[WITHOUT_CHUNKS]);
        self.session.call(WORK, ONE, request.json(wish)).await
    }

    /// The snapshots of a machine that can be used now, oldest first.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn snapshots(&self, vm: &str) -> Result<Vec<Snapshot>, ClientError> {
        let request = self.session.request(Method::GET, &snapshots_path(vm));
        self.session.call(WORK, WHOLE, request).await
    }

    /// A snapshot: the data ranges of each disk, or with `base` what changed since that one. For
    /// disks of many extents, [`Client::ranges`] and [`Client::delta`] need less memory.
    ///
    /// # Errors
    /// [`ClientError`]; 404 where either is gone, 409 where either is not what was sealed.
    pub async fn snapshot(
        &self,
        vm: &str,
        snapshot: Uuid,
        base: Option<Uuid>,
    ) -> Result<Snapshot, ClientError> {
        self.snapshot_with(vm, snapshot, base, true).await
    }

    /// A snapshot without the ranges of its disks.
    ///
    /// # Errors
    /// As [`Client::snapshot`].
    pub async fn snapshot_without_ranges(
        &self,
        vm: &str,
        snapshot: Uuid,
    ) -> Result<Snapshot, ClientError> {
        let path = snapshot_path(vm, snapshot);
        let request = self.session.request(Method::GET, &path);
        let request = request.query(&[WITHOUT_CHUNKS]);
        self.session.call(WORK, ONE, request).await
    }

    /// The same. Without `squash`, neighbouring ranges are not joined.
    ///
    /// # Errors
    /// As [`Client::snapshot`].
    pub async fn snapshot_with(
        &self,
        vm: &str,
        snapshot: Uuid,
        base: Option<Uuid>,
        squash: bool,
    ) -> Result<Snapshot, ClientError> {
        let path = snapshot_path(vm, snapshot);
        let mut request = self.session.request(Method::GET, &path);
        let mut limit = WORK;
        if !squash {
            request = request.query(&[("squashChunks", false)]);
        }
        if let Some(base) = base {
            limit = READING;
            request = request.query(&[("compareTo", base)]);
        }
        self.session.call(limit, WHOLE, request).await
    }

    /// Changes a snapshot's label or term. The answer is without the ranges of its disks, which are
    /// not looked at: a snapshot that cannot be read any more can be changed.
    ///
    /// # Errors
    /// [`ClientError`]; 404 where it is gone.
    pub async fn change_snapshot(
        &self,
        vm: &str,
        snapshot: Uuid,
        change: &SnapshotChange,
    ) -> Result<Snapshot, ClientError> {
        let path = snapshot_path(vm, snapshot);
        let request = self.session.request(Method::PATCH, &path);
        let request = request.query(&[WITHOUT_CHUNKS]);
        self.session.call(WORK, ONE, request.json(change)).await
    }

    /// As [`Client::change_snapshot`], with the data ranges of its disks in the answer.
    ///
    /// # Errors
    /// [`ClientError`]; besides those, 409 where a disk is not what was sealed.
    pub async fn change_snapshot_with_ranges(
        &self,
        vm: &str,
        snapshot: Uuid,
        change: &SnapshotChange,
    ) -> Result<Snapshot, ClientError> {
        let path = snapshot_path(vm, snapshot);
        let request = self.session.request(Method::PATCH, &path);
        self.session.call(WORK, WHOLE, request.json(change)).await
    }

    /// Deletes a snapshot; one that is gone is no error.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn delete_snapshot(&self, vm: &str, snapshot: Uuid) -> Result<(), ClientError> {
        let path = snapshot_path(vm, snapshot);
        let request = self.session.request(Method::DELETE, &path);
        self.session.send(request).await.map(drop)
    }

    /// Deletes every snapshot of a machine.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn delete_all_snapshots(&self, vm: &str) -> Result<(), ClientError> {
        let request = self.session.request(Method::DELETE, &snapshots_path(vm));
        self.session.send(request).await.map(drop)
    }

    /// Reads `length` bytes of a snapshot's disk at `offset`, as a response whose body is to be
    /// read bit by bit.
    ///
    /// # Errors
    /// [`ClientError`]; [`ClientError::Short`] where the answer is not the range that was asked
    /// for.
    pub async fn read(
        &self,
        vm: &str,
        snapshot: Uuid,
        disk: &str,
        offset: u64,
        length: u64,
    ) -> Result<Response, ClientError> {
        let place = DiskOf { vm, snapshot, disk };
        let response = self.read_range(&place, offset, length).await?;
        if is_partial(&response) && response.content_length() == Some(length) {
            return Ok(response);
        }
        Err(short(disk, offset, length))
    }

    /// The same, with fewer bytes where the disk ends before.
    ///
    /// # Errors
    /// As [`Client::read`]; 416 where the disk ends before `offset`.
    pub async fn read_up_to(
        &self,
        disk: &DiskOf<'_>,
        offset: u64,
        length: u64,
    ) -> Result<Response, ClientError> {
        let response = self.read_range(disk, offset, length).await?;
        let comes = response.content_length();
        let is_right = comes == Some(length)
            || comes.is_some_and(|comes| comes < length && is_tail(&response, offset, comes));
        if is_partial(&response) && is_right {
            return Ok(response);
        }
        Err(short(disk.disk, offset, length))
    }

    async fn read_range(
        &self,
        disk: &DiskOf<'_>,
        offset: u64,
        length: u64,
    ) -> Result<Response, ClientError> {
        let last = offset.saturating_add(length.saturating_sub(1));
        let request = self
            .session
            .request(Method::GET, &disk_path(disk))
            .header(RANGE, format!("bytes={offset}-{last}"));
        self.session.send(request).await
    }

    /// A page of what a replica must write, from offset `from` on; at most `limit` ranges, the
    /// daemon's own default without one.
    ///
    /// # Errors
    /// [`ClientError`]; 404 where a snapshot or disk is gone, 409 where one is not what was sealed.
    pub async fn ranges(
        &self,
        disk: &DiskOf<'_>,
        comparison: &Comparison,
        from: u64,
        limit: Option<usize>,
    ) -> Result<RangePage, ClientError> {
        let path = format!("{}/ranges", disk_path(disk));
        let mut request = self
            .session
            .request(Method::GET, &path)
            .query(&comparison.query())
            .query(&[("from", from)]);
        if let Some(limit) = limit {
            request = request.query(&[("limit", limit)]);
        }
        self.session.call(READING, MANY, request).await
    }

    /// Every byte that a replica must write, from offset `from` on.
    ///
    /// # Errors
    /// As [`Client::ranges`]; what comes later is an error of the stream.
    pub async fn delta(
        &self,
        disk: &DiskOf<'_>,
        comparison: &Comparison,
        from: u64,
        compression: Compression,
    ) -> Result<DeltaStream, ClientError> {
        self.delta_between(disk, comparison, from, None, compression)
            .await
    }

    /// Every byte that a replica must write, from offset `from` up to `to`, or to the disk's end.
    ///
    /// # Errors
    /// As [`Client::delta`]; [`DeltaError::Malformed`](crate::protocol::delta::DeltaError) where the
    /// daemon answers with another part of the disk.
    pub async fn delta_between(
        &self,
        disk: &DiskOf<'_>,
        comparison: &Comparison,
        from: u64,
        to: Option<u64>,
        compression: Compression,
    ) -> Result<DeltaStream, ClientError> {
        let path = format!("{}/delta", disk_path(disk));
        let mut request = self
            .session
            .request(Method::GET, &path)
            .query(&comparison.query())
            .query(&[("compression", compression.as_str())])
            .query(&[("from", from)]);
        if let Some(to) = to {
            request = request.query(&[("to", to)]);
        }
        let stream = DeltaStream::open(self.session.send(request).await?).await?;
        let header = stream.header();
        let end = to.unwrap_or(header.size);
        if (header.from, header.end()) != (from, end) {
            return Err(DeltaError::Malformed(format!(
                "{from} to {end} was asked for, and it is from {} to {}",
                header.from,
                header.end()
            ))
            .into());
        }
        Ok(stream)
    }

    /// All of it as Ceph's `rbd diff v1`, as a response whose body is to be read bit by bit.
    ///
    /// # Errors
    /// As [`Client::ranges`].
    pub async fn rbd_delta(
        &self,
        disk: &DiskOf<'_>,
        comparison: &Comparison,
    ) -> Result<Response, ClientError> {
        let path = format!("{}/delta", disk_path(disk));
        let request = self
            .session
            .request(Method::GET, &path)
            .query(&comparison.query())
            .query(&[("format", "rbd")]);
        self.session.send(request).await
    }

    /// Digests of a disk's bytes: of the whole, and of each block of `block` bytes, if named.
    ///
    /// # Errors
    /// [`ClientError`]; 400 for a block size that is not a multiple of 4096 or below 65536.
    pub async fn digests(
        &self,
        disk: &DiskOf<'_>,
        algorithm: Algorithm,
        block: Option<u64>,
    ) -> Result<DiskDigests, ClientError> {
        let path = format!("{}/digests", disk_path(disk));
        let mut request = self
            .session
            .request(Method::GET, &path)
            .query(&[("algorithm", algorithm.as_str())]);
        if let Some(block) = block {
            request = request.query(&[("block", block)]);
        }
        self.session.call(READING, MANY, request).await
    }

    async fn get<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        largest: usize,
    ) -> Result<T, ClientError> {
        let request = self.session.request(Method::GET, path);
        self.session.call(LOOK, largest, request).await
    }
}

fn is_partial(response: &Response) -> bool {
    response.status() == StatusCode::PARTIAL_CONTENT
}

/// Whether an answer is said to be a disk's last `length` bytes, from `offset` on.
fn is_tail(response: &Response, offset: u64, length: u64) -> bool {
    let size = offset.saturating_add(length);
    let last = size.saturating_sub(1);
    response
        .headers()
        .get(CONTENT_RANGE)
        .is_some_and(|told| told == format!("bytes {offset}-{last}/{size}").as_str())
}

fn short(disk: &str, offset: u64, length: u64) -> ClientError {
    ClientError::Short {
        disk: disk.to_owned(),
        offset,
        length,
    }
}
