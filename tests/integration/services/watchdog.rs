//! The watchdog: the daemon says that it serves, at half of the time that it is given, and says
//! nothing when it does not.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use crate::support::daemon::{Daemon, Site, holds_in_time};

/// Long enough that a busy machine is not taken for a daemon that hangs.
const LIMIT: Duration = Duration::from_secs(2);

fn watched(limit: Duration) -> Daemon {
    let usec = limit.as_micros().to_string();
    Daemon::start_with(Site::new(), &[("WATCHDOG_USEC", &usec)])
}

fn pings(daemon: &mut Daemon) -> usize {
    let told = daemon.notify.lines().iter();
    told.filter(|line| *line == "WATCHDOG=1").count()
}

#[track_caller]
fn wait_for_pings(daemon: &mut Daemon, more: usize) {
    let wanted = pings(daemon) + more;
    assert!(
        holds_in_time(|| pings(daemon) >= wanted),
        "{:?}",
        daemon.notify.lines()
    );
}

#[test]
fn it_is_told_at_half_of_the_time() {
    let mut daemon = watched(LIMIT);
    wait_for_pings(&mut daemon, 1);
    let begun = Instant::now();
    for _ in 0..3 {
        let before = Instant::now();
        wait_for_pings(&mut daemon, 1);
        assert!(before.elapsed() < LIMIT, "{:?}", before.elapsed());
    }
    // Not at each opportunity either.
    let took = begun.elapsed();
    assert!(took > LIMIT * 3 / 4, "{took:?}");
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn nobody_is_told_who_did_not_ask() {
    // The second is what a child inherits of somebody else's.
    for variables in [
        &[][..],
        &[("WATCHDOG_USEC", "20000"), ("WATCHDOG_PID", "1")],
    ] {
        let mut daemon = Daemon::start_with(Site::new(), variables);
        // Long enough for many.
        daemon.signal(Signal::SIGHUP);
        let log = daemon.site.path("exporter.log");
        assert!(holds_in_time(
            || fs::read_to_string(&log).is_ok_and(|log| log.contains("taken up"))
        ));
        daemon.signal(Signal::SIGTERM);
        assert_eq!(daemon.wait().code(), Some(0));
        assert_eq!(pings(&mut daemon), 0);
    }
    let mut daemon = watched(Duration::from_micros(1));
    wait_for_pings(&mut daemon, 3);
}

#[test]
fn a_reload_is_told_with_its_begin_and_its_end() {
    let mut daemon = Daemon::start(Site::new());
    let ready = |daemon: &mut Daemon| {
        let told = daemon.notify.lines().iter();
        told.filter(|line| *line == "READY=1").count()
    };
    // Also one of which nothing is taken up.
    for round in 1..=2 {
        daemon.signal(Signal::SIGHUP);
        assert!(holds_in_time(|| ready(&mut daemon) == round + 1));
        let told = daemon.notify.lines();
        let [.., begin, time, end] = told else {
            panic!("{told:?}");
        };
        assert_eq!((begin.as_str(), end.as_str()), ("RELOADING=1", "READY=1"));
        let time = time.strip_prefix("MONOTONIC_USEC=").unwrap();
        assert!(time.parse::<u64>().unwrap() > 0);
        fs::write(daemon.site.path("config.toml"), "nonsense = 1\n").unwrap();
    }
    assert!(daemon.site.log().contains("the configuration is refused"));
}

/// Threads of a daemon, stopped where they are. The others run.
struct Stopped(Vec<Pid>);

impl Stopped {
    /// Those for which `which` is true of the thread's id and name.
    fn of(daemon: &Daemon, which: impl Fn(u32, &str) -> bool) -> Stopped {
        let mut stopped = Vec::new();
        for task in fs::read_dir(format!("/proc/{}/task", daemon.id())).unwrap() {
            let task = task.unwrap();
            let id: u32 = task.file_name().to_str().unwrap().parse().unwrap();
            let name = fs::read_to_string(task.path().join("comm")).unwrap();
            if which(id, name.trim()) {
                let thread = Pid::from_raw(i32::try_from(id).unwrap());
                ptrace::seize(thread, Options::empty()).unwrap();
                ptrace::interrupt(thread).unwrap();
                waitpid(thread, Some(WaitPidFlag::__WALL)).unwrap();
                stopped.push(thread);
            }
        }
        assert!(!stopped.is_empty());
        Stopped(stopped)
    }

    fn go_on(self) {
        for thread in self.0 {
            ptrace::detach(thread, None).unwrap();
        }
    }
}

/// What a blind timer would not notice: all that sends pings runs, but nothing is accepted. The accept
/// loop is on the main thread, everything else on the runtime's own.
#[test]
fn it_is_not_told_while_the_accept_loop_hangs() {
    let mut daemon = watched(LIMIT);
    wait_for_pings(&mut daemon, 1);
    let main = daemon.id();
    let stopped = Stopped::of(&daemon, |id, _| id == main);
    assert_silent(&mut daemon);
    // The rest does run: it says what is wrong.
    assert!(holds_in_time(|| daemon
        .site
        .log()
        .contains("no connection is accepted")));
    stopped.go_on();
    wait_for_pings(&mut daemon, 2);
}

#[test]
fn it_is_not_told_while_the_runtime_hangs() {
    let mut daemon = watched(LIMIT);
    wait_for_pings(&mut daemon, 1);
    let stopped = Stopped::of(&daemon, |_, name| name.starts_with("tokio-"));
    assert_silent(&mut daemon);
    stopped.go_on();
    wait_for_pings(&mut daemon, 2);
}

/// Whoever waits for two times the limit has heard of a daemon that serves.
#[track_caller]
fn assert_silent(daemon: &mut Daemon) {
    // One may have been under way.
    std::thread::sleep(LIMIT / 4);
    let before = pings(daemon);
    std::thread::sleep(LIMIT * 2);
    assert_eq!(pings(daemon), before);
}
