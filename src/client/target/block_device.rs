use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

use super::failure::{Ground, in_use, invalid, refused};
use super::hardware::names;
use super::opening::{Found, TargetOptions, write_zeros};
use super::state::State;
use super::users::users;
use super::{Fingerprint, Target, failure};
use crate::protocol::digest::{Algorithm, BlockDigests};
use crate::sys::{block_device, hole, page_cache};

/// So much is zeroed by one call: a device without a command for it takes its time, and others'
/// writes wait for the call. A multiple of every sector and page.
const STRIDE: u64 = 64 << 20;

/// How many places of a device are looked at, to find out whether it holds zeros, as is said, or what
/// was left there, and how much at each.
const SAMPLES: u64 = 32;
const SAMPLE: usize = 64 << 10;

/// A block device of its own: a disk, a partition, a logical volume.
///
/// Nobody else can mount it or put it into an array meanwhile, and no second run can open it
/// (`O_EXCL`). What lies behind the disk's end, on a larger device, is left alone.
#[derive(Debug)]
pub struct BlockDevice {
    name: String,
    device: File,
    state: State,
    discard: bool,
    /// The device's own zeroing is used for whole multiples of this, bytes: a logical sector, and a
    /// page of the cache. Another thread may write to the rest of a page right now, and only writes
    /// through the cache keep out of each other's way there.
    unit: u64,
}

impl BlockDevice {
    /// Opens the device for itself alone.
    ///
    /// # Errors
    /// [`io::ErrorKind::ResourceBusy`] where it is mounted, part of something else, or written by
    /// another run; [`io::ErrorKind::PermissionDenied`] or
    /// [`io::ErrorKind::ReadOnlyFilesystem`] where it cannot be written;
    /// [`io::ErrorKind::InvalidInput`] for what is no block device.
    pub fn open(path: &Path, options: &TargetOptions) -> io::Result<BlockDevice> {
        let name = path.display().to_string();
        if Found::at(path)? != Found::Device {
            return Err(invalid(format!("{name}: it is no block device")));
        }
        let device = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_EXCL)
            .open(path)
            .map_err(|error| not_opened(path, &name, error))?;
        let failed = |error| refused(Ground::Device, &name, "look at it", error);
        if !device
            .metadata()
            .map_err(failed)?
            .file_type()
            .is_block_device()
        {
            return Err(invalid(format!("{name}: it has just become another file")));
        }
        if block_device::is_read_only(&device).map_err(failed)? {
            return Err(read_only(&name));
        }
        let size = block_device::size(&device).map_err(failed)?;
        let sector = block_device::logical_sector(&device).map_err(failed)?;
        let blank = options.declared_zeroed && seems_blank(&device, &name, size)?;
        Ok(BlockDevice {
            state: State::new(size, blank),
            discard: options.discard,
            unit: sector.max(block_device::page()),
            name,
            device,
        })
    }

    fn failed(&self, deed: String, error: io::Error) -> io::Error {
        refused(Ground::Device, &self.name, deed, error)
    }

    /// Zeroes whole units.
    fn zero_units(&self, offset: u64, length: u64) -> io::Result<()> {
        // Room is given back by a call that does so only with the device's promise of zeros. It is
        // not BLKDISCARD: after that anything may be read.
        if self.discard && hole::punch(&self.device, offset, length)? {
            return Ok(());
        }
        if block_device::zero_out(&self.device, offset, length)? {
            return Ok(());
        }
        write_zeros(&self.device, offset, length)
    }
}

/// The whole units inside of a range that ends at `end`, if there are any.
fn whole_units(offset: u64, end: u64, unit: u64) -> Option<(u64, u64)> {
    let start = offset.checked_next_multiple_of(unit)?;
    let stop = end - end % unit;
    (start < stop).then_some((start, stop))
}

impl Target for BlockDevice {
    fn size(&self) -> io::Result<u64> {
        block_device::size(&self.device)
            .map_err(|error| self.failed("look at it".to_owned(), error))
    }

    fn prepare(&self, disk: u64) -> io::Result<()> {
        let size = self.size()?;
        if size < disk {
            return Err(failure::too_small(&self.name, size, disk));
        }
        self.state.set_limit(disk);
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let length = bytes.len();
        self.state.check(&self.name, offset, length as u64)?;
        self.state.is_written_to();
        self.device
            .write_all_at(bytes, offset)
            .map_err(|error| self.failed(format!("write {length} bytes at {offset}"), error))
    }

    fn zero(&self, offset: u64, length: u64) -> io::Result<()> {
        self.state.check(&self.name, offset, length)?;
        let end = offset + length;
        let failed = |at: u64, until: u64, error| {
            self.failed(format!("zero {} bytes at {at}", until - at), error)
        };
        let write = |at: u64, until: u64| {
            write_zeros(&self.device, at, until - at).map_err(|error| failed(at, until, error))
        };
        let Some((start, stop)) = whole_units(offset, end, self.unit) else {
            return write(offset, end);
        };
        write(offset, start)?;
        let mut at = start;
        while at < stop {
            let next = (at - at % STRIDE + STRIDE).min(stop);
            self.zero_units(at, next - at)
                .map_err(|error| failed(at, next, error))?;
            at = next;
        }
        write(stop, end)
    }

