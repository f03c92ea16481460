//! One moment for all disks of a snapshot, where that is asked for: the machine is held by a
//! [guard](crate::guard) while they are cloned.
//!
//! What the *request* asks for is done or refused; what only the *configuration* asks for gives way,
//! and the answer says so:
//!
//! | | asked for by the request | by the configuration |
//! | --- | --- | --- |
//! | the machine is off, elsewhere, or somebody has paused it | snapshot, `none`, warning | the same |
//! | it cannot be paused | 503 | snapshot, `none`, warning |
//! | `before_snapshot` fails | 503 | 503 |
//! | the guard let go before all clones were made | undone, 503 | snapshot, `none`, warning |
//! | cloning is expected to take longer than `max_pause` | 409 | 409 |

use std::time::Duration;

use super::Snapshots;
use super::create::{Source, Subject};
use super::error::SnapshotError;
use super::manifest::Manifest;
use super::wish::Wish;
use crate::guard::{Hold, NotHeld, Refusal, Task};
use crate::ovm::domains::Toolstack;
use crate::protocol::Consistency;

/// The time in which the disks are cloned.
pub(super) struct Moment {
    vm_id: String,
    wanted: Consistency,
    insisted: bool,
    held: Result<Hold, Option<String>>,
}

/// What the moment was like.
#[derive(Debug)]
pub(super) struct Outcome {
    consistency: Consistency,
    pause: Option<Duration>,
    warnings: Vec<String>,
}

impl Snapshots {
    /// Holds the machine, if that is asked for. Everything else must be ready: only clones follow.
    ///
    /// # Errors
    /// [`SnapshotError::TooLong`], [`SnapshotError::NotOneMoment`], [`SnapshotError::Refused`]; the
    /// catalog's.
    pub(super) fn one_moment(
        &self,
        subject: &Subject,
        wish: &Wish,
        sources: &[Source<'_>],
        extents: &[u64],
    ) -> Result<Moment, SnapshotError> {
        let wanted = wish.consistency.unwrap_or(self.settings.get().consistency);
        let moment = |held| Moment {
            vm_id: subject.vm_id.clone(),
            wanted,
            insisted: wish.consistency.is_some(),
            held,
        };
        let task = match wanted {
            Consistency::None => return Ok(moment(Err(None))),
            Consistency::Pause => {
                if wish.consistency.is_some() {
                    self.can_pause()?;
                }
                self.pause_task(subject)
            }
            Consistency::Command => Ok(self.command_task(subject)?),
        };
        self.see_that_it_is_short(&subject.vm_id, sources, extents)?;
        let held = task.and_then(|task| self.guards.hold(task, self.settings.get().max_pause));
        let refused = match held {
            Ok(hold) => return Ok(moment(Ok(hold))),
            Err(refused) => refused,
        };
        let yields = match refused.refusal {
            Refusal::NotHere | Refusal::NotRunning | Refusal::PausedBefore => true,
            Refusal::Failed => wish.consistency.is_none(),
            Refusal::CommandFailed => false,
        };
        if !yields {
            return Err(SnapshotError::NotOneMoment {
                vm_id: subject.vm_id.clone(),
                reason: refused.reason,
            });
        }
        Ok(moment(Err(Some(refused.reason))))
    }

    /// Lets go of machines that guards which were killed have left held. Does not wait for it.
    pub fn release_left(&self) {
        let toolstack = self.toolstack.as_ref();
        let programs = toolstack.map(Toolstack::programs).unwrap_or_default();
        self.guards.release_left(programs, Duration::ZERO);
    }

    /// What keeps machines from being held, and waits for a hand. Blocks.
    #[must_use]
    pub fn pause_trouble(&self) -> Vec<String> {
        self.guards.trouble()
    }

    /// # Errors
    /// [`SnapshotError::Refused`] where nothing on this node can pause a machine: to try again
    /// would not help.
    fn can_pause(&self) -> Result<(), SnapshotError> {
        let programs = self.toolstack.as_ref().map(Toolstack::programs);
        if programs.is_some_and(|programs| programs.iter().any(|program| program.is_file())) {
            return Ok(());
        }
        Err(SnapshotError::Refused(
            "consistency \"pause\" needs xm or xl, and what the configuration has for it (toolstack) is \
             not installed on this node"
                .to_owned(),
        ))
    }

    fn pause_task(&self, subject: &Subject) -> Result<Task, NotHeld> {
        let domain = subject.domain.clone().ok_or_else(|| {
            NotHeld::failed("its vm.cfg does not say for certain what the toolstack calls it")
        })?;
        let toolstack = self.toolstack.as_ref();
        Ok(Task::Pause {
            domain,
            programs: toolstack
                .ok_or_else(|| NotHeld::failed("there is no toolstack"))?
                .programs(),
        })
    }

    fn command_task(&self, subject: &Subject) -> Result<Task, SnapshotError> {
        let settings = self.settings.get();
        if settings.before_snapshot.is_empty() || settings.after_snapshot.is_empty() {
            return Err(SnapshotError::Refused(
                "consistency \"command\" needs before_snapshot and after_snapshot in the \
                 configuration, section [snapshots]"
                    .to_owned(),
            ));
        }
        Ok(Task::Command {
            vm_id: subject.vm_id.clone(),
            vm_name: subject.domain.clone().unwrap_or_default(),
            before: settings.before_snapshot.clone(),
            after: settings.after_snapshot.clone(),
            timeout: settings.command_timeout,
        })
    }
}

impl Moment {
    /// Lets go of the machine. Comes right after the clones, whether they were made or not.
    ///
    /// # Errors
    /// [`SnapshotError::NotOneMoment`] where the machine was not held until now, and the request
    /// asked for that.
    pub(super) fn over(self) -> Result<Outcome, SnapshotError> {
        let none = |warnings| Outcome {
            consistency: Consistency::None,
            pause: None,
            warnings,
        };
        let not_one = |reason: &str| {
            format!(
                "its disks are not of one moment, as {:?} would make them: {reason}",
                self.wanted.as_str()
            )
        };
        let hold = match self.held {
            Ok(hold) => hold,
            Err(None) => return Ok(none(Vec::new())),
            Err(Some(reason)) => return Ok(none(vec![not_one(&reason)])),
        };
        let ended = hold.release();
        if ended.lasted {
            return Ok(Outcome {
                consistency: self.wanted,
                pause: ended.held,
                warnings: ended.warnings,
            });
        }
        let reason = ended
            .reason
            .unwrap_or_else(|| "the guard process does not answer".to_owned());
        if self.insisted {
            return Err(SnapshotError::NotOneMoment {
                vm_id: self.vm_id,
                reason,
            });
        }
        let mut warnings = vec![not_one(&reason)];
        warnings.extend(ended.warnings);
        Ok(Outcome {
            pause: ended.held,
            ..none(warnings)
        })
    }
}

impl Outcome {
    /// Notes it in the manifest.
    pub(super) fn note(self, manifest: &mut Manifest) {
        for warning in &self.warnings {
            tracing::warn!(snapshot = %manifest.id, vm = manifest.vm_id, "{warning}");
        }
        manifest.consistency = self.consistency;
        manifest.pause_us = self
            .pause
            .map(|pause| u64::try_from(pause.as_micros()).unwrap_or(u64::MAX));
        manifest.warnings.extend(self.warnings);
    }
}
