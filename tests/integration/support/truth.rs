//! What a snapshot has to be for ever, as its client saw it: bytes, and what was said of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::api::{Api, text};

/// The bytes of a machine's disks, by the disks' paths.
pub type Images = Arc<BTreeMap<String, Vec<u8>>>;

/// The disks as they are now.
pub fn images(disks: &[PathBuf]) -> Images {
    let read = |path: &PathBuf| (path.display().to_string(), fs::read(path).unwrap());
    Arc::new(disks.iter().map(read).collect())
}

/// A snapshot that was answered.
#[derive(Debug, Clone)]
pub struct Truth {
    pub id: String,
    pub vm: String,
    pub label: Value,
    pub created_at: Timestamp,
    /// When it may go.
    pub ends: Option<Timestamp>,
    pub images: Images,
}

impl Truth {
    /// From what the daemon answered, and what the disks were when it was asked.
    pub fn of(answer: &Value, images: &Images) -> Truth {
        Truth {
            id: text(&answer["id"]).to_owned(),
            vm: text(&answer["vm_id"]).to_owned(),
            label: answer["label"].clone(),
            created_at: text(&answer["created_at"]).parse().unwrap(),
            ends: answer["expires_at"]
                .as_str()
                .map(|end| end.parse().unwrap()),
            images: images.clone(),
        }
    }

    /// The path of requests that are about it.
    pub fn path(&self) -> String {
        format!("/vms/{}/snapshots/{}", self.vm, self.id)
    }

    /// Whether its term is over, so that it may be gone.
    pub fn is_over(&self) -> bool {
        self.ends.is_some_and(|end| end <= Timestamp::now())
    }

    /// Bytes of all disks.
    pub fn size(&self) -> u64 {
        self.images.values().map(|image| image.len() as u64).sum()
    }

    /// Holds the files of a snapshot, as the daemon lists it, against the truth. Gives how many
    /// bytes those are: none of a snapshot whose term is over and that has gone meanwhile.
    pub fn check_files(&self, listed: &Value) -> u64 {
        let disks = listed["disks"].as_array().unwrap();
        assert_eq!(disks.len(), self.images.len(), "{listed}");
        let mut bytes = 0;
        for disk in disks {
            let file = match fs::read(text(&disk["path"])) {
                Err(_) if self.is_over() => continue,
                other => other.unwrap(),
            };
            let (name, id) = (&disk["name"], &self.id);
            let image = &self.images[text(&disk["parent_path"])];
            assert!(file == *image, "{name} of {id} has other bytes");
            bytes += file.len() as u64;
        }
        bytes
    }

    /// Downloads every disk, as far as the daemon lives, and gives how many bytes have come.
    pub async fn check_downloads(&self, api: &Api, listed: &Value) -> reqwest::Result<u64> {
        let mut bytes = 0;
        for disk in listed["disks"].as_array().unwrap() {
            let path = format!("{}/disks/{}", self.path(), text(&disk["name"]));
            let answer = api.try_body(reqwest::Method::GET, &path, "").await?;
            if matches!(answer.status, 404 | 503) {
                // Deleted, or being deleted; whoever knows better asserts that it is not.
                continue;
            }
            assert_eq!(answer.status, 200, "{path}: {answer:?}");
            let image = &self.images[text(&disk["parent_path"])];
            assert!(answer.body == *image, "{path} sends other bytes");
            bytes += answer.body.len() as u64;
        }
        Ok(bytes)
    }

    /// Holds what a comparison to an older snapshot names against the bytes of both: a replica of
    /// that, with the named ranges of this, is this.
    pub fn check_changes(&self, base: &Truth, compared: &Value) {
        for disk in compared["disks"].as_array().unwrap() {
            let parent = text(&disk["parent_path"]);
            let now = &self.images[parent];
            let mut replica = base.images[parent].clone();
            replica.resize(now.len(), 0);
            for chunk in disk["chunks"].as_array().unwrap() {
                let number = |key: &str| usize::try_from(chunk[key].as_u64().unwrap()).unwrap();
                let range = number("start")..number("start") + number("length");
                replica[range.clone()].copy_from_slice(&now[range]);
            }
            assert!(
                replica == *now,
                "{}: changes were missed: {compared}",
                self.id
            );
        }
    }
}
