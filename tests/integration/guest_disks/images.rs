//! Disks made by real tools, in files.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use coriolis_ovm_exporter::guest::{self, Source};
use coriolis_ovm_exporter::protocol::DiskContents;

pub const MIB: u64 = 1 << 20;

/// A disk in a file.
pub struct Image {
    folder: tempfile::TempDir,
    pub size: u64,
}

pub struct Reader(pub File);

impl Source for Reader {
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }
}

/// Runs a tool that succeeds, and gives what it prints.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
        .env("MTOOLS_SKIP_CHECK", "1")
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("cannot run {program}: {error}; see scripts/setup.sh"));
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {output:?}"
    );
    String::from_utf8(output.stdout).unwrap()
}

impl Image {
    /// Of zeros.
    pub fn new(size: u64) -> Image {
        let image = Image {
            folder: tempfile::tempdir().unwrap(),
            size,
        };
        File::create(image.path()).unwrap().set_len(size).unwrap();
        image
    }

    /// The same, and a tool has worked on it: its path follows the arguments.
    pub fn made_by(size: u64, program: &str, arguments: &[&str]) -> Image {
        let image = Image::new(size);
        image.tool(program, arguments);
        image
    }

    pub fn tool(&self, program: &str, arguments: &[&str]) -> String {
        let path = self.path();
        let arguments: Vec<&str> = arguments
            .iter()
            .copied()
            .chain([path.to_str().unwrap()])
            .collect();
        run(program, &arguments)
    }

    /// Another one with the same bytes.
    pub fn copy(&self) -> Image {
        let (copy, path) = (Image::new(0), self.path());
        copy.tool("cp", &["--sparse=always", path.to_str().unwrap()]);
        Image {
            size: self.size,
            ..copy
        }
    }

    /// The same disk, cut off or followed by zeros.
    pub fn resized(mut self, size: u64) -> Image {
        let file = File::options().write(true).open(self.path()).unwrap();
        file.set_len(size).unwrap();
        self.size = size;
        self
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("disk.img")
    }

    pub fn reader(&self) -> Reader {
        Reader(File::open(self.path()).unwrap())
    }

    pub fn look(&self) -> DiskContents {
        guest::look(&mut self.reader(), self.size)
    }

    pub fn write(&self, at: u64, bytes: &[u8]) {
        let file = File::options().write(true).open(self.path()).unwrap();
        file.write_all_at(bytes, at).unwrap();
    }

    pub fn read(&self, at: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.reader().read_at(at, &mut bytes).unwrap();
        bytes
    }

    /// Copies another one into this one.
    pub fn put(&self, at: u64, other: &Image) {
        let bytes = fs::read(other.path()).unwrap();
        for (number, piece) in bytes.chunks(1 << 16).enumerate() {
            if piece.iter().any(|byte| *byte != 0) {
                self.write(at + ((number as u64) << 16), piece);
            }
        }
    }

    /// What blkid says of it.
    pub fn blkid(&self) -> BTreeMap<String, String> {
        blkid(&self.path(), &[])
    }

    /// What partx says of each partition: number, start, length, type, name.
    pub fn partx(&self) -> Vec<(u32, u64, u64, String, String)> {
        let columns = "NR,START,SECTORS,TYPE,NAME";
        let printed = self.tool("partx", &["--pairs", "--output", columns]);
        let field = |line: &str, key: &str| {
            let (_, rest) = line.split_once(&format!("{key}=\"")).unwrap();
            rest.split_once('"').unwrap().0.to_owned()
        };
        printed
            .lines()
            .map(|line| {
                let sectors = |key: &str| field(line, key).parse::<u64>().unwrap() * 512;
                let kind = field(line, "TYPE");
                let kind = kind
                    .strip_prefix("0x")
                    .map_or(kind.clone(), |hex| format!("{hex:0>2}"));
                let number = field(line, "NR").parse().unwrap();
                (
                    number,
                    sectors("START"),
                    sectors("SECTORS"),
                    kind,
                    plain(&field(line, "NAME")),
                )
            })
            .collect()
    }
}

/// What blkid says of a file.
pub fn blkid(path: &Path, arguments: &[&str]) -> BTreeMap<String, String> {
    let mut all = vec!["-p", "-o", "udev"];
    all.extend(arguments);
    all.push(path.to_str().unwrap());
    run("blkid", &all)
        .lines()
        .filter_map(|line| line.split_once('='))
        .filter_map(|(key, value)| {
            let key = match key {
                "ID_PART_TABLE_UUID" => "PTUUID",
                "ID_FS_LABEL_ENC" => "LABEL",
                "ID_FS_LABEL" => return None,
                other => other.strip_prefix("ID_FS_")?,
            };
            Some((key.to_owned(), plain(value)))
        })
        .collect()
}

/// Odd bytes are written `\xc3`.
fn plain(text: &str) -> String {
    let mut parts = text.split("\\x");
    let mut bytes = parts.next().unwrap().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
        bytes.extend(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).unwrap()
}

/// A disk as an installer makes it for UEFI machines.
pub fn uefi() -> Image {
    let disk = Image::new(256 * MIB);
    disk.tool(
        "sgdisk",
        &[
            "-n1:2048:+64M",
            "-t1:ef00",
            "-c1:EFI System",
            "-n2:0:+80M",
            "-t2:8300",
            "-c2:root ü",
            "-n3:0:+32M",
            "-t3:8200",
            "-n4:0:0",
            "-t4:8e00",
        ],
    );
    let parts = disk.partx();
    let inside: [(&str, &[&str]); 3] = [
        ("mkfs.vfat", &["-F", "32", "-n", "ESP"]),
        ("mkfs.ext4", &["-q", "-F", "-L", "root"]),
        ("mkswap", &["-L", "swap"]),
    ];
    for (part, (program, arguments)) in parts.iter().zip(inside) {
        disk.put(part.1, &Image::made_by(part.2, program, arguments));
    }
    disk
}

/// The same for BIOS machines, with logical partitions, and GRUB's code.
pub fn bios() -> Image {
    let disk = Image::new(256 * MIB);
    for command in [
        "mklabel msdos",
        "mkpart primary ext4 1MiB 65MiB",
        "set 1 boot on",
        "mkpart extended 65MiB 100%",
        "mkpart logical linux-swap 66MiB 98MiB",
        "mkpart logical ext2 99MiB 131MiB",
        "mkpart logical ntfs 132MiB 164MiB",
    ] {
        let path = disk.path();
        let words = ["-s", path.to_str().unwrap()];
        let words: Vec<&str> = words.into_iter().chain(command.split(' ')).collect();
        run("parted", &words);
    }
    let boot = fs::read("/usr/lib/grub/i386-pc/boot.img").expect("the Debian package grub-pc-bin");
    disk.write(0, &boot[..440]);
    let inside: [(u32, &str, &[&str]); 4] = [
        (1, "mkfs.ext4", &["-q", "-F", "-L", "/boot"]),
        (5, "mkswap", &["-L", "swap"]),
        (6, "mkfs.ext3", &["-q", "-F", "-L", "data"]),
        (7, "mkfs.ntfs", &["-q", "-Q", "-F", "-L", "Daten"]),
    ];
    for part in disk.partx() {
        if let Some((_, program, arguments)) = inside.iter().find(|(number, ..)| *number == part.0)
        {
            disk.put(part.1, &Image::made_by(part.2, program, arguments));
        }
    }
    disk
}
