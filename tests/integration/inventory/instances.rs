//! What an orchestrator needs to know of an instance.

use coriolis_ovm_exporter::protocol::Nic;

use super::{by_device, disk_file, named};
use crate::support::node::{Kind, TestNode};

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_is_described_as_its_vm_cfg_says() {
    let node = TestNode::new(&[Kind::Xfs]).await;
    let disk = disk_file(&node, 0, "VirtualDisks/a.img", 123_457, 1);
    let id = "0004fb0000060000ccaf98a0baa2c186";
    node.vm_cfg(
        0,
        id,
        &format!(
            "OVM_simple_name = 'web = \\'main\\''\n\
             OVM_domain_type = 'xen_hvm_pv_drivers'\n\
             OVM_os_type = 'Oracle Linux 6'\n\
             name = '{id}'\n\
             uuid = '0004fb00-0006-0000-ccaf-98a0baa2c186'\n\
             disk = ['file:{disk},xvda,w',\n\
             \x20       'file:/nowhere/x.iso,xvdb:cdrom,r'] # two\n\
             vif = ['mac=00:21:f6:00:00:01,bridge=0004fb0010',\n\
             \x20      u'bridge=0004fb0011, type=netfront, mac=00:21:f6:00:00:02', '']\n\
             vcpus = '2'\n\
             memory = 4096L\n\
             boot = 'cdn'\n\
             ib_pkeys = [{{'pf': '40:00.0', 'port': ['0', '0', '0', '0'], }}, ]\n\
             expected = 1L\n"
        ),
    );
    let client = node.client().await;
    let vms = client.vms().await.unwrap();
    let vm = named(&vms, id);
    assert_eq!(vm.friendly_name, "web = 'main'");
    assert_eq!(vm.name, id);
    assert_eq!(vm.uuid, "0004fb00-0006-0000-ccaf-98a0baa2c186");
    assert_eq!(vm.vcpus, Some(2));
    assert_eq!(vm.memory_mib, Some(4096));
    assert_eq!(vm.domain_type.as_deref(), Some("xen_hvm_pv_drivers"));
    assert_eq!(vm.os_type.as_deref(), Some("Oracle Linux 6"));
    assert_eq!(vm.boot_order.as_deref(), Some("cdn"));
    let nic = |mac: Option<&str>, bridge: Option<&str>| Nic {
        mac: mac.map(str::to_owned),
        bridge: bridge.map(str::to_owned),
    };
    assert_eq!(
        vm.nics,
        [
            nic(Some("00:21:f6:00:00:01"), Some("0004fb0010")),
            nic(Some("00:21:f6:00:00:02"), Some("0004fb0011")),
            nic(None, None),
        ]
    );
    assert!(vm.snapshot_compatible, "{vm:#?}");
    let system = by_device(vm, "xvda");
    assert_eq!(system.size, Some(123_457));
    assert_eq!((system.mode.as_str(), system.cdrom), ("w", false));
    assert_eq!(system.path, disk);
    let cd = by_device(vm, "xvdb");
    assert!(cd.cdrom && !cd.snapshot_compatible, "{cd:#?}");
    assert_eq!(cd.size, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_vm_cfg_does_not_say_is_unknown() {
    let node = TestNode::new(&[Kind::Xfs]).await;
    let disk = disk_file(&node, 0, "VirtualDisks/a.img", 4096, 1);
    let id = "0004fb0000060000ccaf98a0baa2c186";
    node.vm_cfg(
        0,
        id,
        &format!("disk = ['file:{disk},xvda,w']\nvcpus = 'many'\nmemory = None\n"),
    );
    let vm = node.client().await.vm(id).await.unwrap();
    assert_eq!((vm.vcpus, vm.memory_mib), (None, None));
    assert_eq!(
        (&vm.domain_type, &vm.os_type, &vm.boot_order),
        (&None, &None, &None)
    );
    assert!(vm.nics.is_empty());
    assert_eq!(vm.name, id);
    assert_eq!(vm.uuid, "0004fb00-0006-0000-ccaf-98a0baa2c186");
    assert_eq!(vm.on_this_node, None);
    assert!(super::some_has(&vm.warnings, &["vcpus"]), "{vm:#?}");
    assert!(super::some_has(&vm.warnings, &["name"]), "{vm:#?}");
    assert!(vm.snapshot_compatible, "{vm:#?}");
}
