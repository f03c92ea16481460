//! From start to stop, as a service manager and an admin see it.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::TcpStream;
use std::process::Output;
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};

use crate::support::daemon::{Daemon, Site, holds_in_time, run};

fn told(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn call(arguments: &[&str]) -> Output {
    let arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
    run(&arguments)
}

#[test]
fn it_is_ready_when_it_says_so() {
    let mut daemon = Daemon::start(Site::new());
    TcpStream::connect(daemon.address).unwrap();
    assert_ne!(daemon.address.port(), 0);
    let ready = daemon.notify.lines().iter().filter(|l| *l == "READY=1");
    assert_eq!(ready.count(), 1);
    assert!(!daemon.notify.has("STOPPING=1"));
}

#[test]
fn sigterm_and_sigint_end_it_well_and_soon() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut daemon = Daemon::start(Site::new());
        // An open connection that has sent nothing must not hold it up.
        let _idle = TcpStream::connect(daemon.address).unwrap();
        let begun = Instant::now();
        daemon.signal(signal);
        let status = daemon.wait();
        let took = begun.elapsed();
        assert_eq!(status.code(), Some(0), "{signal}: {status}");
        assert!(took < Duration::from_secs(5), "{signal}: {took:?}");
        assert!(daemon.notify.has("STOPPING=1"), "{signal}");
        TcpStream::connect(daemon.address).unwrap_err();
    }
}

#[test]
fn a_stopped_daemon_starts_again_at_once_on_the_same_port() {
    let mut daemon = Daemon::start(Site::new());
    let _connection = TcpStream::connect(daemon.address).unwrap();
    daemon.signal(Signal::SIGTERM);
    daemon.wait();
    let mut site = Site::new();
    site.set("api.port", daemon.address.port().to_string());
    assert_eq!(Daemon::start(site).address, daemon.address);
}

#[test]
fn a_second_daemon_with_the_same_index_is_refused() {
    let mut daemon = Daemon::start(Site::new());
    let config = daemon.site.path("config.toml");
    // It gets a free port of its own, so nothing else keeps it from starting.
    let output = run(&["-config".as_ref(), config.as_os_str()]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told = told(&output);
    let lock = daemon.site.path("exporter.db.lock");
    for part in [
        lock.display().to_string(),
        format!("process {}", daemon.id()),
    ] {
        assert!(told.contains(&part), "{told}");
    }
    TcpStream::connect(daemon.address).unwrap();
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn sighup_opens_the_log_again() {
    let mut daemon = Daemon::start(Site::new());
    let (log, rotated) = (
        daemon.site.path("exporter.log"),
        daemon.site.path("exporter.log.1"),
    );
    fs::rename(&log, &rotated).unwrap();
    daemon.signal(Signal::SIGHUP);
    assert!(
        holds_in_time(|| daemon.site.log().contains("SIGHUP")),
        "{:?}",
        fs::read_to_string(&rotated)
    );
    let before = fs::read_to_string(&rotated).unwrap();
    assert!(before.contains("serving"), "{before}");

    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(0));
    assert!(daemon.site.log().contains("SIGTERM"));
    assert_eq!(fs::read_to_string(&rotated).unwrap(), before);
}

/// A daemon that waits for the one before it is in the middle of its start.
#[test]
fn sighup_during_the_start_is_heeded_after_it() {
    let site = Site::new();
    let path = site.path("exporter.db.lock");
    let lock = Flock::lock(File::create(path).unwrap(), FlockArg::LockExclusive).unwrap();
    let mut daemon = Daemon::start_meddled(site, |id| {
        let files = format!("/proc/{id}/fd");
        let has_log = || {
            let mut links = fs::read_dir(&files).unwrap().flatten();
            links.any(|link| {
                fs::read_link(link.path()).is_ok_and(|file| file.ends_with("exporter.log"))
            })
        };
        assert!(holds_in_time(has_log));
        kill(id, Signal::SIGHUP).unwrap();
        drop(lock);
    });
    let heeded = || daemon.site.log().contains("certificates taken up");
    assert!(holds_in_time(heeded), "{}", daemon.site.log());
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn sighup_with_a_bad_certificate_changes_nothing() {
    let mut daemon = Daemon::start(Site::new());
    let certificate = daemon.site.path("srv-pub.pem");
    fs::write(&certificate, "nothing\n").unwrap();
    daemon.signal(Signal::SIGHUP);
    let named = certificate.to_str().unwrap();
    assert!(
        holds_in_time(|| daemon.site.log().contains(named)),
        "{}",
        daemon.site.log()
    );
    TcpStream::connect(daemon.address).unwrap();
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn it_logs_to_standard_error_where_no_file_is_named() {
    let mut site = Site::new();
    site.unset("log_file");
    let daemon = Daemon::start(site);
    let stderr = daemon.site.stderr();
    assert!(stderr.contains(&daemon.address.to_string()), "{stderr:?}");
    assert!(!stderr.contains('\u{1b}'), "colours in a file: {stderr:?}");
    assert_eq!(daemon.site.log(), "");
}

#[test]
fn a_second_daemon_on_the_port_fails_and_names_the_address() {
    let first = Daemon::start(Site::new());
    let mut site = Site::new();
    site.set("api.port", first.address.port().to_string());
    let output = site.run_to_its_end();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told = told(&output);
    assert!(told.contains(&first.address.to_string()), "{told}");
    assert!(told.contains("in use"), "{told}");
}

#[test]
fn a_broken_certificate_or_key_is_named() {
    for name in ["srv-pub.pem", "srv-key.pem"] {
        for content in [None, Some(""), Some("-----BEGIN CERTIFICATE-----\nAAAA\n")] {
            let site = Site::new();
            let file = site.path(name);
            match content {
                None => fs::remove_file(&file).unwrap(),
                Some(content) => fs::write(&file, content).unwrap(),
            }
            let output = site.run_to_its_end();
            assert_eq!(output.status.code(), Some(1), "{name} {content:?}");
            let told = told(&output);
            assert!(told.contains(file.to_str().unwrap()), "{content:?}: {told}");
        }
    }
}

#[test]
fn a_missing_or_broken_configuration_is_named() {
    let site = Site::new();
    let missing = site.path("none.toml");
    let output = call(&["-config", missing.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(told(&output).contains(missing.to_str().unwrap()));

    let file = site.write_config();
    fs::write(&file, "db_file = 7\n").unwrap();
    let output = call(&["-config", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let told = told(&output);
    assert!(told.contains(&format!("{}:1:", file.display())), "{told}");
    assert!(told.contains("db_file"), "{told}");
}

#[test]
fn one_dash_or_two_say_the_same_version() {
    let [one, two] = [&["-version"], &["--version"]].map(|arguments| call(arguments));
    assert_eq!(one.status.code(), Some(0), "{one:?}");
    assert_eq!(one, two);
    let expected = format!("coriolis-ovm-exporter {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(String::from_utf8(one.stdout).unwrap(), expected);
}

#[test]
fn a_wrong_command_line_shows_the_usage() {
    for wrong in [&["unheard-of"][..], &["-unheard-of"], &["-config"]] {
        let output = call(wrong);
        assert_eq!(output.status.code(), Some(2), "{wrong:?}: {output:?}");
        let told = told(&output);
        assert!(told.contains("Usage") || told.contains("--help"), "{told}");
    }
}
