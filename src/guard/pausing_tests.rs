use proptest::prelude::*;

use super::*;

/// How the stand-in toolstack answers one pause call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pausing {
    Well,
    /// Not paused, and success.
    Lies,
    /// Paused, and an error.
    ThenFails,
    Fails,
    /// Paused, and no end of the call.
    ThenHangs,
    Hangs,
    /// No end of the call; paused so long after it was killed.
    HangsLate(u64),
}

/// A domain, a toolstack and a clock. Each call takes some milliseconds.
struct Fake {
    now: Duration,
    state: DomainState,
    /// One for each call; then `Well`.
    pausing: Vec<Pausing>,
    /// So many unpause calls fail without an effect.
    unpause_fails: u32,
    /// So many lists fail, from the second on.
    lists_fail: u32,
    lists: u32,
    late: Option<Duration>,
    record: Result<(), String>,
    record_written: bool,
    heard: Option<(Duration, Cause)>,
    said: Vec<Said>,
    /// When the guest was stopped and went on, since the clock's beginning.
    pauses: Vec<(Duration, Option<Duration>)>,
    calls: Vec<&'static str>,
}

impl Fake {
    fn running() -> Fake {
        Fake {
            now: Duration::from_secs(100),
            state: DomainState::Running,
            pausing: Vec::new(),
            unpause_fails: 0,
            lists_fail: 0,
            lists: 0,
            late: None,
            record: Ok(()),
            record_written: false,
            heard: None,
            said: Vec::new(),
            pauses: Vec::new(),
            calls: Vec::new(),
        }
    }

    fn stop(&mut self, at: Duration) {
        if self.state == DomainState::Running {
            self.state = DomainState::Paused;
            self.pauses.push((at, None));
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        if let Some(late) = self.late.filter(|late| *late <= self.now) {
            self.late = None;
            self.stop(late);
        }
    }

    fn run(mut self) -> Fake {
        hold(&mut self, MAX_PAUSE);
        self
    }
}

const MAX_PAUSE: Duration = Duration::from_secs(5);

impl Surroundings for Fake {
    fn now(&mut self) -> Duration {
        self.now
    }

    fn state(&mut self, limit: Duration) -> Result<DomainState, String> {
        self.lists += 1;
        if self.lists > 1 && self.lists_fail > 0 {
            self.lists_fail -= 1;
            self.pass(limit);
            return Err("no answer".to_owned());
        }
        self.pass(Duration::from_millis(10));
        Ok(self.state)
    }

    fn pause(&mut self, limit: Duration) -> Result<(), CallError> {
        assert!(self.record_written, "paused without a record");
        self.calls.push("pause");
        let how = if self.pausing.is_empty() {
            Pausing::Well
        } else {
            self.pausing.remove(0)
        };
        self.pass(Duration::from_millis(10));
        if matches!(how, Pausing::Well | Pausing::ThenFails | Pausing::ThenHangs) {
            self.stop(self.now);
        }
        match how {
            Pausing::Well | Pausing::Lies => Ok(()),
            Pausing::ThenFails | Pausing::Fails => Err(CallError::Failed("failed".to_owned())),
            Pausing::ThenHangs | Pausing::Hangs | Pausing::HangsLate(_) => {
                self.pass(limit);
                if let Pausing::HangsLate(late) = how {
                    self.late = Some(self.now + Duration::from_millis(late));
                }
                Err(CallError::Unknown("killed".to_owned()))
            }
        }
    }

    fn unpause(&mut self, limit: Duration) -> Result<(), String> {
        self.calls.push("unpause");
        if self.unpause_fails > 0 {
            self.unpause_fails -= 1;
            self.pass(limit);
            return Err("no".to_owned());
        }
        self.pass(Duration::from_millis(10));
        if self.state == DomainState::Paused {
            self.state = DomainState::Running;
            if let Some(pause) = self.pauses.last_mut() {
                pause.1 = Some(self.now);
            }
        }
        Ok(())
    }

    fn write_record(&mut self) -> Result<(), String> {
        self.record_written = self.record.is_ok();
        self.record.clone()
    }

    fn listen(&mut self, until: Duration) -> Option<Cause> {
        match self.heard {
            Some((at, cause)) if at <= self.now.max(until) => {
                let wait = at.saturating_sub(self.now);
                self.pass(wait);
                Some(cause)
            }
            _ => {
                let wait = until.saturating_sub(self.now);
                self.pass(wait);
                None
            }
        }
    }

    fn rest(&mut self, time: Duration) {
        self.pass(time);
    }

