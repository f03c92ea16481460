//! A whole node: repositories, the manager that it asks, the real daemon, and guests at work.
//! The host commands it over the serial line.

use std::fs::{self, File};
use std::io::{BufRead, Read, stdin};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use coriolis_ovm_exporter::operations::demo::daemon::Daemon;
use coriolis_ovm_exporter::operations::demo::guest::{self, Random};
use coriolis_ovm_exporter::operations::demo::machines::{Machine, scribble};
use coriolis_ovm_exporter::operations::demo::manager::{Identity, StandInManager};
use coriolis_ovm_exporter::operations::demo::node::{PASSWORD, USER};
use nix::fcntl::{Flock, FlockArg};
use sha2::{Digest, Sha256};
use tokio::runtime::Runtime;
use uuid::Uuid;

use super::mount::Mount;
use super::{membership, network, watch};
use crate::brief::{self, Brief, MANAGER_PORT, NODE, PAYLOAD};
use crate::orders::{Answer, Line, Notice, Order};

const BLOCK: u64 = 4096;

pub fn run(brief: &Brief) {
    let seat = brief.seat.as_ref().unwrap();
    let shared = seat.nodes > 1;
    network::up(seat);
    nix::unistd::sethostname(format!("node-{}", seat.number)).unwrap();
    if shared {
        membership::join(seat, &brief.disks);
        watch::evictions();
    }
    let heartbeat = if shared {
        "heartbeat=local"
    } else {
        "heartbeat=none"
    };
    let mounts: Vec<Mount> = brief
        .disks
        .iter()
        .enumerate()
        .map(|(at, disk)| Mount::with(&disk.device, &brief::mount_point(at), heartbeat))
        .collect();
    for at in 0..mounts.len() {
        let mark = brief::mount_point(at).join(".ovsrepo");
        if !mark.exists() {
            fs::write(
                mark,
                format!("OVS_REPO_UUID={}\n", brief::repository_id(at)),
            )
            .unwrap();
        }
    }
    let runtime = Runtime::new().unwrap();
    let manager = runtime.block_on(start_manager(mounts.len()));
    let folder = Path::new(PAYLOAD).join(NODE);
    let program = Path::new(PAYLOAD).join("coriolis-ovm-exporter");
    let daemon = Daemon::start(&program, &folder).unwrap();
    watch::recoveries(folder.join("exporter.log"));
    watch::notice(Notice::Up {
        kernel: fs::read_to_string("/proc/sys/kernel/osrelease")
            .unwrap()
            .trim()
            .to_owned(),
        file_system: mounts[0].kind(),
    });

    let node = Node {
        repositories: mounts.len(),
        log: folder.join("exporter.log"),
        held: Arc::default(),
        watching: Arc::default(),
    };
    for line in stdin().lock().lines() {
        let order: Order = serde_json::from_str(&line.unwrap()).unwrap();
        if matches!(order, Order::End) {
            break;
        }
        watch::say(&Line::Answer(node.obey(order)));
    }
    node.release();
    drop(daemon);
    drop(manager);
    for mut mount in mounts {
        mount.unmount();
    }
    watch::say(&Line::Answer(Answer::Done));
}

async fn start_manager(repositories: usize) -> StandInManager {
    StandInManager::start(
        SocketAddr::from((Ipv4Addr::LOCALHOST, MANAGER_PORT)),
        USER,
        PASSWORD,
        (0..repositories).map(brief::repository_id).collect(),
        Identity::self_signed().unwrap(),
    )
    .await
    .unwrap()
}

struct Node {
    repositories: usize,
    log: PathBuf,
    /// Locks of snapshots' directories.
    held: Arc<Mutex<Vec<Flock<File>>>>,
    watching: Arc<AtomicBool>,
}

impl Node {
    fn obey(&self, order: Order) -> Answer {
        match order {
            Order::Machine {
                number,
                repository,
                sizes,
            } => {
                let root = brief::mount_point(repository);
                let name = format!("machine {number}");
                let machine = Machine::create(&root, number, &name, &sizes).unwrap();
                return Answer::Machine {
                    id: machine.id,
                    disks: machine.disks,
                };
            }
            Order::Scribble {
                disk,
                seed,
                offset,
                length,
            } => {
                let file = File::options().write(true).open(disk).unwrap();
                scribble(&file, &mut Random::new(seed), offset, length).unwrap();
            }
            Order::Fragment { disk, extents } => fragment(&disk, extents),
            Order::Work { disk, seed } => {
                let work = guest::work(&disk, &mut Random::new(seed)).unwrap();
                return Answer::Work {
                    written: work.written,
                    punched: work.punched,
                    grown: work.grown,
                };
            }
            Order::Digest { file } => return Answer::Digest(digest(&file)),
            Order::Shelf => return Answer::Shelf(watch::lying(self.repositories)),
            Order::Hold { snapshot } => self.hold(snapshot),
            Order::Release => self.release(),
            Order::Watch { on: true } => watch::shelves(self.repositories, &self.watching),
            Order::Watch { on: false } => self.watching.store(false, Ordering::SeqCst),
            Order::Log => return Answer::Log(fs::read_to_string(&self.log).unwrap()),
            Order::Uptime => return Answer::Uptime(watch::uptime()),
            Order::End => unreachable!("the loop's own"),
        }
        Answer::Done
    }

    fn hold(&self, snapshot: Uuid) {
        let directory = (0..self.repositories)
            .map(|at| {
                brief::mount_point(at)
                    .join("CoriolisSnapshots")
                    .join(snapshot.to_string())
            })
            .find(|directory| directory.is_dir())
            .unwrap();
        let held = self.held.clone();
        thread::spawn(move || {
            let file = File::open(&directory).unwrap();
            let lock = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, error)| error);
            let at = watch::uptime();
            held.lock().unwrap().push(lock.unwrap());
            watch::notice(Notice::Locked { snapshot, at });
        });
    }

    fn release(&self) {
        self.held.lock().unwrap().clear();
    }
}

fn fragment(disk: &Path, extents: u64) {
    let file = File::options().write(true).open(disk).unwrap();
    let block = vec![0xF7; usize::try_from(BLOCK).unwrap()];
    for at in 0..extents {
        file.write_all_at(&block, at * 2 * BLOCK).unwrap();
    }
    file.sync_all().unwrap();
}

fn digest(path: &Path) -> String {
    let mut file = File::open(path).unwrap();
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = file.read(&mut buffer).unwrap();
        if count == 0 {
            break;
        }
        digest.update(&buffer[..count]);
    }
    digest
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
