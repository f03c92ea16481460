//! Where the lines go: files that are rotated, full, gone, or that nobody reads.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, symlink};
use std::path::PathBuf;

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};

use super::super::support::api::Api;
use super::super::support::daemon::{Daemon, Site};
use super::super::support::node::TestNode;
use super::super::support::wait;

fn hang_up(node: &TestNode) {
    let id = i32::try_from(node.daemon_id()).unwrap();
    kill(Pid::from_raw(id), Signal::SIGHUP).unwrap();
}

/// The log and what was rotated, oldest first, the log last.
fn logs(node: &TestNode) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(node.path("."))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with("exporter-")
        })
        .collect();
    found.sort();
    found.push(node.path("exporter.log"));
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_rotated_at_its_size_and_some_are_kept() {
    let more = "log_max_size = \"8KiB\"\nlog_max_files = 2\n";
    let mut node = TestNode::prepare(&[], more).await;
    let older = node.path("exporter-2026-01-01T00-00-00.000.log");
    fs::write(&older, "of an earlier run\n").unwrap();
    node.start();
    assert!(!older.exists(), "older than log_max_age");
    let api = Api::of(&node).await;
    let mut asked = Vec::new();
    while logs(&node).len() < 3 || asked.len() < 200 {
        assert!(asked.len() < 2000, "{:?}", logs(&node));
        asked.push(api.get("/vms").await.header("x-request-id").to_owned());
    }
    let files = logs(&node);
    assert_eq!(files.len(), 3, "{files:?}");
    let texts: Vec<_> = files
        .iter()
        .map(|file| fs::read_to_string(file).unwrap())
        .collect();
    for text in &texts {
        assert!(text.len() <= 8192 && text.ends_with('\n'), "{files:?}");
    }
    // What is kept has no gap.
    let all = texts.concat();
    let first = asked.iter().position(|id| all.contains(id)).unwrap();
    assert!(first > 0, "nothing was removed");
    for id in &asked[first..] {
        assert!(all.contains(id), "{id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_nothing_and_is_told_when_it_is_over() {
    let mut node = TestNode::prepare(&[], "").await;
    // Each write there: no space left on device.
    symlink("/dev/full", node.path("exporter.log")).unwrap();
    node.start();
    let api = Api::of(&node).await;
    assert_eq!(api.get("/vms").await.status, 200);
    fs::remove_file(node.path("exporter.log")).unwrap();
    hang_up(&node);
    let told = || fs::read_to_string(node.path("exporter.log")).unwrap_or_default();
    wait::until("it is told", || {
        told().contains("lines of the log before this one are lost")
    });
    assert!(told().contains("SIGHUP"), "{}", told());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_cannot_be_opened_stops_nothing() {
    let mut node = TestNode::prepare(&[], "").await;
    fs::create_dir(node.path("exporter.log")).unwrap();
    node.start();
    let api = Api::of(&node).await;
    assert_eq!(api.get("/vms").await.status, 200);
    fs::remove_dir(node.path("exporter.log")).unwrap();
    hang_up(&node);
    let told = || fs::read_to_string(node.path("exporter.log")).unwrap_or_default();
    wait::until("it is told", || told().contains("are lost"));
    // And where it cannot be opened again, the one in use stays.
    fs::rename(node.path("exporter.log"), node.path("moved")).unwrap();
    fs::create_dir(node.path("exporter.log")).unwrap();
    hang_up(&node);
    let moved = || fs::read_to_string(node.path("moved")).unwrap();
    wait::until("it is told in the old one", || {
        moved().contains("the old file stays in use")
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn standard_error_that_nobody_reads_holds_nobody_up() {
    let mut site = Site::new();
    site.unset("log_file");
    site.set("log_level", "\"debug\"");
    let pipe = site.path("stderr");
    mkfifo(&pipe, Mode::S_IRWXU).unwrap();
    let mut full = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(nix::libc::O_NONBLOCK)
        .open(&pipe)
        .unwrap();
    let mut daemon = Daemon::start(site);
    let authority = fs::read(daemon.site.path("ca-pub.pem")).unwrap();
    let http = reqwest::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(&authority).unwrap()])
        .build()
        .unwrap();
    let mut end = Ok(());
    while end.is_ok() {
        end = full.write_all(b"x");
    }
    assert_eq!(end.unwrap_err().kind(), ErrorKind::WouldBlock);
    for _ in 0..50 {
        let asked = http
            .get(format!("https://{}/api/v1/vms", daemon.address))
            .send();
        assert_eq!(asked.await.unwrap().status(), 401);
    }
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(0));
}