    fn say(&mut self, said: Said) {
        self.said.push(said);
    }
}

fn at(milliseconds: u64) -> Duration {
    Duration::from_secs(100) + Duration::from_millis(milliseconds)
}

#[test]
fn a_pause_is_held_until_the_word() {
    let done = Fake {
        heard: Some((at(300), Cause::Released)),
        ..Fake::running()
    }
    .run();
    assert_eq!(done.calls, ["pause", "unpause"]);
    assert_eq!(done.state, DomainState::Running);
    let [
        Said::Pausing,
        Said::Held(since),
        Said::LettingGo(Cause::Released),
        Said::LetGo(held),
    ] = done.said[..]
    else {
        panic!("{:?}", done.said);
    };
    assert_eq!(since, at(20));
    // With the look at the list before it is undone.
    assert_eq!(held, Duration::from_millis(310));
    assert_eq!(done.pauses, [(at(20), Some(at(320)))]);
}

#[test]
fn every_reason_ends_it_and_so_does_time() {
    for cause in [Cause::HungUp, Cause::Signal(15), Cause::Released] {
        let done = Fake {
            heard: Some((at(300), cause)),
            ..Fake::running()
        }
        .run();
        assert!(done.said.contains(&Said::LettingGo(cause)));
        // The daemon's word alone is worth a look at the list.
        let end = if cause == Cause::Released { 320 } else { 310 };
        assert_eq!(done.pauses, [(at(20), Some(at(end)))]);
    }
    let done = Fake::running().run();
    assert!(done.said.contains(&Said::LettingGo(Cause::Expired)));
    // Since before the call.
    assert_eq!(done.pauses, [(at(20), Some(at(5020)))]);
}

#[test]
fn a_pause_that_did_not_last_is_not_called_one() {
    // The toolstack says that it has paused, and has not.
    let lied = Fake {
        pausing: vec![Pausing::Lies],
        heard: Some((at(300), Cause::Released)),
        ..Fake::running()
    }
    .run();
    assert!(lied.said.contains(&Said::LettingGo(Cause::Undone)));
    assert_eq!(lied.calls, ["pause", "unpause"]);
    // It does not answer when it is asked.
    let silent = Fake {
        lists_fail: 1,
        heard: Some((at(300), Cause::Released)),
        ..Fake::running()
    }
    .run();
    assert!(silent.said.contains(&Said::LettingGo(Cause::Undone)));
    assert_eq!(silent.state, DomainState::Running);
    assert!(silent.pauses[0].1.unwrap() <= at(20) + MAX_PAUSE + Duration::from_millis(100));
}

#[test]
fn a_reason_during_the_pause_call_comes_before_the_clones() {
    for (how, late) in [(Pausing::Well, 15), (Pausing::ThenHangs, 1000)] {
        let done = Fake {
            pausing: vec![how],
            heard: Some((at(late), Cause::Signal(15))),
            ..Fake::running()
        }
        .run();
        let held = done.said.iter().any(|said| matches!(said, Said::Held(_)));
        assert!(!held, "{how:?}: {:?}", done.said);
        assert!(done.said.contains(&Said::LettingGo(Cause::Signal(15))));
        assert_eq!(done.state, DomainState::Running);
    }
}

#[test]
fn only_what_runs_here_is_paused_and_unpaused() {
    for (state, expected) in [
        (DomainState::Paused, Refusal::PausedBefore),
        (DomainState::Off, Refusal::NotHere),
        (DomainState::Shutdown, Refusal::NotRunning),
        (DomainState::Crashed, Refusal::NotRunning),
        (DomainState::Dying, Refusal::NotRunning),
        (DomainState::Unknown, Refusal::Failed),
    ] {
        let done = Fake {
            state,
            ..Fake::running()
        }
        .run();
        assert!(done.calls.is_empty(), "{state:?}: {:?}", done.calls);
        assert!(!done.record_written);
        assert_eq!(done.state, state);
        let [Said::Refused(refusal, _)] = &done.said[..] else {
            panic!("{state:?}: {:?}", done.said);
        };
        assert_eq!(*refusal, expected, "{state:?}");
    }
}

#[test]
fn nothing_is_paused_without_a_record_or_after_the_end() {
    let done = Fake {
        record: Err("full".to_owned()),
        ..Fake::running()
    }
    .run();
    assert!(done.calls.is_empty());
    let done = Fake {
        heard: Some((at(0), Cause::HungUp)),
        ..Fake::running()
    }
    .run();
    assert!(done.calls.is_empty());
    assert!(!done.record_written);
}

#[test]
fn a_call_that_fails_or_hangs_and_pauses_all_the_same_is_ours() {
    for how in [Pausing::ThenFails, Pausing::ThenHangs] {
        let done = Fake {
            pausing: vec![how],
            heard: Some((at(4000), Cause::Released)),
            ..Fake::running()
        }
        .run();
        assert_eq!(done.calls, ["pause", "unpause"], "{how:?}");
        assert_eq!(done.state, DomainState::Running);
        assert!(done.said.contains(&Said::LettingGo(Cause::Released)));
    }
}

#[test]
fn a_call_without_an_effect_is_tried_once_more() {
    for how in [Pausing::Fails, Pausing::Hangs] {
        let done = Fake {
            pausing: vec![how],
            heard: Some((at(4000), Cause::Released)),
            ..Fake::running()
        }
        .run();
        assert_eq!(done.calls, ["pause", "pause", "unpause"], "{how:?}");
        assert!(done.said.contains(&Said::LettingGo(Cause::Released)));
        let done = Fake {
            pausing: vec![how, how],
            ..Fake::running()
        }
        .run();
        assert_eq!(done.calls, ["pause", "pause", "unpause"], "{how:?}");
        let Some(Said::Refused(Refusal::Failed, _)) = done.said.last() else {
            panic!("{:?}", done.said);
        };
    }
}

#[test]
fn a_pause_that_comes_late_is_undone() {
    for late in [0, 20, 700, 5000, 9000] {
        // Also after a second call that worked.
        for second in [Pausing::HangsLate(late), Pausing::Well] {
            let done = Fake {
                pausing: vec![Pausing::HangsLate(late), second],
                ..Fake::running()
            }
            .run();
            assert_eq!(done.state, DomainState::Running, "{late}");
            assert_eq!(done.late, None, "{late}");
            assert!(!done.pauses.is_empty(), "{late}");
            for (from, to) in done.pauses {
                let took = to.unwrap() - from;
                let limit = MAX_PAUSE + Duration::from_secs(1);
                assert!(took < limit, "{late}: {took:?}");
            }
        }
    }
}

#[test]
fn unpausing_is_tried_until_the_list_shows_it() {
    let done = Fake {
        unpause_fails: 20,
        lists_fail: 3,
        heard: Some((at(300), Cause::HungUp)),
        ..Fake::running()
    }
    .run();
    assert_eq!(done.state, DomainState::Running);
    let unpauses = done.calls.iter().filter(|call| **call == "unpause");
    assert_eq!(unpauses.count(), 21);
}

#[test]
fn a_domain_that_is_gone_needs_no_unpausing() {
    struct Going(Fake);
    impl Surroundings for Going {
        fn now(&mut self) -> Duration {
            self.0.now()
        }
        fn state(&mut self, limit: Duration) -> Result<DomainState, String> {
            self.0.state(limit)
        }
        fn pause(&mut self, limit: Duration) -> Result<(), CallError> {
            let paused = self.0.pause(limit);
            self.0.state = DomainState::Off;
            paused
        }
        fn unpause(&mut self, limit: Duration) -> Result<(), String> {
            self.0.unpause(limit)?;
            Err("no such domain".to_owned())
        }
        fn write_record(&mut self) -> Result<(), String> {
            self.0.write_record()
        }
        fn listen(&mut self, until: Duration) -> Option<Cause> {
            self.0.listen(until)
        }
        fn rest(&mut self, time: Duration) {
            self.0.rest(time);
        }
        fn say(&mut self, said: Said) {
            self.0.say(said);
        }
    }
    let mut going = Going(Fake::running());
    hold(&mut going, MAX_PAUSE);
    let unpauses = going.0.calls.iter().filter(|call| **call == "unpause");
    // It is not believed at once.
    assert_eq!(unpauses.count(), 3);
    assert!(matches!(going.0.said.last(), Some(Said::LetGo(_))));
}

fn pausing() -> impl Strategy<Value = Pausing> {
    prop_oneof![
        Just(Pausing::Well),
        Just(Pausing::ThenFails),
        Just(Pausing::Fails),
        Just(Pausing::ThenHangs),
        Just(Pausing::Hangs),
        (0_u64..9000).prop_map(Pausing::HangsLate),
    ]
}

fn heard() -> impl Strategy<Value = Option<(Duration, Cause)>> {
    let cause = prop_oneof![
        Just(Cause::Released),
        Just(Cause::HungUp),
        (1_u32..64).prop_map(Cause::Signal)
    ];
    proptest::option::of((0_u64..8000, cause).prop_map(|(when, cause)| (at(when), cause)))
}

proptest! {
    /// Whatever the toolstack does, as long as an unpause call works at last.
    #[test]
    fn what_is_paused_is_unpaused(
        pausing in proptest::collection::vec(pausing(), 0..3),
        heard in heard(),
        unpause_fails in 0_u32..5,
        lists_fail in 0_u32..5,
    ) {
        let calm = unpause_fails == 0 && lists_fail == 0;
        let done = Fake { pausing, heard, unpause_fails, lists_fail, ..Fake::running() }.run();
        prop_assert_eq!(done.state, DomainState::Running);
        prop_assert!(done.late.is_none());
        for (from, to) in &done.pauses {
            let to = to.unwrap();
            if calm {
                prop_assert!(to - *from < MAX_PAUSE + Duration::from_secs(1));
            }
        }
        // The daemon hears one last word.
        let last = done.said.iter().filter(|said| matches!(said, Said::LetGo(_) | Said::Refused(..)));
        prop_assert_eq!(last.count(), 1);
        // What it is told was held, was held.
        if let Some(Said::Held(since)) = done.said.iter().find(|said| matches!(said, Said::Held(_)))
            && done.said.contains(&Said::LettingGo(Cause::Released))
        {
            let word = heard.unwrap().0;
            let held = done.pauses.iter().any(|(from, to)| {
                from <= since && to.unwrap() >= word.max(*since)
            });
            prop_assert!(held, "{:?} {:?}", done.pauses, done.said);
        }
    }
}
