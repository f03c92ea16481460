//! How a disk is to be copied, and why: decided from what is known, without asking anybody.

use jiff::SignedDuration;

use super::{How, ReplicaState};
use crate::client::target::Fingerprint;
use crate::protocol::SnapshotDisk;

/// What a target says of itself at the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TargetFacts {
    pub(super) name: String,
    pub(super) size: u64,
    pub(super) zeroed: bool,
    /// This replica may have written to it in an earlier run, as whichever disk.
    pub(super) was_ours: bool,
    pub(super) readable: bool,
    /// Nobody can tell from here what lies on it: it is looked at before an increment goes there.
    pub(super) opaque: bool,
    /// As it was found.
    pub(super) fingerprint: Option<Fingerprint>,
    /// Why it does not hold the base, or why nobody can tell: of one that was looked at for that.
    pub(super) doubt: Option<String>,
}

/// How a disk is copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) how: How,
    pub(super) why: String,
    /// Zeros need not be written: nothing but zeros is there.
    pub(super) skip_zeros: bool,
    /// What the target holds cannot be relied on, by the state.
    pub(super) suspect: bool,
}

impl Plan {
    pub(super) fn of(state: &ReplicaState, disk: &SnapshotDisk, target: &TargetFacts) -> Plan {
        if !state.knows(&disk.name) {
            let is_blank = target.zeroed && !target.was_ours;
            let why = match (is_blank, state.base) {
                (true, _) => "it was not copied before, and its target is all zeros",
                (false, None) => "it was not copied before",
                (false, Some(_)) => "the base has no such disk",
            };
            return Plan {
                how: How::Full,
                why: why.to_owned(),
                skip_zeros: is_blank,
                suspect: false,
            };
        }
        match doubt(state, disk, target) {
            None => Plan {
                how: How::Incremental,
                why: "its target holds the base".to_owned(),
                skip_zeros: false,
                suspect: false,
            },
            Some(reason) => Plan::without_base(reason, target),
        }
    }

    /// The base cannot be used for this disk. Zeros are written, even to a target that calls
    /// itself zero: something was written to it once.
    pub(super) fn without_base(why: String, target: &TargetFacts) -> Plan {
        let how = match (target.readable, target.zeroed) {
            (true, false) => How::Digests,
            _ => How::Full,
        };
        Plan {
            how,
            why,
            skip_zeros: false,
            suspect: true,
        }
    }
}

/// Why a target that was written before does not hold the base.
fn doubt(state: &ReplicaState, disk: &SnapshotDisk, target: &TargetFacts) -> Option<String> {
    if let Some(reason) = state.suspect.get(&disk.name) {
        return Some(reason.clone());
    }
    let Some((base, known)) = state.base.zip(state.disks.get(&disk.name)) else {
        return Some("its first copy was interrupted".to_owned());
    };
    // A disk of no bytes has left no more.
    if target.zeroed && known.size > 0 {
        return Some(format!(
            "{} is empty, though by the state it holds {base}",
            target.name
        ));
    }
    if known.source != disk.parent_path {
        return Some(format!(
            "it is another file now: {} instead of {}",
            disk.parent_path.display(),
            known.source.display()
        ));
    }
    if known.target != target.name {
        return Some(format!(
            "it went to {} before, and goes to {} now",
            known.target, target.name
        ));
    }
    if target.readable && known.target_size < known.size {
        return Some(format!(
            "by the state {} had {} bytes only, of a disk of {}",
            target.name, known.target_size, known.size
        ));
    }
    // The run that was interrupted may have given it the new size already.
    let resized = state.is_dirty(&disk.name) && target.size == disk.size;
    if target.size != known.target_size && !resized {
        return Some(format!(
            "{} has {} bytes, and by the state it had {}",
            target.name, target.size, known.target_size
        ));
    }
    let by_looks = match (&target.fingerprint, &known.fingerprint) {
        (Some(found), Some(left)) => doubt_by_looks(state, disk, target, found, left),
        // Whatever is not known cannot be the same. What cannot be seen from here is looked at later.
        (Some(_), None) if !target.opaque => Some(format!(
            "the state does not say what {} looked like when it was left (a state of an earlier \
             release, or one that was changed?)",
            target.name
        )),
        _ => None,
    };
    by_looks.or_else(|| target.doubt.clone())
}

/// Compares the fingerprint saved at the end of the last run with today's.
fn doubt_by_looks(
    state: &ReplicaState,
    disk: &SnapshotDisk,
    target: &TargetFacts,
    found: &Fingerprint,
    left: &Fingerprint,
) -> Option<String> {
    if left.is_another_device(found) {
        return Some(format!(
            "{} is another one than was written to: {} instead of {}",
            target.name, found.identity, left.identity
        ));
    }
    // What an interrupted run has written to looks otherwise, but is the same one, and nobody has
    // changed it since.
    let is_same = if state.is_dirty(&disk.name) {
        found.identity == left.identity && is_of_then(found, state.seen(&disk.name))
    } else {
        found == left
    };
    (!is_same).then(|| {
        format!(
            "{} was changed since the last run by somebody else (restored from a backup?)",
            target.name
        )
    })
}

