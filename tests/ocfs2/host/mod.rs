//! The host's side: images, machines, and who runs what.

pub mod cluster;
mod control;
pub mod floor;
pub mod image;
mod ledger;
pub mod lost_writes;
pub mod machine;
mod node;
mod node_files;
mod partner;
pub mod past_end;
mod payload;
pub mod power;
pub mod served;
mod write_log;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use tempfile::TempDir;

use crate::brief::{self, Brief, Seat};
use crate::scenario::{CLUSTER, CLUSTER_GROUP, SCENARIOS, Scenario, named};
use image::FileSystem;
use machine::{Machine, Plan};

/// Where one scenario's images and logs lie, and what its machines need.
pub struct Lab {
    folder: TempDir,
    /// `<target>/ocfs2`, as the set-up script fills it.
    setup: PathBuf,
    pub seed: u64,
    pub long: bool,
}

/// The longest that any machine may take.
const PATIENCE: Duration = Duration::from_secs(300);
const PATIENCE_LONG: Duration = Duration::from_secs(3600);

/// Runs the scenarios of these names, all of one machine where none is named.
pub fn run(names: &[String]) -> anyhow::Result<()> {
    let mut wanted: Vec<&Scenario> = Vec::new();
    if names.is_empty() {
        wanted.extend(SCENARIOS);
    }
    for name in names {
        if name == CLUSTER_GROUP {
            wanted.extend(CLUSTER);
        } else {
            wanted.push(named(name)?);
        }
    }
    let setup = set_up()?;
    let seed = match std::env::var("SEED") {
        Ok(text) => text.parse().context("SEED is no number")?,
        Err(_) => getrandom::u64().context("no random number")?,
    };
    let long = std::env::var_os("TEST_LONG").is_some();
    println!("OCFS2 in a virtual machine; SEED={seed}");
    let scratch = TempDir::new_in(&setup)?;
    image::check_the_check(scratch.path())?;
    drop(scratch);
    let begun = Instant::now();
    let mut failed = Vec::new();
    let mut restarts = 0;
    for scenario in wanted {
        let mut lab = Lab::new(&setup, seed, long)?;
        let started = Instant::now();
        println!("{}:", scenario.name);
        let mut result = (scenario.drive)(&lab, scenario);
        for _ in 1..cluster::ATTEMPTS {
            let Some(bug) = lab.kernel_bug().filter(|_| scenario.is_deadly()) else {
                break;
            };
            if result.is_ok() {
                break;
            }
            restarts += 1;
            println!("  NOT COUNTED, a kernel broke down: {bug}; again from the start");
            lab = Lab::new(&setup, seed, long)?;
            result = (scenario.drive)(&lab, scenario);
        }
        match result {
            Ok(()) => println!(
                "{}: passed in {:.1} s",
                scenario.name,
                started.elapsed().as_secs_f64()
            ),
            Err(error) => {
                let kept = lab.folder.keep();
                println!(
                    "{}: FAILED: {error:#}\n  repeat with: make test-ocfs2 SCENARIO={} SEED={seed}\n  images and logs: {}",
                    scenario.name,
                    scenario.name,
                    kept.display()
                );
                failed.push(scenario.name);
            }
        }
    }
    println!(
        "{:.0} s in all; {restarts} times begun again after a kernel's breakdown",
        begun.elapsed().as_secs_f64()
    );
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    Ok(())
}

/// Boots the scenario's machine with its images, waits for its end, and has every file system
/// checked.
pub fn boot_once(lab: &Lab, scenario: &Scenario) -> anyhow::Result<()> {
    boot_with(lab, scenario, Equipment::default())
}

/// The same, for a machine that can make its disks fail.
pub fn boot_with_mapper(lab: &Lab, scenario: &Scenario) -> anyhow::Result<()> {
    let mapper = Equipment {
        modules: &["flakey"],
        ..Equipment::default()
    };
    boot_with(lab, scenario, mapper)
}

fn boot_with(lab: &Lab, scenario: &Scenario, equipment: Equipment<'_>) -> anyhow::Result<()> {
    let disks = lab.make_images(scenario)?;
    let mut machine = lab.boot_equipped(scenario, &disks, equipment)?;
    machine.finish(lab.patience())?;
    println!("  booted in {:.1} s", machine.boot_time().as_secs_f64());
    disks.iter().try_for_each(FileSystem::check)
}

