//! Replicas, by command: kept, compared, again and again.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Instant;

use jiff::Timestamp;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::super::replicate::hostile::StandIn;
use super::super::support::neighbour::Neighbour;
use super::super::support::wait;
use super::command::{Desk, PROGRAM, Ran};
use super::middle::{Cut, Middle};

/// Every disk of a snapshot is there.
fn assert_is(desk: &Desk, folder: &Path, snapshot: &str) {
    for (name, bytes) in desk.truth(snapshot) {
        let found = fs::read(folder.join(&name)).unwrap();
        assert!(
            found == bytes,
            "{name} is not what snapshot {snapshot} holds"
        );
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_is_made_kept_and_compared() {
    let mut desk = Desk::set().await;
    let vm = desk.machine.id.clone();
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("replica");
    let path = to.to_str().unwrap();
    let replicate = [
        "replicate",
        &vm,
        "--to",
        path,
        "--verify",
        "--label",
        "kept",
    ];
    let ran = desk.run(&replicate);
    assert!(ran.stderr.contains("holds snapshot"), "{ran:?}");
    assert!(ran.stderr.contains(" of 20"), "{ran:?}");
    let table = ran.done();
    assert!(
        table.contains("| full") && table.contains("| yes"),
        "{table}"
    );

    desk.scribble();
    let outcome = desk.run(&[&replicate[..], &["-f", "json"]].concat()).json();
    let snapshot = text(&outcome["snapshot"]).to_owned();
    assert_eq!(outcome["disks"][0]["how"], "incremental", "{outcome}");
    assert_eq!(outcome["disks"][0]["checked"], true, "{outcome}");
    assert_is(&desk, &to, &snapshot);
    let left = desk.run(&["snapshot", "list", &vm, "-f", "json"]).json();
    assert_eq!(left.as_array().unwrap().len(), 1, "{left}");
    assert_eq!(left[0]["Label"], "kept");
    // So old is the replica, and so it stays said between two runs.
    let state = fs::read(to.join(format!(".ovm-exporter-{vm}.json"))).unwrap();
    let state: Value = serde_json::from_slice(&state).unwrap();
    let taken_at = desk.node.client().await.snapshots(&vm).await.unwrap()[0].created_at;
    assert!(taken_at.is_some());
    assert_eq!(outcome["taken_at"], json!(taken_at), "{outcome}");
    assert_eq!(state["base_taken_at"], json!(taken_at), "{state}");
    assert!(to.join(format!(".ovm-exporter-{vm}.json")).is_file());

    let verify = ["verify", &vm, &snapshot, "--from", path];
    let table = desk.run(&verify).done();
    assert_eq!(table.matches("| yes").count(), 2, "{table}");
    let name = &desk.disk_names()[1];
    let file = to.join(name);
    let mut bytes = fs::read(&file).unwrap();
    bytes[3 << 20] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let ran = desk.run(&[&verify[..], &["-f", "json"]].concat());
    assert_eq!(ran.code, 1, "{ran:?}");
    let found: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(found[0]["Identical"], true, "{found}");
    assert_eq!(found[1]["Identical"], false, "{found}");
    // Nobody writes to a pipe, so nothing is waited for.
    let pipe = to.join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRUSR).unwrap();
    let other = format!("{name}={}", pipe.display());
    let ran = desk.run(&["verify", &vm, &snapshot, "--disk", &other]);
    assert!(
        ran.code == 1 && ran.stderr.contains("neither a regular file"),
        "{ran:?}"
    );
    fs::remove_file(&pipe).unwrap();
    assert_eq!(found[1]["Differing blocks"], 1, "{found}");
    assert_eq!(found[1]["Differing at"], json!([3 << 20]), "{found}");
    // The exit code is the verdict, whether or not somebody reads the table.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = desk.command().args(verify).stdout(writer).output().unwrap();
    assert_eq!(Ran::of(output).code, 1);
    // What follows the disk in its file is none of it.
    bytes[3 << 20] ^= 1;
    bytes.extend([0; 512]);
    fs::write(&file, &bytes).unwrap();
    let ran = desk.run(&verify);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stdout.contains("bytes, the disk has"), "{ran:?}");
    // What was mistyped is not left out.
    for (place, said) in [("nonsense", "nonsense"), (name.as_str(), "give it once")] {
        let place = format!("{place}={}", file.display());
        let disks = ["--disk", &place, "--disk", &place];
        let disks = if said == "nonsense" {
            &disks[..2]
        } else {
            &disks[..]
        };
        let line = desk.run(&[&verify[..], disks].concat()).failed();
        assert!(line.contains(said), "{line}");
        let line = desk.run(&[&replicate[..], disks].concat()).failed();
        assert!(line.contains(said), "{line}");
    }
    // To have compared nothing is no success.
    let stand_in = StandIn::of(&desk.node, |asked, body| {
        if !asked.starts_with("/api/v1/snapshots") {
            return Ok(body);
        }
        let mut all: Value = serde_json::from_slice(&body).unwrap();
        all[0]["disks"] = json!([]);
        Ok(all.to_string().into_bytes())
    })
    .await;
    let mut command = desk.command_at(&stand_in.endpoint());
    let line = Ran::of(command.args(verify).output().unwrap()).failed();
    assert!(line.contains("nothing to compare"), "{line}");
    // Looking for a replica does not make one.
    fs::remove_file(&file).unwrap();
    let line = desk.run(&[&verify[..], &["-q"]].concat()).failed();
    assert!(line.contains(name) && !file.exists(), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn disks_go_where_they_are_told_and_a_dead_node_is_left_out() {
    let desk = Desk::set().await;
    let folder = tempfile::tempdir().unwrap();
    let names = desk.disk_names();
    let elsewhere = folder.path().join("elsewhere.raw");
    let place = format!("{}={}", names[1], elsewhere.display());
    let state = folder.path().join("state.json");
    let both = format!("https://127.0.0.1:1,{}", desk.node.endpoint());
    let run = |arguments: &[&str]| {
        let state = ["--state", state.to_str().unwrap(), "-f", "json"];
        let mut command = desk.command_at(&both);
        command.args(["replicate", &desk.machine.id]).args(state);
        Ran::of(command.args(arguments).output().unwrap())
    };
    // Without a folder, a disk that no place was named for has none.
    let ran = run(&["--disk", &place]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains(&names[0]), "{ran:?}");
    let outcome = run(&["--disk", &place, "--only", &names[1]]).json();
    assert_eq!(outcome["disks"].as_array().unwrap().len(), 1, "{outcome}");
    let truth = desk.truth(text(&outcome["snapshot"]));
    assert!(fs::read(&elsewhere).unwrap() == truth[0].1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_the_machine_has_lost_may_still_be_named() {
    let desk = Desk::set().await;
    let folder = tempfile::tempdir().unwrap();
    let names = desk.disk_names();
    let place = format!("{}={}", names[1], folder.path().join("raw").display());
    let to = folder.path().to_str().unwrap();
    let id = &desk.machine.id;
    let replicate = || desk.run(&["replicate", id, "--to", to, "--disk", &place, "-f", "json"]);
    replicate().json();
    let text = format!(
        "name = '{id}'\ndisk = ['file:{},xvda,w']\n",
        desk.machine.disks[0].display()
    );
    desk.node.vm_cfg(0, id, &text);
    let outcome = replicate().json();
    assert_eq!(outcome["forgotten"], json!([names[1]]), "{outcome}");
    // Of which nothing is known any more.
    let ran = replicate();
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains(&names[1]), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_machine_has_one_state_and_its_files_are_no_other_replicas() {
    let mut desk = Desk::set().await;
    let other = desk.node.machine(0, 2, &[1 << 20]);
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().to_str().unwrap();
    let id = desk.machine.id.clone();
    let uuid = uuid::Uuid::try_parse(&id).unwrap().to_string();
    let replicate = |desk: &Desk, vm: &str, more: &[&str]| {
        let arguments = ["replicate", vm, "--to", to, "-q", "-f", "json"];
        desk.run(&[&arguments[..], more].concat())
    };
    for (vm, how) in [
        (&uuid, "full"),
        (&id, "incremental"),
        (&uuid, "incremental"),
    ] {
        let outcome = replicate(&desk, vm, &[]).json();
        assert_eq!(outcome["disks"][0]["how"], how, "{outcome}");
        assert_is(&desk, folder.path(), text(&outcome["snapshot"]));
        desk.scribble();
    }
    let states = fs::read_dir(folder.path()).unwrap().filter(|item| {
        let name = item.as_ref().unwrap().file_name();
        name.to_str().unwrap().ends_with(".json")
    });
    assert_eq!(states.count(), 1);
    // By another name of the same directory, and though it may overwrite.
    let around = format!("{to}/../{}", folder.path().file_name().unwrap().display());
    let name = other.disks[0].file_name().unwrap().display().to_string();
    let place = format!("{name}={around}/{}", desk.disk_names()[0]);
    let line = replicate(&desk, &other.id, &["--overwrite", "--disk", &place]).failed();
    assert!(line.contains("belongs to the replica of machine") && line.contains(&id));
    // Over files that nothing is known of only if that is said.
    fs::write(folder.path().join(&name), "somebody's").unwrap();
    let line = replicate(&desk, &other.id, &[]).failed();
    assert!(line.contains("--overwrite"), "{line}");
    replicate(&desk, &other.id, &["--overwrite"]).json();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_only_the_second_node_sees_is_found() {
    let desk = Desk::set().await;
    let blind = Neighbour::without_repositories(&desk.node);
    let endpoints = format!("https://{},{}", blind.address(), desk.node.endpoint());
    let folder = tempfile::tempdir().unwrap();
    let mut command = desk.command_at(&endpoints);
    command.args(["replicate", &desk.machine.id, "-q", "-f", "json", "--to"]);
    let ran = Ran::of(command.arg(folder.path()).output().unwrap());
    let outcome = ran.json();
    assert_is(&desk, folder.path(), text(&outcome["snapshot"]));
}

/// The command as it goes on and on.
struct Running {
    child: Child,
    /// Results, one a line.
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
    stderr: PathBuf,
}

impl Running {
    fn start(desk: &Desk, endpoint: &str, to: &Path, more: &[&str]) -> Running {
        let stderr = to.with_extension("stderr");
        let mut child = desk
            .command_at(endpoint)
            .args(["replicate", &desk.machine.id, "-f", "json", "--to"])
            .arg(to)
            .args(more)
            .stdout(Stdio::piped())
            .stderr(fs::File::create(&stderr).unwrap())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Running {
            child,
            lines,
            stderr,
        }
    }

    fn outcome(&mut self) -> Value {
        let line = self.lines.next().unwrap_or_else(|| {
            panic!("it has ended: {}", self.said());
        });
        serde_json::from_str(&line.unwrap()).unwrap()
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap()
    }

    /// Its exit code after a signal.
    fn end(mut self, signal: Signal) -> i32 {
        let id = i32::try_from(self.child.id()).unwrap();
        kill(Pid::from_raw(id), signal).unwrap();
        self.child.wait().unwrap().code().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Of the figures of a replica.
fn labels(vm: &str, to: &Path) -> String {
    format!("{{vm=\"{vm}\",replica=\"{}\"}}", to.display())
}

#[tokio::test(flavor = "multi_thread")]
async fn again_and_again_until_a_signal_whatever_fails_meanwhile() {
    let mut desk = Desk::set().await;
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("replica");
    let endpoint = desk.node.endpoint();
    let figures = folder.path().join("web.prom");
    let kept = ["--every", "1s", "--metrics-file", figures.to_str().unwrap()];
    let mut running = Running::start(&desk, &endpoint, &to, &kept);
    running.outcome();
    let label = labels(&desk.machine.id, &to);
    let succeeded = format!("ovm_exporter_replica_last_run_success{label} 1\n");
    let failed = format!("ovm_exporter_replica_last_run_success{label} 0\n");
    let base = format!("ovm_exporter_replica_base_timestamp_seconds{label} ");
    let told = || fs::read_to_string(&figures).unwrap();
    assert!(
        told().contains(&succeeded) && told().contains(&base),
        "{}",
        told()
    );
    // Another program holds a disk's file.
    let file = fs::File::open(to.join(&desk.disk_names()[0])).unwrap();
    let held =
        wait_for(|| Flock::lock(file.try_clone().unwrap(), FlockArg::LockExclusiveNonblock).ok());
    wait::until_nothing("the failure is told of", || {
        let said = running.said();
        if said.contains("tried again in 1s; the replica is of 20") {
            Vec::new()
        } else {
            vec![said]
        }
    })
    .await;
    assert!(
        told().contains(&failed) && told().contains(&base),
        "{}",
        told()
    );
    desk.scribble();
    drop(held);
    // The first of them may have begun before that.
    let last = (0..3).map(|_| running.outcome()).last().unwrap();
    assert_eq!(running.end(Signal::SIGTERM), 0);
    let snapshot = text(&last["snapshot"]);
    assert_is(&desk, &to, snapshot);
    let line = told();
    let line = line.lines().find_map(|line| line.strip_prefix(&base));
    let taken_at: Timestamp = text(&last["taken_at"]).parse().unwrap();
    let seconds: f64 = line.unwrap().parse().unwrap();
    let apart = seconds - taken_at.as_duration().as_secs_f64();
    // A run may have begun since, and not have ended.
    assert!((-0.01..60.0).contains(&apart), "{apart}");
    let left = desk.run(&["snapshot", "list", &desk.machine.id, "-f", "value"]);
    assert_eq!(left.done(), format!("{snapshot}\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_never_succeed_ends_at_once() {
    let desk = Desk::set().await;
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().to_str().unwrap();
    let line = desk
        .run(&["replicate", "nobody", "--to", to, "--every", "1s"])
        .failed();
    assert!(line.contains("404"), "{line}");
    // Before anything is done.
    let figures = folder.path().join("web.prom");
    fs::write(&figures, "somebody's").unwrap();
    let path = figures.to_str().unwrap();
    let vm = &desk.machine.id;
    let replicate = ["replicate", vm, "--to", to, "--metrics-file", path];
    let line = desk.run(&replicate).failed();
    assert!(
        line.contains("--metrics-file") && line.contains("something else"),
        "{line}"
    );
    assert_eq!(fs::read(&figures).unwrap(), b"somebody's");
    // What fails before a node is asked is told of as all that fails.
    fs::remove_file(&figures).unwrap();
    let mut command = desk.command();
    command.env_remove("OVM_EXPORTER_PASSWORD").args(replicate);
    let line = Ran::of(command.output().unwrap()).failed();
    assert!(line.contains("password"), "{line}");
    let told = fs::read_to_string(&figures).unwrap();
    let failed = format!("_run_success{} 0\n", labels(vm, folder.path()));
    assert!(told.contains(&failed), "{told}");
    assert_eq!(fs::read_dir(to).unwrap().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_in_the_middle_leaves_what_the_next_run_goes_on_from() {
    let mut desk = Desk::set().await;
    for _ in 0..20 {
        desk.scribble();
    }
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("replica");
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let middle = Middle::of(desk.node.address(), Cut::Stalled).await;
        let running = Running::start(&desk, &middle.endpoint(), &to, &[]);
        wait::until("a stream is under way", || middle.cuts() > 0);
        assert_eq!(running.end(signal), code);
    }
    let outcome = desk
        .run(&[
            "replicate",
            &desk.machine.id,
            "--to",
            to.to_str().unwrap(),
            "-f",
            "json",
        ])
        .json();
    assert!(outcome["finished"].is_string(), "{outcome}");
    assert_is(&desk, &to, text(&outcome["snapshot"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_comes_than_the_rate_allows_and_a_signal_does_not_wait_for_it() {
    let mut desk = Desk::set().await;
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("replica");
    let endpoint = desk.node.endpoint();
    let vm = desk.machine.id.clone();
    let figures = folder.path().join("web.prom");
    let told = || fs::read_to_string(&figures).unwrap();
    let figures_in = ["--metrics-file", figures.to_str().unwrap()];
    let replicate = ["replicate", &vm, "-f", "json", "--to", to.to_str().unwrap()];
    let replicate = [&replicate[..], &figures_in].concat();
    let limited = [&replicate[..], &["--limit-rate", "256K"]].concat();
    let outcome = desk.run(&limited).json();
    assert_is(&desk, &to, text(&outcome["snapshot"]));
    let received = |outcome: &Value| -> f64 {
        let disks = outcome["disks"].as_array().unwrap();
        disks
            .iter()
            .map(|disk| disk["received"].as_f64().unwrap())
            .sum()
    };
    let least = received(&outcome) / f64::from(256 << 10);
    let time = outcome["time"].as_f64().unwrap();
    // Less the last turn of each stream, and the slack.
    assert!(least > 1.0 && time > least - 0.5, "{time} s, not {least}");

    for _ in 0..20 {
        desk.scribble();
    }
    let begun = Instant::now();
    let running = Running::start(
        &desk,
        &endpoint,
        &to,
        &[&figures_in[..], &["--limit-rate", "64k"]].concat(),
    );
    let state = to.join(format!(".ovm-exporter-{vm}.json"));
    wait::until("a disk is written to", || {
        let state: Value = serde_json::from_slice(&fs::read(&state).unwrap()).unwrap();
        let dirty = state["pending"]["dirty"].as_array();
        dirty.is_some_and(|disks| !disks.is_empty())
    });
    assert_eq!(running.end(Signal::SIGTERM), 143);
    let took = begun.elapsed().as_secs_f64();
    // Two snapshots are mixed in the files now: the time of the first one is not all that is said.
    let said = fs::read_to_string(to.with_extension("stderr")).unwrap();
    let mixed = said.contains("; the replica is half-way between 20");
    assert!(mixed && said.contains("not to be used before"), "{said}");
    let disturbed = format!("ovm_exporter_replica_disturbed_disks{} ", labels(&vm, &to));
    let count = |told: String| -> u64 {
        let line = told.lines().find_map(|line| line.strip_prefix(&disturbed));
        line.unwrap_or_else(|| panic!("{told}")).parse().unwrap()
    };
    assert!(count(told()) > 0, "{}", told());
    let outcome = desk.run(&replicate).json();
    assert!(outcome["finished"].is_string(), "{outcome}");
    let least = received(&json!({ "disks": outcome["finished_disks"] })) / f64::from(64 << 10);
    assert!(took < least, "{took} s, and all of it takes {least}");
    assert_is(&desk, &to, text(&outcome["snapshot"]));
    assert_eq!(count(told()), 0);
    // Whoever finds another one at work tells nothing of it.
    let before = told();
    let lock = fs::File::open(to.join(format!(".ovm-exporter-{vm}.json.lock"))).unwrap();
    let held = Flock::lock(lock, FlockArg::LockExclusiveNonblock).unwrap();
    assert_eq!(desk.run(&replicate).code, 1);
    assert_eq!(told(), before);
    drop(held);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_a_command_that_waits_for_a_node() {
    let desk = Desk::set().await;
    let folder = tempfile::tempdir().unwrap();
    // One does not answer to a log-in, the other does not find the machine for now.
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let asked = Arc::new(AtomicBool::new(false));
    let is_asked = Arc::clone(&asked);
    let hangs = StandIn::of(&desk.node, move |_, body| {
        asked.store(true, SeqCst);
        let _ = released.lock().unwrap().recv();
        Ok(body)
    })
    .await;
    let busy = StandIn::of(&desk.node, |asked, body| {
        if asked.starts_with("/api/v1/vms") {
            return Err(503);
        }
        Ok(body)
    })
    .await;
    for (endpoint, name) in [(hangs.endpoint(), "hangs"), (busy.endpoint(), "busy")] {
        let mut running = Running::start(&desk, &endpoint, &folder.path().join(name), &[]);
        wait::until("it waits", || {
            if name == "hangs" {
                is_asked.load(SeqCst)
            } else {
                running.said().contains("again in")
            }
        });
        let id = i32::try_from(running.child.id()).unwrap();
        kill(Pid::from_raw(id), Signal::SIGTERM).unwrap();
        let mut code = None;
        wait::until("it ends", || {
            code = running.child.try_wait().unwrap();
            code.is_some()
        });
        assert_eq!(code.unwrap().code(), Some(143), "{}", running.said());
    }
    drop(release);
}

fn wait_for<T>(mut get: impl FnMut() -> Option<T>) -> T {
    let mut got = None;
    wait::until("it is had", || {
        got = get();
        got.is_some()
    });
    got.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_is_kept_although_its_results_go_nowhere() {
    let desk = Desk::set().await;
    let folder = tempfile::tempdir().unwrap();
    let (reader, gone) = std::io::pipe().unwrap();
    drop(reader);
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let replicate = |to: &Path| {
        let mut command = desk.command();
        command.args(["replicate", &desk.machine.id, "-q", "--to"]);
        command.arg(to);
        command
    };
    let once = folder.path().join("once");
    let output = replicate(&once).stdout(full.try_clone().unwrap()).output();
    assert_eq!(Ran::of(output.unwrap()).code, 1);
    for (name, nowhere) in [("gone", Stdio::from(gone)), ("full", Stdio::from(full))] {
        let stderr = folder.path().join(format!("{name}.stderr"));
        let mut child = replicate(&folder.path().join(name))
            .args(["--every", "1s"])
            .stdout(nowhere)
            .stderr(fs::File::create(&stderr).unwrap())
            .spawn()
            .unwrap();
        let said = || fs::read_to_string(&stderr).unwrap();
        wait::until("it goes on, or has ended", || {
            said().matches("holds snapshot").count() > 1 || child.try_wait().unwrap().is_some()
        });
        assert!(child.try_wait().unwrap().is_none(), "{}", said());
        kill(
            Pid::from_raw(child.id().try_into().unwrap()),
            Signal::SIGTERM,
        )
        .unwrap();
        child.wait().unwrap();
        assert_eq!(said().matches("all the same").count(), 1, "{}", said());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_node_does_not_have_is_refused_before_anything_is_made() {
    let desk = Desk::set().await;
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("replica");
    let path = to.to_str().unwrap();
    let vm = desk.machine.id.as_str();
    let line = desk
        .run(&[
            "replicate",
            vm,
            "--to",
            path,
            "--disk",
            "nonsense=/dev/null",
        ])
        .failed();
    assert!(line.contains("nonsense"), "{line}");
    let machines = desk.run(&["vms", "list", "-f", "json"]).json();
    let friendly = text(&machines[0]["Friendly Name"]);
    let line = desk.run(&["replicate", friendly, "--to", path]).failed();
    assert!(line.contains("vm.cfg") && line.contains(vm), "{line}");
    assert!(!to.exists());
    let left = desk.run(&["snapshot", "list", vm, "-f", "value"]).done();
    assert_eq!(left.trim(), "");
}

/// The kernel would end the command in the middle, without a word.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_may_not_become_so_large_is_an_error() {
    let desk = Desk::set().await;
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().to_str().unwrap();
    let limited = |arguments: &[&str]| {
        let mut command = std::process::Command::new("sh");
        command.args(["-c", "ulimit -f 100; exec \"$0\" \"$@\"", PROGRAM]);
        command.args(arguments).env_clear().stdin(Stdio::null());
        for (name, value) in desk.command().get_envs() {
            command.env(name, value.unwrap());
        }
        Ran::of(command.output().unwrap())
    };
    let replicate = ["replicate", &desk.machine.id, "--to", to, "-q"];
    let line = limited(&replicate).failed();
    assert!(
        line.contains("File too large") && line.contains("ulimit -f"),
        "{line}"
    );
    desk.run(&replicate).done();
}
