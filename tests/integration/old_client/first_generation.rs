//! A client of the first generation: only its routes, only its fields, all of them required.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use reqwest::{Method, RequestBuilder, Response};
use serde::Deserialize;

use crate::support::node::TestNode;

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Vm {
    pub friendly_name: String,
    pub name: String,
    pub uuid: String,
    pub disks: Vec<VmDisk>,
    pub snapshot_compatible: bool,
    pub snapshots: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct VmDisk {
    pub name: String,
    pub path: String,
    pub device_name: String,
    pub snapshot_compatible: bool,
    pub mode: String,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Snapshot {
    pub id: String,
    pub vm_id: String,
    pub disks: Vec<SnapshotDisk>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct SnapshotDisk {
    pub parent_path: PathBuf,
    pub path: PathBuf,
    pub snapshot_id: String,
    pub chunks: Vec<Chunk>,
    pub name: String,
    pub repo_mountpoint: PathBuf,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Chunk {
    pub start: u64,
    pub length: u64,
    /// Never used; an old client fails without it.
    pub physical_start: u64,
}

/// What the first generation's Python client does, in Rust.
pub struct OldClient {
    endpoint: String,
    slash: &'static str,
    http: reqwest::Client,
    pub token: String,
}

impl OldClient {
    pub async fn login(
        node: &TestNode,
        username: &str,
        password: &str,
        slash: &'static str,
    ) -> OldClient {
        #[derive(Deserialize)]
        struct Login {
            token: String,
        }
        let mut client = OldClient {
            endpoint: node.endpoint(),
            slash,
            http: node.http(),
            token: String::new(),
        };
        let body = serde_json::json!({"username": username, "password": password});
        let request = client.request(Method::POST, "/auth/login", "").json(&body);
        client.token = sent(request).await.json::<Login>().await.unwrap().token;
        client
    }

    fn request(&self, method: Method, path: &str, query: &str) -> RequestBuilder {
        let url = format!("{}/api/v1{path}{}{query}", self.endpoint, self.slash);
        self.http.request(method, url).bearer_auth(&self.token)
    }

    async fn get<T: for<'de> Deserialize<'de>>(&self, path: &str, query: &str) -> T {
        let response = sent(self.request(Method::GET, path, query)).await;
        response.json().await.unwrap()
    }

    pub async fn vms(&self) -> Vec<Vm> {
        self.get("/vms", "").await
    }

    pub async fn vm(&self, vm: &str) -> Vm {
        self.get(&format!("/vms/{vm}"), "").await
    }

    pub async fn snapshots(&self, vm: &str) -> Vec<Snapshot> {
        self.get(&format!("/vms/{vm}/snapshots"), "").await
    }

    pub async fn create_snapshot(&self, vm: &str) -> Snapshot {
        let path = format!("/vms/{vm}/snapshots");
        let response = sent(self.request(Method::POST, &path, "")).await;
        response.json().await.unwrap()
    }

    pub async fn snapshot(&self, vm: &str, id: &str, compare_to: Option<&str>) -> Snapshot {
        let query = match compare_to {
            None => "?squashChunks=True".to_owned(),
            Some(base) => format!("?squashChunks=True&compareTo={base}"),
        };
        self.get(&format!("/vms/{vm}/snapshots/{id}"), &query).await
    }

    pub async fn delete_snapshot(&self, vm: &str, id: &str) {
        self.delete(&format!("/vms/{vm}/snapshots/{id}")).await;
    }

    pub async fn delete_all_snapshots(&self, vm: &str) {
        self.delete(&format!("/vms/{vm}/snapshots")).await;
    }

    async fn delete(&self, path: &str) {
        let response = sent(self.request(Method::DELETE, path, "")).await;
        assert_eq!(response.status(), 200);
        assert!(response.bytes().await.unwrap().is_empty());
    }

    fn disk(snapshot: &Snapshot, disk: &SnapshotDisk) -> String {
        let Snapshot { id, vm_id, .. } = snapshot;
        format!("/vms/{vm_id}/snapshots/{id}/disks/{}", disk.name)
    }

    pub async fn disk_size(&self, snapshot: &Snapshot, disk: &SnapshotDisk) -> u64 {
        let path = Self::disk(snapshot, disk);
        let response = sent(self.request(Method::HEAD, &path, "")).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["accept-ranges"], "bytes");
        let length = response.headers()["content-length"].to_str().unwrap();
        length.parse().unwrap()
    }

    async fn chunk(&self, snapshot: &Snapshot, disk: &SnapshotDisk, chunk: &Chunk) -> bytes::Bytes {
        let (first, last) = (chunk.start, chunk.start + chunk.length - 1);
        let request = self
            .request(Method::GET, &Self::disk(snapshot, disk), "")
            .header("Range", format!("bytes={first}-{last}"));
        let response = sent(request).await;
        assert_eq!(response.status(), 206);
        let range = response.headers()["content-range"].to_str().unwrap();
        assert!(
            range.starts_with(&format!("bytes {first}-{last}/")),
            "{range}"
        );
        let bytes = response.bytes().await.unwrap();
        assert_eq!(bytes.len() as u64, chunk.length);
        bytes
    }

    /// Every chunk of every disk into new sparse files of the disks' sizes.
    pub async fn download_full(&self, snapshot: &Snapshot, folder: &Path) -> u64 {
        for disk in &snapshot.disks {
            let replica = File::create_new(folder.join(&disk.name)).unwrap();
            replica
                .set_len(self.disk_size(snapshot, disk).await)
                .unwrap();
        }
        self.write_chunks(snapshot, folder).await
    }

    /// Every chunk into the files of the run before. A disk that has grown must get its new size
    /// by what is written; one that has shrunk is cut.
    pub async fn download_changes(&self, snapshot: &Snapshot, folder: &Path) -> u64 {
        let moved = self.write_chunks(snapshot, folder).await;
        for disk in &snapshot.disks {
            let size = self.disk_size(snapshot, disk).await;
            let path = folder.join(&disk.name);
            let written = fs::metadata(&path).unwrap().len();
            assert!(written >= size, "the chunks of {} end too early", disk.name);
            let replica = File::options().write(true).open(&path).unwrap();
            replica.set_len(size).unwrap();
        }
        moved
    }

    async fn write_chunks(&self, snapshot: &Snapshot, folder: &Path) -> u64 {
        let mut moved = 0;
        for disk in &snapshot.disks {
            let replica = File::options().write(true).open(folder.join(&disk.name));
            let replica = replica.unwrap();
            for chunk in &disk.chunks {
                let bytes = self.chunk(snapshot, disk, chunk).await;
                replica.write_all_at(&bytes, chunk.start).unwrap();
                moved += chunk.length;
            }
        }
        moved
    }
}

/// `raise_for_status()`.
async fn sent(request: RequestBuilder) -> Response {
    let response = request.send().await.unwrap();
    let status = response.status();
    if !status.is_success() {
        let url = response.url().clone();
        panic!("{status} for {url}: {}", response.text().await.unwrap());
    }
    response
}
