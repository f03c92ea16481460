//! Virtual machines as OVM lays them out: a vm.cfg and the disks it names.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A stand-in virtual machine.
#[derive(Debug, Clone)]
pub struct Machine {
    /// 32 hexadecimal digits.
    pub id: String,
    /// The name that people gave it.
    pub friendly_name: String,
    /// Its disks' files.
    pub disks: Vec<PathBuf>,
}

impl Machine {
    /// Makes a machine in `repository` with disks of those sizes (bytes), sparse and empty, and a
    /// CD in its drive.
    ///
    /// # Errors
    /// The file system's.
    pub fn create(
        repository: &Path,
        number: u32,
        friendly_name: &str,
        sizes: &[u64],
    ) -> io::Result<Machine> {
        let id = format!("0004fb0000060000{number:016x}");
        let disks_folder = repository.join("VirtualDisks");
        let isos = repository.join("ISOs");
        let folder = repository.join("VirtualMachines").join(&id);
        for folder in [&disks_folder, &isos, &folder] {
            fs::create_dir_all(folder)?;
        }
        let iso = isos.join(format!("0004fb0000150000{number:016x}.iso"));
        fs::write(&iso, b"a CD that nobody copies")?;
        let mut disks = Vec::new();
        for (at, size) in sizes.iter().enumerate() {
            let path = disks_folder.join(format!("0004fb00001200{at:02x}{number:016x}.img"));
            File::create_new(&path)?.set_len(*size)?;
            disks.push(path);
        }
        let machine = Machine {
            id,
            friendly_name: friendly_name.to_owned(),
            disks,
        };
        fs::write(folder.join("vm.cfg"), machine.config(&iso))?;
        Ok(machine)
    }

    fn config(&self, iso: &Path) -> String {
        let mut entries: Vec<String> = self
            .disks
            .iter()
            .zip('a'..='z')
            .map(|(path, letter)| format!("'file:{},xvd{letter},w'", path.display()))
            .collect();
        entries.push(format!("'file:{},xvdz:cdrom,r'", iso.display()));
        let mac: Vec<&str> = self
            .id
            .as_bytes()
            .rchunks(2)
            .take(3)
            .filter_map(|pair| std::str::from_utf8(pair).ok())
            .collect();
        format!(
            "# written by the demo\n\
             OVM_simple_name = '{name}'\n\
             OVM_domain_type = 'xen_hvm_pv_drivers'\n\
             OVM_os_type = 'Oracle Linux 6'\n\
             name = '{id}'\n\
             uuid = '{uuid}'\n\
             disk = [{disks}]\n\
             vif = ['mac=00:21:f6:{mac},bridge=0004fb0010']\n\
             vcpus = '2'\n\
             memory = 2048\n\
             boot = 'cd'\n\
             expected = 1L\n",
            name = self.friendly_name,
            id = self.id,
            uuid = dashed(&self.id),
            disks = entries.join(",\n        "),
            mac = mac.join(":"),
        )
    }
}

fn dashed(id: &str) -> String {
    uuid::Uuid::try_parse(id).map_or_else(|_| id.to_owned(), |id| id.to_string())
}

/// Writes random bytes to a disk, `length` at `offset`.
///
/// # Errors
/// The file system's.
pub fn scribble(
    disk: &File,
    random: &mut super::guest::Random,
    offset: u64,
    length: u64,
) -> io::Result<()> {
    let mut block = vec![0; 1 << 20];
    let mut position = offset;
    while position < offset + length {
        let step = (offset + length - position).min(1 << 20);
        let room = &mut block[..usize::try_from(step).map_err(io::Error::other)?];
        random.fill(room);
        disk.write_all_at(room, position)?;
        position += step;
    }
    Ok(())
}
