//! `snapshot download`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::Args;
use tokio::task::block_in_place;
use uuid::Uuid;

use super::half_applied::{Deed, Mark};
use crate::cli::patience::Patience;
use crate::cli::progress::{Progress, clock};
use crate::cli::words::{compression, refine};
use crate::cli::{say, size, subject};
use crate::client::target::{self, RawFile, Target, TargetOptions};
use crate::client::{Client, ClientError, Comparison, DeltaStream, DiskOf};
use crate::protocol::Refine;
use crate::protocol::delta::{Compression, DeltaError, Item, StreamHeader};
use crate::sys::durable::sync_directory;

/// Options of `snapshot download`.
#[derive(Debug, Args)]
pub struct DownloadOptions {
    /// The machine may be left out.
    #[arg(value_names = ["[VM] SNAPSHOT"], num_args = 1..=2, required = true)]
    words: Vec<String>,
    /// The folder; it is made where it is not there.
    #[arg(long, value_name = "DIR")]
    out_dir: PathBuf,
    /// The files there hold this older snapshot: bring only what changed since.
    #[arg(long, value_name = "SNAPSHOT")]
    diff_from: Option<String>,
    /// Only this disk; may be repeated.
    #[arg(long = "disk", value_name = "NAME")]
    disks: Vec<String>,
    /// How the bytes travel: none, lz4, zstd, or auto: packed as long as the link is what takes
    /// the time.
    #[arg(long, default_value = "none", value_parser = compression)]
    compression: Compression,
    /// Whether bytes are compared inside of what the maps name: none, auto, 4096.
    #[arg(long, default_value = "auto", value_parser = refine)]
    refine: Refine,
}

/// One disk on its way.
struct Download<'a> {
    client: &'a Client,
    disk: DiskOf<'a>,
    comparison: Comparison,
    compression: Compression,
}

/// Where its bytes go.
struct Place {
    target: Arc<dyn Target>,
    /// Nothing was in it: zeros need not be written.
    is_blank: bool,
    /// Says that it is written to.
    mark: Mark,
    /// What with, where it is not a new file that gets its name at the end.
    in_place: Option<Deed>,
    /// The name that it gets when it is complete, from the one that it has.
    rename: Option<(PathBuf, PathBuf)>,
}

/// Bytes that were moved.
#[derive(Debug, Default)]
struct Moved {
    data: u64,
    zeros: u64,
    /// Over the wire.
    received: u64,
}

impl Moved {
    fn count(&mut self, item: &Item) {
        match item {
            Item::Data { bytes, .. } => self.data += bytes.len() as u64,
            Item::Zero { length, .. } => self.zeros += length,
            Item::Header(_) | Item::Reached(_) | Item::End(_) => {}
        }
    }
}

pub async fn run(client: &Client, options: &DownloadOptions, quiet: bool) -> anyhow::Result<()> {
    let (vm, ids) = subject::split(&options.words, 1);
    let subject = subject::find(client, vm, subject::id(&ids[0])?).await?;
    let base = options.diff_from.as_deref().map(subject::id).transpose()?;
    let disks = subject.chosen(&options.disks)?;
    let folder = &options.out_dir;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut places = Vec::new();
    for disk in disks {
        let Ok(name) = target::file_name(disk) else {
            bail!("{disk:?} cannot be the name of a file; use `ovm-exporter replicate --disk`");
        };
        let download = Download {
            client,
            disk: DiskOf {
                vm: &subject.vm,
                snapshot: subject.snapshot,
                disk,
            },
            comparison: Comparison {
                refine: options.refine,
                ..Comparison::to(base)
            },
            compression: options.compression,
        };
        let path = folder.join(name);
        places.push(download.run(&path, quiet).await?);
    }
    // The files there hold one snapshot again: before, no other increment fits all of them.
    block_in_place(|| places.iter().try_for_each(Place::unmark))?;
    Ok(())
}

