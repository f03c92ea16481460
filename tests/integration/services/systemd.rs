//! The unit file, as systemd's own tools judge it.

use std::fs;
use std::process::{Command, Output};
use std::time::Duration;

use super::{COMMAND, longest_stop, shipped};
use crate::support::daemon::PROGRAM;

const UNIT: &str = "contrib/systemd/coriolis-ovm-exporter.service";

/// The exposure that `systemd-analyze security` may see, in tenths; 100 is the worst. 34 in
/// version 252; versions differ by some.
const MOST_EXPOSURE: u32 = 40;

fn unit() -> String {
    fs::read_to_string(shipped(UNIT)).unwrap()
}

/// Runs systemd-analyze on a copy of the unit that calls a program which exists here.
fn analyze(arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("coriolis-ovm-exporter.service");
    let (program, rest) = COMMAND.split_once(' ').unwrap();
    let shipped = format!("ExecStart={program} {rest}\n");
    assert!(unit().contains(&shipped), "{UNIT} calls something else");
    let here = unit().replace(&shipped, &format!("ExecStart={PROGRAM} {rest}\n"));
    fs::write(&copy, here).unwrap();
    Command::new("systemd-analyze")
        .args(arguments)
        .arg(&copy)
        .env("SYSTEMD_COLORS", "0")
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap_or_else(|error| {
            panic!("cannot run systemd-analyze: {error}; install the Debian package systemd")
        })
}

#[test]
fn systemd_has_nothing_to_say_about_the_unit() {
    let output = analyze(&["verify", "--man=no"]);
    let said = [output.stdout.clone(), output.stderr.clone()].concat();
    assert_eq!(String::from_utf8(said).unwrap(), "");
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn the_unit_gives_up_what_it_does_not_need() {
    let output = analyze(&["security", "--offline=true", "--no-pager"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text
        .lines()
        .find(|line| line.contains("Overall exposure level"))
        .unwrap_or_else(|| panic!("no result: {text} {:?}", output.stderr));
    println!("{line}");
    let figure = line.split(": ").nth(1).unwrap().split(' ').next().unwrap();
    let tenths: u32 = figure.replace('.', "").parse().unwrap();
    assert!(tenths <= MOST_EXPOSURE, "{line}");
}

#[test]
fn what_a_paused_guest_and_late_mounts_depend_on_is_set() {
    let unit = unit();
    let set = |key: &str| {
        let mut values = unit.lines().filter_map(|line| line.split_once('='));
        values
            .rfind(|(name, _)| *name == key)
            .map(|(_, value)| value)
    };
    // Every other mode signals or kills a child that holds a pause.
    assert_eq!(set("KillMode"), Some("process"));
    // Strict makes repositories read-only; these hide what is mounted later.
    assert_eq!(set("ProtectSystem"), Some("full"));
    for hides in [
        "MountFlags",
        "RootDirectory",
        "RootImage",
        "TemporaryFileSystem",
    ] {
        assert_eq!(set(hides), None, "{hides}");
    }
    assert_eq!(set("Type"), Some("notify"));
    assert_eq!(set("ExecReload"), Some("/bin/kill -HUP $MAINPID"));
    assert_eq!(set("Restart"), Some("on-failure"));
    // A stop is never taken for a hang.
    assert_eq!(set("WatchdogSec"), Some("2min"));
    assert!(longest_stop() * 2 < Duration::from_secs(120));
    assert!(unit.contains("CAP_LINUX_IMMUTABLE"));
    let stop = set("TimeoutStopSec").and_then(|value| value.strip_suffix('s'));
    let stop: u64 = stop.unwrap().parse().unwrap();
    assert!(Duration::from_secs(stop) > longest_stop(), "{stop} s");
}