    fn flush(&self) -> io::Result<()> {
        self.state.flush(&self.name, || {
            self.device
                .sync_all()
                .map_err(|error| self.failed("bring it to stable storage".to_owned(), error))
        })
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let length = buffer.len();
        self.state.check(&self.name, offset, length as u64)?;
        self.device
            .read_exact_at(buffer, offset)
            .map_err(|error| self.failed(format!("read {length} bytes at {offset}"), error))
    }

    fn forget_copies(&self) -> io::Result<()> {
        page_cache::drop_clean(&self.device)
            .map_err(|error| self.failed("read it anew".to_owned(), error))
    }

    fn readable(&self) -> bool {
        true
    }

    fn zeroed(&self) -> bool {
        self.state.is_blank()
    }

    /// Nobody keeps the time of a device's last write. Some of its bytes have to tell: those at its
    /// start, its end, and here and there.
    fn fingerprint(&self) -> io::Result<Option<Fingerprint>> {
        let failed = |error| self.failed("look at it".to_owned(), error);
        let names = names(&self.device.metadata().map_err(failed)?);
        let mut digest = BlockDigests::new(Algorithm::Blake3, None);
        let mut bytes = vec![0; SAMPLE];
        for (at, count) in samples(block_device::size(&self.device).map_err(failed)?) {
            let place = &mut bytes[..count];
            match self.device.read_exact_at(place, at) {
                Ok(()) => digest.take(place),
                // Where nothing of the disk lies, nobody has to be able to read.
                Err(_) => digest.take(b"unreadable"),
            }
        }
        Ok(Some(Fingerprint::of_device(&names, &digest.finish().whole)))
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}

/// Says what the kernel's short answers mean here.
fn not_opened(path: &Path, name: &str, error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::EBUSY) => {
            let users = fs::metadata(path).map(|device| users(&device));
            let users = match users {
                Ok(users) if !users.is_empty() => format!("it is {}", users.join(", ")),
                _ => "it is mounted, part of an array or a volume, or another run writes to it"
                    .to_owned(),
            };
            let text =
                format!("{name}: the device is in use: {users}; free it, or name another target");
            in_use(path, text)
        }
        Some(libc::EACCES | libc::EPERM | libc::EROFS)
            if File::open(path)
                .and_then(|device| block_device::is_read_only(&device))
                .unwrap_or(false) =>
        {
            read_only(name)
        }
        _ => refused(Ground::Device, name, "open it", error),
    }
}

fn read_only(name: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::ReadOnlyFilesystem,
        format!(
            "{name}: the device is read-only; make it writable (blockdev --setrw, or whatever \
             write-protects it), or name another target"
        ),
    )
}

/// Where samples of a device lie, and of how many bytes each is.
fn samples(size: u64) -> impl Iterator<Item = (u64, usize)> {
    let last = size.saturating_sub(SAMPLE as u64);
    (0..SAMPLES).map(move |sample| {
        let at = last / (SAMPLES - 1) * sample;
        let at = if sample == SAMPLES - 1 { last } else { at };
        let count = usize::try_from(size - at).map_or(SAMPLE, |left| left.min(SAMPLE));
        (at, count)
    })
}

/// Whether there are zeros wherever one looks. Somebody may say so of the wrong device, or of one
/// that an earlier run has written to: then what is not overwritten would stay. Disks with
/// anything on them have something at the start, or at the end.
fn seems_blank(device: &File, name: &str, size: u64) -> io::Result<bool> {
    let mut bytes = vec![0; SAMPLE];
    for (at, count) in samples(size) {
        let place = &mut bytes[..count];
        device.read_exact_at(place, at).map_err(|error| {
            let deed = format!("read {count} bytes at {at}");
            refused(Ground::Device, name, deed, error)
        })?;
        if let Some(found) = place.iter().position(|byte| *byte != 0) {
            tracing::warn!(
                target = name,
                offset = at + found as u64,
                "declared to be all zeros, but is not: zeros will be written"
            );
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_units_are_those_inside() {
        for (offset, end, expected) in [
            (0, 8192, Some((0, 8192))),
            (1, 8192, Some((4096, 8192))),
            (0, 8191, Some((0, 4096))),
            (1, 8191, None),
            (4096, 8192, Some((4096, 8192))),
            (4097, 4098, None),
            (0, 0, None),
            (4096, 4096, None),
            (u64::MAX - 1, u64::MAX, None),
        ] {
            assert_eq!(whole_units(offset, end, 4096), expected, "{offset}..{end}");
        }
    }

    #[test]
    fn a_sample_with_a_byte_in_it_is_not_blank() {
        // A file stands in for the device: only its bytes are asked for.
        let file = tempfile::tempfile().unwrap();
        for size in [0, 1, 4096, SAMPLE as u64, 10 << 20] {
            file.set_len(0).unwrap();
            file.set_len(size).unwrap();
            assert!(seems_blank(&file, "disk", size).unwrap());
            for at in [0, size.saturating_sub(1)] {
                if size > 0 {
                    file.write_all_at(&[1], at).unwrap();
                    assert!(!seems_blank(&file, "disk", size).unwrap(), "{size} {at}");
                    file.write_all_at(&[0], at).unwrap();
                }
            }
        }
    }
}
