//! What guards that were killed have left held: let go of by whoever comes next.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::commanding::Run;
use super::line::Task;
use super::pausing::{LIST_LIMIT, WATCH};
use super::process::run_command;
use super::record::{self, Content, Found, Record};
use super::toolstack;
use crate::ovm::domains::DomainState;

/// How long an unpause call has.
const UNPAUSE_LIMIT: Duration = Duration::from_secs(3);
/// Between two looks at what could not be let go of at once.
const REST: Duration = Duration::from_millis(500);

/// How often in a row a domain is unpaused before the others have their turn.
const TRIES: u32 = 3;

/// How it stands with a record.
enum Standing {
    /// Nothing is held, and the record is gone.
    Over,
    /// Nothing is held; the record stays, since a pause may still come.
    Watched,
    /// Something is held, or that cannot be told.
    Held(String),
}

/// Lets go of all that guards have left, looking again until there is no record any more or
/// `patience` has passed. True when nothing is held by a dead guard. Calls `at_rest` as soon as that
/// is so.
pub(super) fn release_all(
    folder: &Path,
    programs: &[PathBuf],
    patience: Duration,
    at_rest: impl FnOnce(),
) -> bool {
    let deadline = Instant::now() + patience;
    let mut at_rest = Some(at_rest);
    let mut told = Vec::new();
    loop {
        let mut held = Vec::new();
        let found = record::look(folder).unwrap_or_else(|error| {
            held.push(format!("cannot look at {}: {error}", folder.display()));
            Found::default()
        });
        // Until the guard is done, or turns out to be dead.
        let mut watched = found.living;
        for record in found.left {
            match release(record, programs) {
                Standing::Over => {}
                Standing::Watched => watched = true,
                Standing::Held(reason) => held.push(reason),
            }
        }
        let at_peace = held.is_empty();
        if at_peace {
            if let Some(at_rest) = at_rest.take() {
                at_rest();
            }
            if !watched {
                return true;
            }
        }
        // Each trouble once, not twice a second.
        for reason in held {
            if !told.contains(&reason) {
                tracing::warn!("{reason}");
                told.push(reason);
            }
        }
        if Instant::now() >= deadline {
            return at_peace;
        }
        thread::sleep(REST);
    }
}

/// Lets go of what one task has left, and waits until its record is gone or `patience` has passed.
/// True when no dead guard has one any more.
pub(super) fn release_one(
    folder: &Path,
    task: &Task,
    programs: &[PathBuf],
    patience: Duration,
) -> bool {
    repeat(folder, task, programs, patience, |standing| {
        matches!(standing, Standing::Over)
    })
}

/// The same, and waits only until nothing is held.
pub(super) fn let_go_of(
    folder: &Path,
    task: &Task,
    programs: &[PathBuf],
    patience: Duration,
) -> bool {
    repeat(folder, task, programs, patience, |standing| {
        !matches!(standing, Standing::Held(_))
    })
}

fn repeat(
    folder: &Path,
    task: &Task,
    programs: &[PathBuf],
    patience: Duration,
    enough: impl Fn(&Standing) -> bool,
) -> bool {
    let deadline = Instant::now() + patience;
    loop {
        match record::left_behind_of(folder, task) {
            Ok(None) => return true,
            Ok(Some(record)) => {
                let standing = release(record, programs);
                if let Standing::Held(reason) = &standing {
                    tracing::warn!("{reason}");
                }
                if enough(&standing) {
                    return true;
                }
            }
            Err(error) => tracing::warn!("cannot look at {}: {error}", folder.display()),
        }
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(REST);
    }
}

fn release(mut record: Record, programs: &[PathBuf]) -> Standing {
    let path = record.path().display().to_string();
    let content = match record.read() {
        Ok(Some(content)) => content,
        Ok(None) => return over(record),
        Err(error) => {
            return Standing::Held(format!("cannot read the pause record {path}: {error}"));
        }
    };
    let now = record::monotonic();
    if content.boot != record::boot_id() || content.monotonic > now {
        tracing::info!("the pause record {path} is of an earlier boot");
        return over(record);
    }
    match &content.task {
        Task::Command {
            vm_id,
            vm_name,
            after,
            timeout,
            ..
        } => {
            tracing::warn!(
                vm = vm_id,
                "after_snapshot was not run: its guard was killed"
            );
            if let Run::NotStarted(reason) | Run::Badly(reason) =
                run_command(after, vm_id, vm_name, *timeout, || false)
            {
                tracing::error!(vm = vm_id, "after_snapshot: {reason}");
            }
            over(record)
        }
        Task::Pause {
            domain,
            programs: known,
        } => {
            let mut all = known.clone();
            all.extend(programs.iter().filter(|new| !known.contains(new)).cloned());
            release_domain(record, &content, domain, &all, now)
        }
    }
}

fn release_domain(
    record: Record,
    content: &Content,
    domain: &str,
    programs: &[PathBuf],
    now: Duration,
) -> Standing {
    let unknown = |reason: &str| {
        Standing::Held(format!(
            "whether domain {domain} is still paused cannot be told: {reason}"
        ))
    };
    let mut called = Ok(());
    for _ in 0..TRIES {
        match toolstack::state(programs, domain, LIST_LIMIT) {
            Err(reason) => return unknown(&reason),
            Ok((_, DomainState::Unknown)) => {
                return unknown("it may be on its way to another node");
            }
            Ok((_, DomainState::Paused)) => {
                tracing::warn!(
                    domain,
                    since = %content.at,
                    "paused for a snapshot, and its guard was killed: it is unpaused"
                );
                called = toolstack::unpause(programs, domain, UNPAUSE_LIMIT);
            }
            // The guard may have been killed in the middle of a call that is carried out yet.
            Ok(_) if now < content.monotonic + content.max_pause + WATCH => {
                return Standing::Watched;
            }
            Ok(_) => return over(record),
        }
    }
    let reason = called.err().unwrap_or_default();
    Standing::Held(format!("domain {domain} cannot be unpaused: {reason}"))
}

fn over(record: Record) -> Standing {
    let path = record.path().display().to_string();
    match record.remove() {
        Ok(()) => Standing::Over,
        Err(error) => Standing::Held(format!("cannot remove the pause record {path}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    /// A guard that has been killed may hold its lock for a moment yet, while a daemon that starts
    /// looks for what is left.
    #[test]
    fn a_guard_that_dies_after_the_first_look_is_not_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().to_owned();
        let task = Task::Pause {
            domain: "a".to_owned(),
            programs: Vec::new(),
        };
        let record = Record::claim(&folder, &task).unwrap().unwrap();
        let path = record.path().to_owned();
        let (at_rest, looked) = channel();
        let looking = thread::spawn(move || {
            let rest = || at_rest.send(()).unwrap();
            release_all(&folder, &[], Duration::from_secs(60), rest)
        });
        // What a living guard holds is its own to let go of.
        looked.recv().unwrap();
        assert!(path.exists());
        drop(record);
        assert!(looking.join().unwrap());
        assert!(!path.exists());
    }
}
