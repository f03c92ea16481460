//! Volume groups that LVM's own tools have made, on loop devices.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use coriolis_ovm_exporter::protocol::Content;

use super::guest_disks::images::{Image, MIB, blkid, run};

/// A disk that LVM may use, and nothing else of this machine.
struct Volumes {
    disks: Vec<Image>,
    devices: Vec<String>,
    folder: tempfile::TempDir,
}

impl Volumes {
    fn new(sizes: &[u64]) -> Volumes {
        let disks: Vec<Image> = sizes.iter().map(|size| Image::new(*size)).collect();
        let devices = disks
            .iter()
            .map(|disk| {
                disk.tool("losetup", &["--find", "--show"])
                    .trim()
                    .to_owned()
            })
            .collect();
        Volumes {
            disks,
            devices,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// Runs a tool of LVM's without the kernel's device mapper.
    fn lvm(&self, words: &str, more: &[&str]) -> String {
        let accepted: String = self
            .devices
            .iter()
            .map(|it| format!("\"a|^{it}$|\","))
            .collect();
        let folder = self.folder.path().display();
        let config = format!(
            "devices {{ use_devicesfile=0 filter=[{accepted}\"r|.*|\"] obtain_device_list_from_udev=0 }} \
             activation {{ udev_sync=0 udev_rules=0 }} backup {{ backup=0 archive=0 }} \
             global {{ locking_dir=\"{folder}\" use_lvmpolld=0 event_activation=0 }}"
        );
        let mut words = words.split(' ');
        let program = words.next().unwrap();
        let mut arguments = vec!["--config", &config, "--driverloaded", "n"];
        arguments.extend(words);
        arguments.extend(more);
        run(program, &arguments)
    }

    fn volume(&self, name: &str, extents: &str) {
        let words = format!("lvcreate -an -Zn -Wn -y -n {name} -l {extents} vg_guest");
        self.lvm(&words, &[]);
    }

    fn field(&self, program: &str, field: &str, name: &str) -> String {
        let words = format!("{program} --noheadings --units b --nosuffix -o {field}");
        self.lvm(&words, &[name]).trim().to_owned()
    }

    /// What is found on a disk.
    fn content(&self, disk: usize) -> Content {
        self.disks[disk].look().content.unwrap()
    }
}

impl Drop for Volumes {
    fn drop(&mut self) {
        for device in &self.devices {
            run("losetup", &["--detach", device]);
        }
    }
}

/// Copies a file system to where a logical volume begins.
fn put(disk: &Image, begin: u64, path: &Path) {
    let bytes = fs::read(path).unwrap();
    let file = fs::File::options().write(true).open(disk.path()).unwrap();
    file.write_all_at(&bytes, begin).unwrap();
}

#[test]
fn a_group_on_one_disk_with_what_is_in_its_volumes() {
    let volumes = Volumes::new(&[300 * MIB]);
    let device = volumes.devices[0].clone();
    volumes.lvm("pvcreate -y", &[&device]);
    volumes.lvm("vgcreate vg_guest", &[&device]);
    volumes.volume("root", "8");
    volumes.volume("swap_1", "4");
    volumes.volume("empty", "2");
    let begin: u64 = volumes.field("pvs", "pe_start", &device).parse().unwrap();
    let (root, swap) = (
        Image::made_by(32 * MIB, "mkfs.ext4", &["-q", "-F", "-L", "root"]),
        Image::made_by(16 * MIB, "mkswap", &["-L", "swap"]),
    );
    put(&volumes.disks[0], begin, &root.path());
    put(&volumes.disks[0], begin + 32 * MIB, &swap.path());

    let found = volumes.content(0);
    assert_eq!((found.kind.as_str(), found.size), ("lvm2", Some(300 * MIB)));
    assert_eq!(
        found.uuid.as_ref(),
        blkid(&volumes.disks[0].path(), &[]).get("UUID")
    );
    let group = found.group.unwrap();
    assert_eq!(
        (group.name.as_str(), group.physical_volumes),
        ("vg_guest", 1)
    );
    assert_eq!(group.uuid, volumes.field("vgs", "vg_uuid", "vg_guest"));
    let names: Vec<_> = group.volumes.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["root", "swap_1", "empty"]);
    for (volume, inside) in group.volumes.iter().zip([Some(&root), Some(&swap), None]) {
        let name = format!("vg_guest/{}", volume.name);
        assert_eq!(volume.uuid, volumes.field("lvs", "lv_uuid", &name));
        assert_eq!(
            volume.size.to_string(),
            volumes.field("lvs", "lv_size", &name)
        );
        let said = inside.map(Image::blkid);
        let uuid = said.as_ref().and_then(|said| said.get("UUID"));
        assert_eq!(
            volume.content.as_ref().and_then(|it| it.uuid.as_ref()),
            uuid,
            "{name}"
        );
    }
    let label = volumes.disks[0]
        .look()
        .content
        .unwrap()
        .group
        .unwrap()
        .volumes[0]
        .content
        .clone();
    assert_eq!(label.unwrap().label.as_deref(), Some("root"));
}

#[test]
fn a_group_on_two_disks_after_many_changes() {
    let volumes = Volumes::new(&[100 * MIB, 100 * MIB]);
    let [one, two] = [0, 1].map(|at| volumes.devices[at].clone());
    volumes.lvm("pvcreate -y --metadatasize 64k", &[&one, &two]);
    volumes.lvm("vgcreate vg_guest", &[&one, &two]);
    // Descriptions are written one after the other into a ring, and go round.
    for number in 0..20 {
        volumes.volume(&format!("volume-{number}"), "1");
    }
    volumes.lvm("lvremove -y vg_guest/volume-3", &[]);
    volumes.lvm("lvcreate -an -Zn -Wn -y -i 2 -n striped -l 4 vg_guest", &[]);
    for disk in 0..2 {
        let found = volumes.disks[disk].look();
        assert_eq!(found.notes, [""; 0]);
        let group = found.content.unwrap().group.unwrap();
        assert_eq!((group.physical_volumes, group.volumes.len()), (2, 20));
        assert!(!group.volumes.iter().any(|it| it.name == "volume-3"));
        let striped = group
            .volumes
            .iter()
            .find(|it| it.name == "striped")
            .unwrap();
        assert_eq!(striped.content, None);
        assert_eq!(striped.size, 16 * MIB);
    }
}

#[test]
fn damaged_descriptions_leave_the_physical_volume() {
    let volumes = Volumes::new(&[64 * MIB]);
    let device = volumes.devices[0].clone();
    volumes.lvm("pvcreate -y", &[&device]);
    let empty = volumes.content(0);
    assert_eq!(
        (empty.kind.as_str(), &empty.group),
        ("lvm2", &None),
        "of no group yet"
    );
    volumes.lvm("vgcreate vg_guest", &[&device]);
    volumes.volume("root", "4");
    let disk = &volumes.disks[0];
    assert!(volumes.content(0).group.is_some());
    let area = disk.read(4096, 512);
    let at = u64::from_le_bytes(area[40..48].try_into().unwrap());
    disk.write(4096 + at + 100, b"#");
    let found = disk.look();
    assert!(found.notes[0].contains("is damaged"), "{:?}", found.notes);
    assert_eq!(
        (
            found.content.as_ref().unwrap().uuid.as_ref(),
            found.content.as_ref().unwrap().group.as_ref()
        ),
        (empty.uuid.as_ref(), None)
    );
    // Without its label it is nothing.
    disk.write(512 + 30, &[0]);
    assert_eq!(disk.look().content, None);
}
