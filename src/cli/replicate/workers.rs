//! Disks that go to destination workers of Coriolis's.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::Args;
use reqwest::Url;

use crate::client::target::Target;
use crate::client::target::coriolis::{
    HttpsWorker, HttpsWriter, MessageStream, MessageWriter, Packing, WorkerKeys, WriterOptions,
};
use crate::protocol::digest::{Algorithm, BlockDigests};

/// Options of `replicate` for them.
#[derive(Debug, Args)]
#[command(next_help_heading = "Destination workers of Coriolis's")]
pub struct WorkerOptions {
    /// This disk to a volume of a worker: https://HOST:5566/dev/vdb, or with --writer-command the path
    /// of the volume there; may be repeated. What lies on it nobody can tell: the first run wants
    /// --zeroed or --overwrite.
    #[arg(long = "to-writer", value_name = "NAME=URL", value_parser = volume)]
    volumes: Vec<(String, Volume)>,
    /// Which volume a disk goes to, by an id that no other volume ever has, such as the destination's own for
    /// it; may be repeated. It is compared with that of the run before. With --writer-command, or where a
    /// worker makes no checksums, nothing else tells that it is still the same volume: without it each run
    /// copies everything, with --overwrite.
    #[arg(long = "volume-id", value_name = "NAME=ID", value_parser = identity)]
    identities: Vec<(String, String)>,
    /// Certificate authority that has signed the worker's certificate (PEM file).
    #[arg(long, value_name = "FILE")]
    writer_ca: Option<PathBuf>,
    /// Our certificate for the worker (PEM file).
    #[arg(long, value_name = "FILE")]
    writer_cert: Option<PathBuf>,
    /// Its key (PEM file).
    #[arg(long, value_name = "FILE")]
    writer_key: Option<PathBuf>,
    /// What takes a volume's messages on its standard input: a line for the shell, such as
    /// exec ssh worker 'sudo flock /dev/vdb sh -c "./write_data && sync /dev/vdb"' (the lock keeps an
    /// older writer away, and sync of the device tells of its errors). A name that lasts, such as
    /// /dev/disk/by-id/…, is better than /dev/vdb. Not with --verify: nobody makes checksums there.
    #[arg(long, value_name = "COMMAND")]
    writer_command: Option<String>,
    /// Whether bytes are packed on their way there: auto, while they would have to wait anyway;
    /// always; never.
    #[arg(long, value_name = "WHEN", default_value = "auto", value_parser = packing)]
    writer_packing: Packing,
}

/// Where a volume is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Volume {
    /// Of a worker at this endpoint, at this path there.
    Https(String, String),
    /// Where the command leads to, at this path.
    Messages(String),
}

/// Reads `NAME=URL`.
fn volume(text: &str) -> Result<(String, Volume), String> {
    let form = "it is NAME=https://HOST:5566/dev/…, or NAME=/dev/…";
    let (name, place) = text.split_once('=').ok_or(form)?;
    if name.is_empty() {
        return Err(form.to_owned());
    }
    if place.starts_with('/') {
        return Ok((name.to_owned(), Volume::Messages(place.to_owned())));
    }
    let url = Url::parse(place).map_err(|error| format!("{form}: {error}"))?;
    let is_device = url.scheme() == "https" && url.path().len() > 1;
    if !is_device || url.query().is_some() || url.fragment().is_some() {
        return Err(form.to_owned());
    }
    // As it was written: what a URL would change in it is a part of its name.
    let device = place.splitn(4, '/').nth(3).unwrap_or_default();
    let endpoint = place.strip_suffix(device).unwrap_or(place);
    let endpoint = endpoint.trim_end_matches('/').to_owned();
    Ok((
        name.to_owned(),
        Volume::Https(endpoint, format!("/{device}")),
    ))
}

/// Reads `NAME=ID`.
fn identity(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, id)) if !name.is_empty() && !id.trim().is_empty() => {
            Ok((name.to_owned(), id.trim().to_owned()))
        }
        _ => Err("it is NAME=ID".to_owned()),
    }
}

fn packing(text: &str) -> Result<Packing, String> {
    Packing::of_name(text).ok_or_else(|| "it is one of auto, always, never".to_owned())
}

/// Volumes by the names of their disks, and workers that can be spoken to.
#[derive(Debug, Clone)]
pub struct Workers {
    volumes: BTreeMap<String, Volume>,
    identities: BTreeMap<String, String>,
    workers: BTreeMap<String, HttpsWorker>,
    command: Option<String>,
    packing: Packing,
}

impl WorkerOptions {
    /// The disks that go to workers.
    pub fn disks(&self) -> impl Iterator<Item = &str> {
        self.volumes.iter().map(|(name, _)| name.as_str())
    }

    /// A disk that goes where no checksum can be made.
    pub fn unverifiable(&self) -> Option<&str> {
        let mut volumes = self.volumes.iter();
        let found = volumes.find(|(_, volume)| matches!(volume, Volume::Messages(_)));
        found.map(|(name, _)| name.as_str())
    }