/// What a machine has besides its disks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Equipment<'e> {
    /// Lists of modules besides `base`.
    pub modules: &'e [&'e str],
    /// Where the writes of each disk are logged.
    pub logs: &'e [PathBuf],
}

impl Lab {
    fn new(setup: &Path, seed: u64, long: bool) -> anyhow::Result<Lab> {
        Ok(Lab {
            folder: tempfile::Builder::new()
                .prefix("run-")
                .tempdir_in(setup)
                .with_context(|| format!("cannot make a folder in {}", setup.display()))?,
            setup: setup.to_owned(),
            seed,
            long,
        })
    }

    /// What a kernel said when it stopped at the check that [`cluster::ATTEMPTS`] is about.
    fn kernel_bug(&self) -> Option<String> {
        let items = std::fs::read_dir(self.folder.path()).ok()?;
        items
            .flatten()
            .filter(|item| item.path().extension().is_some_and(|end| end == "log"))
            .filter_map(|item| std::fs::read(item.path()).ok())
            .find_map(|log| {
                let log = String::from_utf8_lossy(&log).into_owned();
                let lines = || log.lines();
                let said = lines().find(|line| line.contains("AST fired with invalid action"))?;
                let stopped = |line: &str| line.contains("kernel BUG at fs/ocfs2/dlmglue.c:");
                lines().any(stopped).then(|| said.to_owned())
            })
    }

    pub fn count(&self, reduced: u32, long: u32) -> u32 {
        if self.long { long } else { reduced }
    }

    pub fn patience(&self) -> Duration {
        if self.long { PATIENCE_LONG } else { PATIENCE }
    }

    /// The folder of what the machine gets, to put more into it before the boot.
    pub fn payload(&self) -> anyhow::Result<PathBuf> {
        payload::folder(self.folder.path())
    }

    /// New file systems for a scenario.
    pub fn make_images(&self, scenario: &Scenario) -> anyhow::Result<Vec<FileSystem>> {
        scenario
            .images
            .iter()
            .enumerate()
            .map(|(at, image)| {
                FileSystem::make(&self.folder.path().join(format!("{at}.img")), *image)
            })
            .collect()
    }

    /// Where a scenario may put more than its images.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts a machine that runs the scenario's inner part on these file systems.
    pub fn boot(&self, scenario: &Scenario, disks: &[FileSystem]) -> anyhow::Result<Machine> {
        self.boot_equipped(scenario, disks, Equipment::default())
    }

    pub fn boot_equipped(
        &self,
        scenario: &Scenario,
        disks: &[FileSystem],
        equipment: Equipment<'_>,
    ) -> anyhow::Result<Machine> {
        let brief = self.brief(disks, None);
        let payload = payload::pack(&self.payload()?, scenario, &brief)?;
        Machine::boot(&Plan {
            name: "",
            setup: &self.setup,
            processors: 2,
            memory: 768,
            modules: equipment.modules,
            logs: equipment.logs,
            log: &self.folder.path().join("kernel.log"),
            payload: &payload,
            disks: &paths(disks),
            shared: false,
            extra: &[],
        })
    }

    fn brief(&self, disks: &[FileSystem], seat: Option<Seat>) -> Brief {
        Brief {
            seed: self.seed,
            long: self.long,
            disks: disks
                .iter()
                .zip('b'..)
                .map(|(disk, letter)| brief::Disk {
                    device: format!("/dev/vd{letter}").into(),
                    cluster: disk.image.cluster,
                    uuid: disk.uuid,
                    heartbeat: disk.heartbeat,
                })
                .collect(),
            seat,
        }
    }
}

fn paths(disks: &[FileSystem]) -> Vec<&Path> {
    disks.iter().map(|disk| disk.path.as_path()).collect()
}

/// Has the machine's parts made where they are missing, and says where they are.
fn set_up() -> anyhow::Result<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    let status = Command::new(source.join("scripts/setup-ocfs2.sh"))
        .status()
        .context("cannot run scripts/setup-ocfs2.sh")?;
    if !status.success() {
        bail!("scripts/setup-ocfs2.sh failed");
    }
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| source.join("target"), PathBuf::from);
    Ok(target.join("ocfs2"))
}
