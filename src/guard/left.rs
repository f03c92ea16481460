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
    /// Only a hand can help: waiting changes nothing.
    Stuck(String),
}

/// What was left by one task, and how that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Left {
    /// No dead guard holds anything of it.
    Nothing,
    /// Something of it may be held still; why, in words.
    Held(String),
}

/// Lets go of all that guards have left, looking again until there is no record any more or
/// `patience` has passed. True when nothing is held by a dead guard. Calls `at_rest` as soon as there
/// is nothing more to wait for.
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
        let mut stuck = Vec::new();
        let found = record::look(folder).unwrap_or_else(|error| {
            stuck.push(record::no_folder(folder, &error));
            Found::default()
        });
        // Until the guard is done, or turns out to be dead.
        let mut watched = found.living;
        for record in found.left {
            match release(record, programs) {
                Standing::Over => {}
                Standing::Watched => watched = true,
                Standing::Held(reason) => held.push(reason),
                Standing::Stuck(reason) => stuck.push(reason),
            }
        }
        let waited_for = !held.is_empty();
        let at_peace = held.is_empty() && stuck.is_empty();
        // Each trouble once, not twice a second.
        for reason in held.into_iter().chain(stuck) {
            if !told.contains(&reason) {
                tracing::warn!("{reason}");
                told.push(reason);
            }
        }
        if !waited_for {
            if let Some(at_rest) = at_rest.take() {
                at_rest();
            }
            if !watched {
                return at_peace;
            }
        }
        if Instant::now() >= deadline {
            return at_peace;
        }
        thread::sleep(REST);
    }
}

/// Lets go of what one task has left, and waits until its record is gone or `patience` has passed.
/// Does not wait for what only a hand can mend.
pub(super) fn release_one(
    folder: &Path,
    task: &Task,
    programs: &[PathBuf],
    patience: Duration,
) -> Left {
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
) -> Left {
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
) -> Left {
    let deadline = Instant::now() + patience;
    let mut told = None;
    loop {
        let standing = match record::left_behind_of(folder, task) {
            Ok(None) => return Left::Nothing,
            Ok(Some(record)) => release(record, programs),
            Err(error) => Standing::Stuck(record::not_opened(folder, task, &error)),
        };
        let reason = match &standing {
            Standing::Over => None,
            Standing::Watched => Some(format!(
                "a pause call of {}, whose guard was killed, may still be carried out",
                record::path_of(folder, task).display()
            )),
            Standing::Held(reason) | Standing::Stuck(reason) => {
                if told.as_ref() != Some(reason) {
                    tracing::warn!("{reason}");
                    told = Some(reason.clone());
                }
                Some(reason.clone())
            }
        };
        match (standing, reason) {
            (Standing::Stuck(reason), _) => return Left::Held(reason),
            (standing, _) if enough(&standing) => return Left::Nothing,
            (_, Some(reason)) if Instant::now() >= deadline => return Left::Held(reason),
            _ => thread::sleep(REST),
        }
    }
}

fn release(mut record: Record, programs: &[PathBuf]) -> Standing {
    let path = record.path().display().to_string();
    let content = match record.read() {
        Ok(Some(content)) => content,
        Ok(None) => return over(record),
        Err(error) => return Standing::Stuck(record::unreadable(record.path(), &error)),
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
        Err(error) => Standing::Stuck(format!(
            "cannot remove the pause record {path}, of which nothing is held any more: {error}. \
             Remove it by hand"
        )),
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
