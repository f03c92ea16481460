use super::super::disk::{DiskMode, DiskScheme};
use super::*;

const ID: &str = "0004fb0000060000ccaf98a0baa2c186";

/// As a node has it.
const REAL: &str = r#"
OVM_simple_name = 'example-vm'
vif = ['mac=00:21:f6:00:00:01,bridge=0004fb001', "type=ioemu,mac=00:21:f6:00:00:02,bridge=0004fb002,model=e1000"]
OVM_domain_type = 'xen_hvm_pv_drivers'
OVM_os_type = 'Oracle Linux 7'
name = '0004fb0000060000ccaf98a0baa2c186'
uuid = '0004fb00-0006-0000-ccaf-98a0baa2c186'
disk = ['file:/OVS/Repositories/0004/VirtualDisks/0004a.img,xvda,w',
        'file:/OVS/Repositories/0004/ISOs/0004b.iso,xvdb:cdrom,r',
        'phy:/dev/mapper/3600a0b80,xvdc,w!']
boot = 'cd'
vcpus = '2'            # numbers may be quoted
memory = 2048
ib_pkeys = [{'pf': '40:00.0', 'port': ['0', '0', '0', '0'], }, ]
expected = 1L
"#;

fn read(source: &str) -> VmConfig {
    VmConfig::parse(source.as_bytes(), ID).unwrap()
}

/// A file that has what every file has, and this.
fn with(source: &str) -> VmConfig {
    read(&format!("name = 'n'\ndisk = []\n{source}\n"))
}

#[test]
fn a_file_as_a_node_has_it() {
    for source in [
        REAL.to_owned(),
        REAL.replace('\n', "\r\n"),
        format!("\u{feff}{REAL}"),
    ] {
        let vm = read(&source);
        assert_eq!(vm.warnings, Vec::<String>::new());
        assert_eq!(vm.friendly_name, "example-vm");
        assert_eq!(vm.name, ID);
        assert!(vm.name_is_certain && vm.disks_complete);
        assert_eq!(vm.uuid, "0004fb00-0006-0000-ccaf-98a0baa2c186");
        assert_eq!((vm.vcpus, vm.memory_mib), (Some(2), Some(2048)));
        assert_eq!(vm.domain_type.as_deref(), Some("xen_hvm_pv_drivers"));
        assert_eq!(vm.os_type.as_deref(), Some("Oracle Linux 7"));
        assert_eq!(vm.boot_order.as_deref(), Some("cd"));
        assert_eq!(vm.nics.len(), 2);
        assert_eq!(vm.nics[1].bridge.as_deref(), Some("0004fb002"));
        let disks: Vec<_> = vm
            .disks
            .iter()
            .map(|disk| (&disk.scheme, disk.device_name.as_str(), &disk.mode))
            .collect();
        assert_eq!(
            disks,
            [
                (&DiskScheme::File, "xvda", &DiskMode::Write),
                (&DiskScheme::File, "xvdb", &DiskMode::Read),
                (&DiskScheme::Phy, "xvdc", &DiskMode::WriteShared),
            ]
        );
        assert!(vm.disks[1].is_read_only_cdrom());
    }
}

#[test]
fn friendly_names_that_once_were_blank_or_broke_every_call() {
    for (source, name) in [
        ("OVM_simple_name = 'a=b'", "a=b"),
        ("OVM_simple_name = \"k = 'v'\"", "k = 'v'"),
        ("OVM_simple_name = u'x'", "x"),
        ("OVM_simple_name = 'it\\'s'", "it's"),
        ("OVM_simple_name = 'one ' 'two'", "one two"),
        ("OVM_simple_name = 'caf\\xc3\\xa9'", "café"),
        ("OVM_simple_name = u'caf\\xe9'", "café"),
        ("OVM_simple_name = 7", "7"),
        ("OVM_simple_name = ''", "n"),
        ("OVM_simple_name = None", "n"),
        ("", "n"),
    ] {
        let vm = with(source);
        assert_eq!(vm.friendly_name, name, "{source}");
        assert_eq!(vm.warnings, Vec::<String>::new(), "{source}");
    }
}

#[test]
fn absent_values() {
    let vm = read("");
    assert_eq!((vm.friendly_name.as_str(), vm.name.as_str()), (ID, ID));
    assert_eq!(vm.uuid, "0004fb00-0006-0000-ccaf-98a0baa2c186");
    assert!(!vm.name_is_certain);
    assert_eq!(
        (vm.vcpus, vm.memory_mib, vm.domain_type),
        (None, None, None)
    );
    // An empty file is what a file is while it is being written.
    assert!(!vm.disks_complete);
    assert_eq!(vm.warnings.len(), 2, "{:?}", vm.warnings);

    let vm = VmConfig::parse(b"OVM_simple_name = 'x'\ndisk = []", "my-folder").unwrap();
    assert_eq!(
        (
            vm.friendly_name.as_str(),
            vm.name.as_str(),
            vm.uuid.as_str()
        ),
        ("x", "my-folder", "")
    );
    assert!(vm.disks_complete);
}

#[test]
fn domain_types() {
    for (source, expected) in [
        (
            "OVM_domain_type = 'xen_pvm'\nbuilder = 'hvm'",
            Some("xen_pvm"),
        ),
        ("builder = 'hvm'", Some("xen_hvm")),
        ("builder = 'linux'", Some("xen_pvm")),
        ("builder = 'generic'", Some("xen_pvm")),
        ("builder = 'odd'", None),
        ("", None),
    ] {
        assert_eq!(with(source).domain_type.as_deref(), expected, "{source}");
    }
}

