//! Disks that fall sick and get well, by the kernel's device mapper (`linux/dm-ioctl.h`).
#![allow(unsafe_code)]

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use nix::libc;

/// `_IOWR(0xfd, …, struct dm_ioctl)`.
const DEV_CREATE: libc::Ioctl = 0xC138_FD03;
const DEV_SUSPEND: libc::Ioctl = 0xC138_FD06;
const TABLE_LOAD: libc::Ioctl = 0xC138_FD09;
/// For the exchange of a table: the file system is neither asked to write out what it has first,
/// nor are requests under way waited for.
const SKIP_LOCKFS: u32 = 1 << 10;
const NOFLUSH: u32 = 1 << 11;

const HEAD: usize = size_of::<Head>();
const SPEC: usize = size_of::<Spec>();
const _: () = assert!(HEAD == 312 && SPEC == 40);

/// `struct dm_ioctl`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Head {
    version: [u32; 3],
    data_size: u32,
    data_start: u32,
    target_count: u32,
    open_count: i32,
    flags: u32,
    event_nr: u32,
    padding: u32,
    dev: u64,
    name: [u8; 128],
    uuid: [u8; 129],
    data: [u8; 7],
}

/// `struct dm_target_spec`, its parameters behind it.
#[repr(C)]
#[derive(Clone, Copy)]
struct Spec {
    sector_start: u64,
    length: u64,
    status: i32,
    next: u32,
    target_type: [u8; 16],
}

/// A target with its parameters.
#[repr(C)]
struct Request {
    head: Head,
    spec: Spec,
    parameters: [u8; 256],
}

/// How a disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    Well,
    /// Reads work.
    WritesFail,
    AllFails,
}

/// A device that maps a whole disk.
#[derive(Debug)]
pub struct Mapped {
    control: File,
    disk: PathBuf,
    name: String,
    sectors: u64,
    /// `/dev/dm-…`
    pub device: PathBuf,
}

impl Mapped {
    /// A new device for a disk, well.
    pub fn new(disk: &Path, name: &str) -> Mapped {
        let control = File::options()
            .read(true)
            .write(true)
            .open("/dev/mapper/control")
            .unwrap();
        let size = Path::new("/sys/class/block")
            .join(disk.file_name().unwrap())
            .join("size");
        let mut mapped = Mapped {
            control,
            disk: disk.to_owned(),
            name: name.to_owned(),
            sectors: fs::read_to_string(size).unwrap().trim().parse().unwrap(),
            device: PathBuf::new(),
        };
        let made = mapped.request(DEV_CREATE, 0, None).unwrap();
        // The kernel's own coding of a device number: minor in bits 0–7 and 20–31.
        let minor = (made.dev & 0xFF) | ((made.dev >> 12) & 0xF_FF00);
        mapped.device = format!("/dev/dm-{minor}").into();
        mapped.turn(Health::Well);
        mapped
    }

    /// From now on the disk is so.
    pub fn turn(&self, health: Health) {
        let disk = self.disk.display();
        let (target, parameters) = match health {
            Health::Well => ("linear", format!("{disk} 0")),
            // Up for 0 s, then down for longer than anybody waits.
            Health::WritesFail => ("flakey", format!("{disk} 0 0 36000 1 error_writes")),
            Health::AllFails => ("error", String::new()),
        };
        self.request(TABLE_LOAD, 0, Some((target, &parameters)))
            .unwrap_or_else(|error| panic!("{target} {parameters}: {error}"));
        self.request(DEV_SUSPEND, SKIP_LOCKFS | NOFLUSH, None)
            .unwrap_or_else(|error| panic!("{health:?}: {error}"));
    }

    fn request(
        &self,
        call: libc::Ioctl,
        flags: u32,
        target: Option<(&str, &str)>,
    ) -> io::Result<Head> {
        let mut request = Request {
            head: Head {
                version: [4, 0, 0],
                data_size: u32::try_from(size_of::<Request>()).unwrap(),
                data_start: u32::try_from(HEAD).unwrap(),
                target_count: u32::from(target.is_some()),
                open_count: 0,
                flags,
                event_nr: 0,
                padding: 0,
                dev: 0,
                name: [0; 128],
                uuid: [0; 129],
                data: [0; 7],
            },
            spec: Spec {
                sector_start: 0,
                length: self.sectors,
                status: 0,
                next: 0,
                target_type: [0; 16],
            },
            parameters: [0; 256],
        };
        request.head.name[..self.name.len()].copy_from_slice(self.name.as_bytes());
        if let Some((target, parameters)) = target {
            request.spec.target_type[..target.len()].copy_from_slice(target.as_bytes());
            request.parameters[..parameters.len()].copy_from_slice(parameters.as_bytes());
        }
        // SAFETY: the descriptor is open; the structure is laid out as the kernel's, is as large
        // as its `data_size` says, and outlives the call, which reads and writes inside it only.
        let result = unsafe { libc::ioctl(self.control.as_raw_fd(), call, &raw mut request) };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(request.head)
    }
}
