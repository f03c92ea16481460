//! The kernels of old that the static daemon has to run on: the release binary lives a whole life
//! in a root that has next to nothing, with every newer call refused as those kernels refuse it.
//!
//! | file | what it is about |
//! | --- | --- |
//! | `kernel`, `additions`, `names` | what the old kernels know |
//! | `filter`, `trace` | every call of the daemon that matters, answered and counted |
//! | `root`, `name_server` | all that the daemon finds around it |
//! | `verdict` | what was refused, and what was used instead |

mod additions;
mod filter;
mod kernel;
mod name_server;
mod names;
mod root;
mod trace;
mod verdict;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use coriolis_ovm_exporter::client::{Client, Trust};
use coriolis_ovm_exporter::operations::demo::certificates;
use coriolis_ovm_exporter::operations::demo::daemon::Daemon;
use coriolis_ovm_exporter::operations::demo::guest::Random;
use coriolis_ovm_exporter::operations::demo::manager::{Identity, StandInManager};
use coriolis_ovm_exporter::protocol::{Reflink, VmState};
use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::life;
use crate::brief::{Brief, Disk};
use crate::node;
use kernel::{KERNELS, Kernel};
use name_server::NameServer;
use root::Root;
use trace::Trace;

const MANAGER: &str = "manager.ovm.example";
const PATIENCE: Duration = Duration::from_secs(30);

pub fn run(brief: &Brief) {
    let mut loopback = Command::new("/bin/busybox");
    loopback.args(["ip", "link", "set", "lo", "up"]);
    assert!(loopback.status().unwrap().success());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    // Each kernel has disks with clusters of each size.
    let per_kernel = brief.disks.len() / KERNELS.len();
    for (at, disk) in brief.disks.iter().enumerate() {
        let kernel = &KERNELS[at / per_kernel];
        println!("{kernel}, clusters of {} KiB:", disk.cluster >> 10);
        let size = u64::from(brief.count(2, 32)) << 20;
        let mut random = Random::new(brief.seed);
        let trace = runtime.block_on(lives_on(kernel, disk, size, &mut random));
        verdict::on(kernel, &trace);
    }
}

async fn lives_on(kernel: &'static Kernel, disk: &Disk, size: u64, random: &mut Random) -> Trace {
    let place = format!("{kernel}, {}", disk.cluster);
    let root = Root::make(&Path::new("/floor").join(&place), &disk.device);
    let scratch = Path::new("/tmp").join(place);
    let machine = node::machine(size, random);
    root.toolstack(&machine.id);
    let names = NameServer::start(MANAGER).await;
    let manager = manager().await;
    let endpoint = format!("https://{MANAGER}:{}", manager.address().port());
    let authority = node::furnish(root.path());
    node::configure(root.path(), &endpoint, "");

    // By the hosts file.
    root.hosts(&format!("127.0.0.1 {MANAGER}\n"));
    let (daemon, calls) = root.start(kernel);
    let place = format!("https://{}", daemon.address());
    life::whole(&place, &authority, &machine, &scratch, random).await;
    let client = life::login(&place, &authority).await;
    sees_its_node(&client, &machine.id).await;
    assert_eq!((manager.requests(), names.answers()), (2, 0));
    // By DNS, at the next login already.
    root.hosts("");
    life::login(&place, &authority).await;
    assert_eq!(manager.requests(), 3);
    assert!(names.answers() > 0);
    let authority = hung_up(&root, &daemon, &authority).await;
    terminated(daemon);
    let mut trace = calls.join().unwrap();

    // As for a manager of 2013: another TLS library, which has to get its random numbers too.
    node::configure(root.path(), &endpoint, "ovm_legacy_tls = true");
    let (daemon, calls) = root.start(kernel);
    let place = format!("https://{}", daemon.address());
    let before = (manager.requests(), names.answers());
    let client = life::login(&place, &authority).await;
    assert!(manager.requests() > before.0 && names.answers() > before.1);
    let snapshot = client.create_snapshot(&machine.id).await.unwrap();
    client
        .delete_snapshot(&machine.id, snapshot.id)
        .await
        .unwrap();
    terminated(daemon);
    trace.add(calls.join().unwrap());

    let log = fs::read_to_string(root.file("exporter.log.1")).unwrap();
    let scarce = kernel.last_call() < libc::SYS_getrandom;
    assert_eq!(log.contains("bits of entropy"), scarce, "{log}");
    let log = log + &fs::read_to_string(root.file("exporter.log")).unwrap();
    assert!(!log.contains("ERROR"), "{log}");
    trace
}

async fn manager() -> StandInManager {
    StandInManager::start(
        SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        node::USER,
        node::PASSWORD,
        vec![node::REPOSITORY.to_owned()],
        Identity::self_signed().unwrap(),
    )
    .await
    .unwrap()
}

async fn sees_its_node(client: &Client, machine: &str) {
    let node = client.node().await.unwrap();
    assert_eq!(node.repositories.len(), 1);
    let repository = &node.repositories[0];
    assert_eq!(repository.reflink, Reflink::Yes, "{repository:?}");
    assert_eq!(repository.file_system.as_deref(), Some("ocfs2"));
    assert_eq!(node.warnings, Vec::<String>::new());
    let vm = client.vm(machine).await.unwrap();
    assert_eq!(vm.state, VmState::Running, "{vm:?}");
}

/// The log goes on in a new file, and a new certificate is shown.
async fn hung_up(root: &Root, daemon: &Daemon, old: &str) -> String {
    let log = root.file("exporter.log");
    fs::rename(&log, root.file("exporter.log.1")).unwrap();
    for name in ["ca-pub.pem", "srv-pub.pem", "srv-key.pem"] {
        fs::remove_file(root.file(name)).unwrap();
    }
    let new = certificates::write(&root.file("")).unwrap();
    let id = Pid::from_raw(daemon.id().try_into().unwrap());
    kill(id, Signal::SIGHUP).unwrap();
    let begun = Instant::now();
    while !fs::read_to_string(&log).is_ok_and(|said| said.contains("SIGHUP")) {
        assert!(begun.elapsed() < PATIENCE, "SIGHUP did nothing");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let place = format!("https://{}", daemon.address());
    life::login(&place, &new).await;
    let trust = Trust::Authority(old.as_bytes().to_vec());
    assert!(
        Client::login(&place, node::USER, node::PASSWORD, &trust)
            .await
            .is_err()
    );
    new
}

fn terminated(mut daemon: Daemon) {
    daemon.terminate().unwrap();
    let status = daemon.wait().unwrap();
    assert!(status.success(), "{status}");
}