    /// What is needed to open them. Nobody is spoken to yet.
    ///
    /// # Errors
    /// Where something is missing, or cannot be used.
    pub fn workers(&self) -> anyhow::Result<Workers> {
        let mut volumes = BTreeMap::new();
        let mut workers = BTreeMap::new();
        for (name, volume) in &self.volumes {
            if volumes.insert(name.clone(), volume.clone()).is_some() {
                bail!("--to-writer {name}=…: it is said twice where this disk goes; give it once");
            }
            match volume {
                Volume::Https(endpoint, _) => {
                    let worker = HttpsWorker::at(endpoint, &self.keys()?)?;
                    workers.entry(endpoint.clone()).or_insert(worker);
                }
                Volume::Messages(path) if self.writer_command.is_none() => bail!(
                    "--to-writer {name}={path}: give --writer-command, which leads there, or \
                     https://HOST:5566{path}"
                ),
                Volume::Messages(_) => {}
            }
        }
        let mut identities = BTreeMap::new();
        for (name, id) in &self.identities {
            if !volumes.contains_key(name) {
                bail!("--volume-id {name}={id}: give --to-writer {name}=… too");
            }
            if identities.insert(name.clone(), id.clone()).is_some() {
                bail!("--volume-id {name}=…: it is said twice which volume that is; give it once");
            }
            let namesakes = self.identities.iter().filter(|(_, other)| other == id);
            if namesakes.count() > 1 {
                bail!("--volume-id {name}={id}: two disks cannot go to one volume");
            }
        }
        Ok(Workers {
            volumes,
            identities,
            workers,
            command: self.writer_command.clone(),
            packing: self.writer_packing,
        })
    }

    fn keys(&self) -> anyhow::Result<WorkerKeys> {
        let given = self.writer_ca.as_ref().zip(self.writer_cert.as_ref());
        let ((authority, certificate), key) = given.zip(self.writer_key.as_ref()).context(
            "--to-writer with https://… needs --writer-ca, --writer-cert and --writer-key: worker \
             and client show each other certificates",
        )?;
        Ok(WorkerKeys::read(authority, certificate, key)?)
    }
}

impl Workers {
    /// The volume of a disk, if it goes to one.
    ///
    /// # Errors
    /// What keeps it from being opened.
    pub fn open(&self, disk: &str, declared_zeroed: bool) -> io::Result<Option<Arc<dyn Target>>> {
        let options = WriterOptions {
            declared_zeroed,
            packing: self.packing,
            identity: self.identities.get(disk).cloned(),
            ..WriterOptions::default()
        };
        Ok(match self.volumes.get(disk) {
            None => None,
            Some(Volume::Https(endpoint, device)) => self
                .workers
                .get(endpoint)
                .map(|worker| Arc::new(HttpsWriter::to(worker, device, options)) as _),
            Some(Volume::Messages(device)) => {
                let line = self.command.clone().unwrap_or_default();
                let options = WriterOptions {
                    name: Some(format!("{device} by command {}", mark(&line))),
                    ..options
                };
                let writer = MessageWriter::to(device, options, move || {
                    let mut command = Command::new("/bin/sh");
                    command.arg("-c").arg(&line);
                    MessageStream::of_command(command)
                });
                Some(Arc::new(writer?))
            }
        })
    }
}

/// Tells one command from another, without what may be secret in it: the same path behind another one
/// is another volume.
fn mark(command: &str) -> String {
    let mut digest = BlockDigests::new(Algorithm::Sha256, None);
    digest.take(command.as_bytes());
    let mut mark = digest.finish().whole;
    mark.truncate(12);
    mark
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volumes_id_is_anything_but_nothing() {
        let read = |text| identity(text).ok();
        let pair = |name: &str, id: &str| Some((name.to_owned(), id.to_owned()));
        assert_eq!(read("a.img=3f=1"), pair("a.img", "3f=1"));
        assert_eq!(read("a.img= 3f "), pair("a.img", "3f"));
        for bad in ["a.img", "a.img=", "a.img=  ", "=3f"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_volume_is_a_url_or_a_path() {
        let https = |endpoint: &str, device: &str| {
            let volume = Volume::Https(endpoint.to_owned(), device.to_owned());
            Ok(("a.img".to_owned(), volume))
        };
        assert_eq!(
            volume("a.img=https://w:5566/dev/vdb"),
            https("https://w:5566", "/dev/vdb")
        );
        assert_eq!(
            volume("a.img=https://[::1]/dev/disk/by-id/a b=%20"),
            https("https://[::1]", "/dev/disk/by-id/a b=%20")
        );
        assert_eq!(
            volume("a.img=/dev/vdb"),
            Ok(("a.img".to_owned(), Volume::Messages("/dev/vdb".to_owned())))
        );
        for bad in [
            "a.img",
            "=https://w/dev/vdb",
            "a.img=",
            "a.img=dev/vdb",
            "a.img=https://w",
            "a.img=https://w/",
            "a.img=http://w/dev/vdb",
            "a.img=https://w/dev/vdb?x",
        ] {
            assert!(volume(bad).is_err(), "{bad}");
        }
    }
}