/// A run looks at its targets more often than that, also where its state is slow to be saved.
const LATER: SignedDuration = SignedDuration::from_secs(30);
/// What storage may forget of the time of a change in a power cut.
const EARLIER: SignedDuration = SignedDuration::from_mins(2);

/// Whether what was found was changed about when the interrupted run has looked last, which was
/// shortly before its end. Of what does not tell when it was changed nobody knows; of what does, a run
/// says what it looked like before it writes.
fn is_of_then(found: &Fingerprint, seen: Option<&Fingerprint>) -> bool {
    let Some(found) = found.changed else {
        return true;
    };
    let Some(seen) = seen.and_then(|seen| seen.changed) else {
        return false;
    };
    let later = found.duration_since(seen);
    -EARLIER <= later && later <= LATER
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use uuid::Uuid;

    use super::super::{DiskState, Pending};
    use super::*;
    use crate::protocol::SnapshotRequest;

    fn disk() -> SnapshotDisk {
        SnapshotDisk {
            parent_path: "/r/a.img".into(),
            path: "/r/s/a.img".into(),
            snapshot_id: Uuid::nil(),
            chunks: Vec::new(),
            name: "a.img".to_owned(),
            repo_mountpoint: "/r".into(),
            size: 200,
            extents: 0,
            stall_ms: 0.0,
            sealed: true,
            base: None,
            method: None,
            reason: None,
        }
    }

    fn fingerprint(identity: &str, version: &str) -> Fingerprint {
        Fingerprint {
            identity: identity.to_owned(),
            version: version.to_owned(),
            changed: None,
        }
    }

    fn target() -> TargetFacts {
        TargetFacts {
            name: "/replicas/a.img".to_owned(),
            size: 100,
            zeroed: false,
            was_ours: false,
            readable: true,
            opaque: false,
            fingerprint: Some(fingerprint("8:1", "1")),
            doubt: None,
        }
    }

    fn state() -> ReplicaState {
        let mut state = ReplicaState::new("vm");
        state.base = Some(Uuid::from_u128(1));
        let known = DiskState {
            size: 100,
            source: "/r/a.img".into(),
            target: "/replicas/a.img".to_owned(),
            target_size: 100,
            fingerprint: Some(fingerprint("8:1", "1")),
            places: Vec::new(),
        };
        state.disks.insert("a.img".to_owned(), known);
        state
    }

    fn dirty(mut state: ReplicaState) -> ReplicaState {
        state.pending = Some(Pending {
            request: SnapshotRequest::default(),
            snapshot: Some(Uuid::from_u128(2)),
            dirty: ["a.img".to_owned()].into(),
            seen: [].into(),
        });
        state
    }

    #[test]
    fn only_a_target_that_holds_the_base_is_brought_forward_from_it() {
        let plan = |state: &ReplicaState, target: TargetFacts| Plan::of(state, &disk(), &target);
        assert_eq!(plan(&state(), target()).how, How::Incremental);
        assert_eq!(plan(&dirty(state()), target()).how, How::Incremental);
        let mut suspect = state();
        suspect
            .suspect
            .insert("a.img".to_owned(), "it lies".to_owned());
        let mut elsewhere = state();
        elsewhere.disks.get_mut("a.img").unwrap().source = "/r/b.img".into();
        let size = |size| TargetFacts { size, ..target() };
        let renamed = TargetFacts {
            name: "/replicas/b.img".to_owned(),
            ..target()
        };
        let touched = |identity, version| TargetFacts {
            fingerprint: Some(fingerprint(identity, version)),
            ..target()
        };
        let doubted = TargetFacts {
            doubt: Some("it was looked at".to_owned()),
            ..target()
        };
        let mut volume = state();
        let left = fingerprint("device volume=1", "");
        volume.disks.get_mut("a.img").unwrap().fingerprint = Some(left);
        for (state, target, why) in [
            (state(), doubted.clone(), "looked at"),
            (dirty(state()), doubted, "looked at"),
            (volume, touched("device volume=2", ""), "volume=2 instead"),
            (state(), touched("8:1", "2"), "by somebody else"),
            (state(), touched("8:2", "1"), "by somebody else"),
            (dirty(state()), touched("8:2", "2"), "by somebody else"),
            (suspect.clone(), target(), "it lies"),
            (dirty(suspect), target(), "it lies"),
            (elsewhere, target(), "another file"),
            (state(), renamed, "goes to"),
            (state(), size(99), "99"),
            (state(), size(0), "0 bytes"),
            // Of the new size, and no run has said that it would do that.
            (state(), size(200), "200"),
            (dirty(state()), size(150), "150"),
            (dirty(ReplicaState::new("vm")), target(), "interrupted"),
        ] {
            let found = plan(&state, target.clone());
            assert_eq!(found.how, How::Digests, "{why}");
            assert!(found.why.contains(why) && found.suspect, "{found:?}");
            let blind = TargetFacts {
                readable: false,
                ..target
            };
            assert_eq!(plan(&state, blind).how, How::Full, "{why}");
        }
        assert_eq!(plan(&dirty(state()), size(200)).how, How::Incremental);
        let written = touched("8:1", "2");
        assert_eq!(plan(&dirty(state()), written).how, How::Incremental);
        let silent = TargetFacts {
            fingerprint: None,
            ..target()
        };
        assert_eq!(plan(&state(), silent).how, How::Incremental);
    }

    /// An older release has written it, or somebody has taken it out.
    #[test]
    fn a_target_of_which_the_state_does_not_say_what_it_looked_like_is_compared() {
        let mut silent = state();
        silent.disks.get_mut("a.img").unwrap().fingerprint = None;
        for state in [silent.clone(), dirty(silent.clone())] {
            let plan = Plan::of(&state, &disk(), &target());
            assert_eq!(plan.how, How::Digests);
            assert!(
                plan.why.contains("does not say") && plan.suspect,
                "{plan:?}"
            );
        }
        // What cannot be seen is looked at; what does not tell either cannot be compared.
        let volume = TargetFacts {
            readable: false,
            opaque: true,
            fingerprint: Some(fingerprint("device volume=1", "")),
            ..target()
        };
        let mute = TargetFacts {
            fingerprint: None,
            ..target()
        };
        for target in [volume, mute] {
            assert_eq!(Plan::of(&silent, &disk(), &target).how, How::Incremental);
        }
    }

    #[test]
    fn what_was_changed_long_after_the_last_look_was_changed_by_somebody_else() {
        let at = |second| Fingerprint {
            changed: Timestamp::from_second(second).ok(),
            ..fingerprint("8:1", "2")
        };
        let how = |seen: Option<Fingerprint>, found: Fingerprint| {
            let mut state = dirty(state());
            let pending = state.pending.as_mut().unwrap();
            pending.seen = seen
                .map(|seen| ("a.img".to_owned(), seen))
                .into_iter()
                .collect();
            let found = TargetFacts {
                fingerprint: Some(found),
                ..target()
            };
            Plan::of(&state, &disk(), &found).how
        };
        for (later, expected) in [
            (0, How::Incremental),
            (30, How::Incremental),
            (31, How::Digests),
            (86_400, How::Digests),
            (-120, How::Incremental),
            (-121, How::Digests),
        ] {
            assert_eq!(how(Some(at(1000)), at(1000 + later)), expected, "{later}");
        }
        // Nobody knows when the run has looked last.
        assert_eq!(how(None, at(5000)), How::Digests);
        assert_eq!(how(Some(fingerprint("8:1", "1")), at(5000)), How::Digests);
        // It does not tell when it was changed.
        assert_eq!(how(None, fingerprint("8:1", "2")), How::Incremental);
    }

    #[test]
    fn zeros_are_left_out_only_where_nothing_was_ever_written() {
        let empty = TargetFacts {
            zeroed: true,
            ..target()
        };
        let new = ReplicaState::new("vm");
        assert!(Plan::of(&new, &disk(), &empty).skip_zeros);
        assert!(!Plan::of(&new, &disk(), &target()).skip_zeros);
        // It was another disk's, or the same one's before that was left out.
        let used = TargetFacts {
            was_ours: true,
            ..empty.clone()
        };
        assert!(!Plan::of(&new, &disk(), &used).skip_zeros);
        // Somebody says so of a target that was written to.
        for state in [state(), dirty(state()), dirty(new)] {
            let plan = Plan::of(&state, &disk(), &empty);
            assert_eq!((plan.how, plan.skip_zeros), (How::Full, false));
        }
    }

    #[test]
    fn a_disk_that_had_no_bytes_is_brought_forward_from_an_empty_file() {
        let mut state = state();
        let known = state.disks.get_mut("a.img").unwrap();
        (known.size, known.target_size) = (0, 0);
        let empty = TargetFacts {
            size: 0,
            zeroed: true,
            ..target()
        };
        assert_eq!(Plan::of(&state, &disk(), &empty).how, How::Incremental);
    }

    #[test]
    fn a_disk_that_is_new_is_copied_in_full() {
        let mut state = state();
        state.disks.clear();
        let plan = Plan::of(&state, &disk(), &target());
        assert_eq!(plan.how, How::Full);
        assert!(plan.why.contains("no such disk"));
    }
}
