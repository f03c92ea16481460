use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use anyhow::Context as _;

use crate::client::target::Target;
use crate::sys::{page_cache, regular_file};

/// A file or block device that is looked at and not touched: it may be on a read-only file system,
/// and is not made where it is not there.
pub struct ReadOnly {
    name: String,
    file: File,
}

impl ReadOnly {
    pub fn open(path: &Path) -> anyhow::Result<ReadOnly> {
        let name = path.display().to_string();
        let file = regular_file::open_or_block_device(path)
            .with_context(|| format!("cannot read {name}"))?;
        Ok(ReadOnly { name, file })
    }

    /// Bytes of a regular file; None for a device, which may be larger than its disk.
    pub fn file_length(&self) -> io::Result<Option<u64>> {
        let found = self.file.metadata()?;
        Ok(found.is_file().then_some(found.len()))
    }

    fn refused() -> io::Error {
        io::Error::new(io::ErrorKind::Unsupported, "it is only read")
    }
}

impl Target for ReadOnly {
    /// That of a device is where it ends; its metadata do not say.
    fn size(&self) -> io::Result<u64> {
        (&self.file).seek(SeekFrom::End(0))
    }

    fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Err(ReadOnly::refused())
    }

    fn zero(&self, _: u64, _: u64) -> io::Result<()> {
        Err(ReadOnly::refused())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let length = buffer.len();
        self.file.read_exact_at(buffer, offset).map_err(|error| {
            let name = &self.name;
            let text = format!("{name}: cannot read {length} bytes at {offset}: {error}");
            io::Error::new(error.kind(), text)
        })
    }

    fn forget_copies(&self) -> io::Result<()> {
        page_cache::drop_clean(&self.file)
    }

    fn readable(&self) -> bool {
        true
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}