impl Download<'_> {
    async fn run(&self, path: &Path, quiet: bool) -> anyhow::Result<Place> {
        let stream = self.open(0).await.with_context(|| {
            let disk = self.disk.disk;
            format!("cannot download {disk}")
        })?;
        let header = stream.header();
        let place = match header.base {
            Some(base) => self.changed(path, base, header.size).await?,
            None => Place::whole(path, self.disk.snapshot)?,
        };
        let mut progress = Progress::new(self.disk.disk, quiet);
        let moved = self
            .transfer(stream, &place, &mut progress)
            .await
            .with_context(|| {
                let name = path.display();
                format!("{name} is not complete; run the same command again")
            })?;
        let time = progress.end();
        if !quiet {
            say(&format!(
                "{}: {} data, {} zeros; {} received in {}",
                path.display(),
                size::text(moved.data),
                size::text(moved.zeros),
                size::text(moved.received),
                clock(time),
            ));
        }
        Ok(place)
    }

    /// All of the stream, and of those that follow where one breaks, to its place.
    async fn transfer(
        &self,
        mut stream: DeltaStream,
        place: &Place,
        progress: &mut Progress,
    ) -> anyhow::Result<Moved> {
        let header = stream.header().clone();
        progress.total(header.size);
        block_in_place(|| place.prepare(header.size))?;
        let mut moved = Moved::default();
        let mut patience = Patience::default();
        loop {
            let broken = match stream.next().await {
                Ok(Some(Item::End(_))) => break,
                Ok(Some(item)) => {
                    block_in_place(|| place.take(&item))?;
                    moved.count(&item);
                    patience.renew();
                    progress.received(moved.received + stream.received());
                    progress.reached(stream.reached());
                    continue;
                }
                // It says of itself that there is always an end.
                Ok(None) => bail!("the daemon's stream has no end"),
                Err(error) => error,
            };
            patience.wait(broken).await?;
            moved.received += stream.received();
            let reached = stream.reached();
            stream = self.again(&header, reached).await?;
        }
        moved.received += stream.received();
        block_in_place(|| place.keep())?;
        Ok(moved)
    }

    /// Asks for the stream, as often as that may be of use.
    async fn open(&self, from: u64) -> Result<DeltaStream, ClientError> {
        let mut patience = Patience::default();
        loop {
            let asked = self
                .client
                .delta(&self.disk, &self.comparison, from, self.compression);
            let opened = asked
                .await
                .and_then(|stream| self.check(stream.header()).map(|()| stream));
            match opened {
                Ok(stream) => return Ok(stream),
                Err(error) => patience.wait(error).await?,
            }
        }
    }

    /// Whether a stream is of what was asked for.
    fn check(&self, header: &StreamHeader) -> Result<(), ClientError> {
        let is_it = header.snapshot == self.disk.snapshot && header.disk == self.disk.disk;
        let is_based = header.base.is_none() || header.base == self.comparison.base;
        if is_it && is_based {
            return Ok(());
        }
        let what = format!(
            "its header says {} {:?} since {:?}, which was not asked for",
            header.snapshot, header.disk, header.base
        );
        Err(DeltaError::Malformed(what).into())
    }

    /// The same stream from where it broke.
    async fn again(&self, header: &StreamHeader, from: u64) -> anyhow::Result<DeltaStream> {
        let stream = self.open(from).await?;
        let found = stream.header();
        if (found.size, found.base) != (header.size, header.base) {
            bail!("the daemon's answer is another one than before");
        }
        Ok(stream)
    }

    /// The file that holds the base, as far as its size tells.
    async fn changed(&self, path: &Path, base: Uuid, size: u64) -> anyhow::Result<Place> {
        let name = path.display();
        let Ok(found) = fs::metadata(path) else {
            bail!("{name} is not there: download snapshot {base} first, without --diff-from");
        };
        let of_base = DiskOf {
            snapshot: base,
            ..self.disk
        };
        let all = Comparison::default();
        let first = self.client.ranges(&of_base, &all, 0, Some(1)).await?;
        let expected = first.size;
        // It has the new size already where an earlier try has begun.
        if found.is_file() && found.len() != expected && found.len() != size {
            bail!(
                "{name} has {} bytes and the disk has {expected} in snapshot {base}: it holds \
                 something else",
                found.len()
            );
        }
        let deed = Deed {
            base: Some(base),
            snapshot: self.disk.snapshot,
        };
        // Opened, it is locked: nobody else leaves or removes a mark now.
        let place = Place::in_place(path, deed)?;
        place.mark.admits(deed, path)?;
        Ok(place)
    }
}

impl Place {
    /// A new file beside the one that is there, which is replaced when the new one is complete. What
    /// is no file, or a link to one, is written to.
    fn whole(path: &Path, snapshot: Uuid) -> anyhow::Result<Place> {
        let found = fs::symlink_metadata(path);
        if found.is_ok_and(|found| !found.is_file()) {
            return Ok(Place::in_place(
                path,
                Deed {
                    base: None,
                    snapshot,
                },
            )?);
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let partial = path.with_file_name(format!(".{name}.partial"));
        let target = RawFile::open(&partial)?;
        target.prepare(0)?;
        Ok(Place {
            target: Arc::new(target),
            is_blank: true,
            mark: Mark::of(path),
            in_place: None,
            rename: Some((partial, path.to_owned())),
        })
    }

    /// What is there, written to.
    fn in_place(path: &Path, deed: Deed) -> std::io::Result<Place> {
        Ok(Place {
            target: target::open(path, &TargetOptions::default())?,
            is_blank: false,
            mark: Mark::of(path),
            in_place: Some(deed),
            rename: None,
        })
    }

    /// Before the first write.
    fn prepare(&self, size: u64) -> std::io::Result<()> {
        if let Some(deed) = self.in_place {
            self.mark.leave(deed)?;
        }
        self.target.prepare(size)
    }

    fn take(&self, item: &Item) -> std::io::Result<()> {
        match item {
            Item::Data { offset, bytes } => self.target.write_at(*offset, bytes),
            Item::Zero { offset, length } if !self.is_blank => self.target.zero(*offset, *length),
            Item::Zero { .. } | Item::Header(_) | Item::Reached(_) | Item::End(_) => Ok(()),
        }
    }

    /// Brings all of it to stable storage, under its name.
    fn keep(&self) -> std::io::Result<()> {
        self.target.flush()?;
        if let Some((from, to)) = &self.rename {
            fs::rename(from, to)?;
            sync_directory(to.parent().unwrap_or(Path::new(".")))?;
        }
        match self.in_place {
            // The others are to hold the same snapshot before it may go on from there.
            Some(Deed { base: Some(_), .. }) => Ok(()),
            _ => self.mark.remove(),
        }
    }

    /// It holds what it shall hold, and so do all others.
    fn unmark(&self) -> std::io::Result<()> {
        self.mark.remove()
    }
}