#[test]
fn values_of_the_wrong_kind_are_said_and_hide_nothing() {
    for (source, word) in [
        ("vcpus = 'two'", "`vcpus`"),
        ("vcpus = -1", "`vcpus`"),
        ("vcpus = 4294967296", "`vcpus`"),
        ("memory = '2G'", "`memory`"),
        ("memory = [1]", "`memory`"),
        ("OVM_os_type = ['x']", "`OVM_os_type`"),
        ("OVM_simple_name = {}", "`OVM_simple_name`"),
        ("vif = 'mac=1,bridge=b'", "`vif`"),
        ("vif = [1]", "`vif`"),
        ("import os", "line 3"),
    ] {
        let vm = with(&format!("{source}\nboot = 'dc'"));
        assert_eq!(vm.warnings.len(), 1, "{source}: {:?}", vm.warnings);
        assert!(vm.warnings[0].contains(word), "{source}: {:?}", vm.warnings);
        assert_eq!(vm.boot_order.as_deref(), Some("dc"), "{source}");
        assert!(vm.disks_complete, "{source}");
    }
    assert_eq!(
        with("vif = 'mac=1,bridge=b'").nics[0].bridge.as_deref(),
        Some("b")
    );
}

#[test]
fn every_disk_is_listed() {
    let vm = read(
        "name = 'n'\ndisk = ['file:/a.img,xvda,w,0', 'phy:/dev/x,xvdb,w', u'file:///c.img,xvdc,w', 'garbage',\n 7, \
         ('file:/d.img,xvdd,w'), ',xvde:cdrom,r', 'file:/x/../e.img,xvdf,w', 'file:/caf\\xe9.img,xvdg,w']",
    );
    let shown: Vec<_> = vm
        .disks
        .iter()
        .map(|disk| (disk.path.as_str(), disk.problem))
        .collect();
    assert_eq!(
        shown,
        [
            ("/a.img", None),
            ("/dev/x", None),
            ("/c.img", None),
            ("garbage", Some(DiskProblem::Unreadable)),
            ("", Some(DiskProblem::NotAString)),
            ("/d.img", None),
            ("", None),
            ("/x/../e.img", Some(DiskProblem::ParentDirectory)),
            ("/caf\u{fffd}.img", Some(DiskProblem::NotUtf8)),
        ]
    );
    assert!(vm.disks_complete);
    let warned: Vec<_> = vm
        .warnings
        .iter()
        .filter_map(|warning| warning.split(':').nth(1))
        .collect();
    assert_eq!(
        warned,
        [" disk 4", " disk 5", " disk 8 (xvdf)", " disk 9 (xvdg)"],
        "{:?}",
        vm.warnings
    );
}

#[test]
fn disks_that_may_be_missing_are_said() {
    for (source, listed) in [
        ("disk = ['file:/a,xvda,w'\nboot = 'c'", 0),
        ("disk = ['file:/a,xvda,w', more()]", 0),
        (
            "disk = ['file:/a,xvda,w']\ndisk.append('file:/b,xvdb,w')",
            1,
        ),
        ("disk = ['file:/a,xvda,w']\ndisk += ['file:/b,xvdb,w']", 1),
        ("disk = ['file:/a,xvda,w']\nif big:\n    disk = []", 1),
        ("disk = {'a': 1}", 0),
        ("disk = 7", 0),
        ("", 0),
    ] {
        let vm = read(&format!("name = 'n'\n{source}"));
        assert!(!vm.disks_complete, "{source}");
        assert!(!vm.warnings.is_empty(), "{source}");
        assert_eq!(vm.disks.len(), listed, "{source}");
    }
    for (source, listed) in [
        ("disk = []", 0),
        ("disk = None", 0),
        ("disk = ()", 0),
        ("disk = 'file:/a,xvda,w'", 1),
        ("disk = 'file:/a,xvda,w',", 1),
        ("disk.clear()\ndisk = ['file:/a,xvda,w']", 1),
    ] {
        let vm = read(&format!("name = 'n'\n{source}"));
        assert!(vm.disks_complete, "{source}");
        assert_eq!(vm.disks.len(), listed, "{source}");
    }
}

#[test]
fn a_latin_1_file_names_no_path_for_certain() {
    let vm = VmConfig::parse(
        b"name = 'n'\nOVM_simple_name = 'caf\xe9'\ndisk = ['file:/\xe9,xvda,w', 'file:/a,xvdb,w']",
        ID,
    )
    .unwrap();
    assert_eq!(vm.friendly_name, "café");
    assert_eq!(vm.disks[0].problem, Some(DiskProblem::NotUtf8));
    assert_eq!(vm.disks[1].problem, None);
}

#[test]
fn a_file_is_read_by_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let vm_folder = folder.path().join(ID);
    std::fs::create_dir(&vm_folder).unwrap();
    let path = vm_folder.join("vm.cfg");
    std::fs::write(&path, "disk = []").unwrap();
    assert_eq!(VmConfig::read(&path).unwrap().name, ID);
    std::fs::write(&path, "?\n".repeat(200)).unwrap();
    let error = VmConfig::read(&path).unwrap_err().to_string();
    assert!(
        error.contains(path.to_str().unwrap()) && error.contains("line 101"),
        "{error}"
    );
}
