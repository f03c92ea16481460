//! The upstart job: no upstart 0.6.5 is left to ask, so its grammar is here.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::{COMMAND, longest_stop, shipped};

const JOB: &str = "contrib/upstart/coriolis-ovm-exporter.conf";

/// What a stanza may be followed by: `None` is anything, else the next word is one of these.
type Stanza = (&'static str, Option<&'static [&'static str]>);

/// All stanzas of upstart 0.6.5, from its init(5) of 2010-02-04.
///
/// Later ones are `manual` (0.6.7), `kill signal` (1.3), `setuid`, `setgid`, `console log` (1.4),
/// `usage` (1.5), `apparmor` (1.9), `reload signal` (1.10), `cgroup` (1.13), `oom score`.
const STANZAS: [Stanza; 26] = [
    ("author", None),
    ("chdir", None),
    ("chroot", None),
    ("console", Some(&["output", "owner"])),
    ("description", None),
    ("emits", None),
    ("env", None),
    ("exec", None),
    ("expect", Some(&["stop", "daemon", "fork"])),
    ("export", None),
    ("instance", None),
    ("kill", Some(&["timeout"])),
    ("limit", Some(&LIMITS)),
    ("nice", None),
    ("normal", Some(&["exit"])),
    ("oom", None),
    ("post-start", Some(&["exec", "script"])),
    ("post-stop", Some(&["exec", "script"])),
    ("pre-start", Some(&["exec", "script"])),
    ("pre-stop", Some(&["exec", "script"])),
    ("respawn", Some(&["", "limit"])),
    ("script", Some(&[""])),
    ("start", Some(&["on"])),
    ("stop", Some(&["on"])),
    ("task", Some(&[""])),
    ("umask", None),
];

/// From the same page.
const LIMITS: [&str; 13] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "sigpending",
    "stack",
];

/// Lines outside of scripts, without comments; and the scripts, commands of `exec` among them.
struct Job {
    stanzas: Vec<String>,
    scripts: Vec<String>,
}

fn read(text: &str) -> Job {
    let mut job = Job {
        stanzas: Vec::new(),
        scripts: Vec::new(),
    };
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        job.stanzas.push(line.to_owned());
        if line == "script" || line.ends_with(" script") {
            let body: Vec<&str> = lines
                .by_ref()
                .take_while(|line| line.trim() != "end script")
                .collect();
            job.scripts.push(body.join("\n"));
        } else if let Some(at) = line.find("exec ") {
            job.scripts.push(line[at..].to_owned());
        }
    }
    job
}

/// Why upstart 0.6.5 would not take this stanza.
fn refused(stanza: &str) -> Option<String> {
    let mut words = stanza.split_whitespace();
    let name = words.next().unwrap_or_default();
    let next = words.next().unwrap_or_default();
    let Some((_, follows)) = STANZAS.iter().find(|(known, _)| *known == name) else {
        return Some(format!("unknown stanza: {stanza}"));
    };
    match follows {
        Some(known) if !known.contains(&next) => Some(format!("{name} does not take {next:?}")),
        _ => None,
    }
}

fn shipped_job() -> Job {
    read(&fs::read_to_string(shipped(JOB)).unwrap())
}

#[test]
fn every_stanza_is_one_of_upstart_0_6_5() {
    let job = shipped_job();
    for stanza in &job.stanzas {
        assert_eq!(refused(stanza), None);
    }
    assert!(job.stanzas.len() > 8, "{:?}", job.stanzas);
    for later in [
        "manual",
        "console log",
        "setuid root",
        "setgid root",
        "kill signal INT",
        "reload signal USR1",
        "oom-score 1",
        "usage \"x\"",
        "respawn always",
        "limit locks 1 1",
    ] {
        assert!(refused(later).is_some(), "{later}");
    }
}

#[test]
fn the_scripts_are_good_for_a_posix_shell() {
    let job = shipped_job();
    assert_eq!(job.scripts.len(), 3, "{:?}", job.scripts);
    for script in &job.scripts {
        assert_eq!(dash("-n", script), "", "{script}");
    }
    // dash does notice.
    assert_ne!(dash("-n", "if true; then"), "");
}

/// A package brings the job before `init` has made a configuration.
#[test]
fn without_a_configuration_it_does_not_start() {
    const CONFIG: &str = "/etc/coriolis-ovm-exporter/config.toml";
    let job = shipped_job();
    let script = job.scripts.iter().find(|script| script.contains("stop;"));
    let script = script.expect("a script that stops the job");
    assert!(script.contains(CONFIG), "{script}");
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path().join("config.toml");
    let script = script.replace(CONFIG, here.to_str().unwrap());
    let script = format!("stop() {{ echo stopped >&2; }}\n{script}\necho starts >&2");
    // Upstart calls its shell with -e.
    assert_eq!(dash("-e", &script), "stopped\n");
    fs::write(&here, "").unwrap();
    assert_eq!(dash("-e", &script), "starts\n");
}

/// What dash says about a script.
fn dash(option: &str, script: &str) -> String {
    let mut dash = Command::new("dash")
        .arg(option)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("cannot run dash: {error}; install the Debian package dash")
        });
    let mut input = dash.stdin.take().unwrap();
    input.write_all(script.as_bytes()).unwrap();
    drop(input);
    String::from_utf8(dash.wait_with_output().unwrap().stderr).unwrap()
}

#[test]
fn it_starts_the_daemon_where_unit_files_look() {
    let job = shipped_job();
    let exec: Vec<&String> = job
        .stanzas
        .iter()
        .filter(|s| s.starts_with("exec "))
        .collect();
    let [exec] = exec[..] else {
        panic!("one exec: {exec:?}");
    };
    assert!(exec.starts_with(&format!("exec {COMMAND} ")), "{exec}");
    let after = |name: &str| {
        let mut found = job.stanzas.iter().filter_map(|s| s.strip_prefix(name));
        found.next().map(str::to_owned)
    };
    assert_eq!(
        after("start on ").as_deref(),
        Some("stopped rc RUNLEVEL=[2345]")
    );
    assert_eq!(
        after("stop on ").as_deref(),
        Some("starting rc RUNLEVEL=[!2345]")
    );
    // Upstart would follow a fork that the daemon does not make.
    assert_eq!(after("expect"), None);
    let kill: u64 = after("kill timeout ").unwrap().parse().unwrap();
    assert!(Duration::from_secs(kill) > longest_stop(), "{kill} s");
    // More respawns than post-stop's pause allows in that time.
    assert_eq!(after("respawn limit ").as_deref(), Some("10 30"));
}
