//! The guard's process: from its start to its end.

use std::fs;
use std::io::{self, Stdin};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use super::call::{Call, Ended};
use super::commanding::{self, Run};
use super::ears::Ears;
use super::line::{Cause, Order, Refusal, Said, Task};
use super::mouth::Mouth;
use super::pausing::{self, CallError};
use super::record::{self, Content, Record};
use super::toolstack;
use crate::ovm::domains::DomainState;

/// How long the order may take to come.
const ORDER_LIMIT: Duration = Duration::from_secs(30);
/// How long another guard, or what one left, may keep the domain's record.
const CLAIM_LIMIT: Duration = Duration::from_secs(20);

/// Runs a guard: what the hidden subcommand does. Standard input and output are pipes to the
/// daemon.
#[must_use]
pub fn run() -> ExitCode {
    close_what_was_inherited();
    let _ = std::env::set_current_dir("/");
    // Whoever kills the daemon's process group does not mean this one. It fails for a process
    // that leads its group: somebody tries it out by hand.
    let session = nix::unistd::setsid();
    let opened = Mouth::open().and_then(|mouth| Ok((mouth, Ears::open(io::stdin())?)));
    let (mut mouth, mut ears) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            eprintln!("coriolis-ovm-exporter guard: {error}");
            return ExitCode::FAILURE;
        }
    };
    if let Err(error) = session {
        mouth.say(&Said::Note(format!("no session of its own: {error}")));
    }
    if let Err(error) = fs::write("/proc/self/oom_score_adj", "-1000") {
        mouth.say(&Said::Caution(format!(
            "the kernel may kill the guards of paused machines where memory runs out, since their \
             oom_score_adj cannot be set ({error}); the daemon would let go in their place"
        )));
    }
    mouth.say(&Said::Ready);
    let order = ears.order(ORDER_LIMIT);
    match order.as_deref().map(serde_json::from_str::<Order>) {
        // The daemon has thought better of it.
        None => {}
        Some(Err(error)) => mouth.say(&Said::Refused(
            Refusal::Failed,
            format!("not an order: {error}"),
        )),
        Some(Ok(order)) => {
            obey(&order, &mut ears, &mut mouth);
        }
    }
    mouth.close();
    ExitCode::SUCCESS
}

/// Closes every descriptor above standard error that the daemon's own parent left open.
fn close_what_was_inherited() {
    let Ok(items) = fs::read_dir("/proc/self/fd") else {
        return;
    };
    let numbers: Vec<i32> = items
        .filter_map(|item| item.ok()?.file_name().to_str()?.parse().ok())
        .filter(|number| *number > 2)
        .collect();
    for number in numbers {
        // Nothing of this process is open yet but the folder that was read, which is closed.
        let _ = nix::unistd::close(number);
    }
}

fn obey(order: &Order, ears: &mut Ears<Stdin>, mouth: &mut Mouth) {
    let name = match &order.task {
        Task::Pause { domain, .. } => domain,
        Task::Command { vm_id, .. } => vm_id,
    };
    mouth.about(name);
    if let Task::Pause { domain, .. } = &order.task
        && let Err(reason) = toolstack::usable(domain)
    {
        mouth.say(&Said::Refused(Refusal::Failed, reason));
        return;
    }
    let record = match claim(&order.records, &order.task, ears) {
        Ok(record) => record,
        Err(reason) => {
            mouth.say(&Said::Refused(Refusal::Failed, reason));
            return;
        }
    };
    let mut post = Post {
        order,
        ears,
        mouth,
        record,
        program: None,
    };
    match &order.task {
        Task::Pause { .. } => pausing::hold(&mut post, order.max_pause),
        Task::Command { .. } => commanding::hold(&mut post, order.max_pause),
    }
    let path = post.record.path().to_owned();
    if let Err(error) = post.record.remove() {
        let path = path.display();
        mouth.say(&Said::Note(format!(
            "cannot remove the pause record {path}: {error}"
        )));
    }
}

/// Takes the record's place, waiting for whoever has it.
fn claim(folder: &Path, task: &Task, ears: &mut Ears<Stdin>) -> Result<Record, String> {
    let deadline = Instant::now() + CLAIM_LIMIT;
    loop {
        match Record::claim(folder, task) {
            Ok(Some(record)) => return Ok(record),
            Ok(None) => {}
            Err(error) => {
                let folder = folder.display();
                return Err(format!("cannot make a pause record in {folder}: {error}"));
            }
        }
        if Instant::now() > deadline {
            return Err("another pause of it is not over yet".to_owned());
        }
        if let Some(cause) = ears.listen(Duration::from_millis(20)) {
            return Err(format!("told to let go before it began: {cause}"));
        }
    }
}

/// A guard at work.
struct Post<'p> {
    order: &'p Order,
    ears: &'p mut Ears<Stdin>,
    mouth: &'p mut Mouth,
    record: Record,
    /// The toolstack's program that answers.
    program: Option<PathBuf>,
}

impl Post<'_> {
    fn write_content(&mut self) -> Result<(), String> {
        let task = match &self.order.task {
            Task::Pause { domain, .. } => Task::Pause {
                domain: domain.clone(),
                programs: self.programs(),
            },
            task @ Task::Command { .. } => task.clone(),
        };
        let content = Content {
            task,
            boot: record::boot_id(),
            monotonic: record::monotonic(),
            max_pause: self.order.max_pause,
            at: jiff::Timestamp::now(),
            guard: std::process::id(),
        };
        let path = self.record.path().to_owned();
        self.record
            .fill(&content)
            .map_err(|error| format!("cannot write {}: {error}", path.display()))
    }

    fn listen_until(&mut self, until: Duration) -> Option<Cause> {
        self.ears.listen(until.saturating_sub(record::monotonic()))
    }

    fn domain(&self) -> &str {
        match &self.order.task {
            Task::Pause { domain, .. } => domain,
            Task::Command { .. } => "",
        }
    }

    /// All programs, that which has answered first.
    fn programs(&self) -> Vec<PathBuf> {
        let Task::Pause { programs, .. } = &self.order.task else {
            return Vec::new();
        };
        let mut programs = programs.clone();
        programs.sort_by_key(|program| Some(program) != self.program.as_ref());
        programs
    }

    /// Runs one of the commands; with `listening`, a reason to let go ends it.
    fn command(&mut self, before: bool) -> Run {
        let Task::Command {
            vm_id,
            vm_name,
            before: first,
            after,
            timeout,
        } = &self.order.task
        else {
            return Run::NotStarted("no command was ordered".to_owned());
        };
        let argv = if before { first } else { after };
        let ears = &mut *self.ears;
        run_command(argv, vm_id, vm_name, *timeout, || {
            before && ears.listen(Duration::ZERO).is_some()
        })
    }
}

/// Runs a command of the configuration.
pub(super) fn run_command(
    argv: &[String],
    vm_id: &str,
    vm_name: &str,
    limit: Duration,
    stop: impl FnMut() -> bool,
) -> Run {
    let Some((program, arguments)) = argv.split_first() else {
        return Run::NotStarted("the command is empty".to_owned());
    };
    let ended = Call {
        program: Path::new(program),
        arguments: arguments.iter().map(Into::into).collect(),
        environment: vec![
            ("CORIOLIS_VM_ID", vm_id.to_owned()),
            ("CORIOLIS_VM_NAME", vm_name.to_owned()),
        ],
        limit,
        expendable: true,
    }
    .run(stop);
    match ended {
        Ended::Well(_) => Run::Well,
        Ended::NotStarted(reason) => Run::NotStarted(reason),
        Ended::Badly(reason) | Ended::Killed(reason) => Run::Badly(reason),
    }
}

impl pausing::Surroundings for Post<'_> {
    fn now(&mut self) -> Duration {
        record::monotonic()
    }

    fn state(&mut self, limit: Duration) -> Result<DomainState, String> {
        let (program, state) = toolstack::state(&self.programs(), self.domain(), limit)?;
        self.program.get_or_insert(program);
        Ok(state)
    }

    fn pause(&mut self, limit: Duration) -> Result<(), CallError> {
        let Some(program) = &self.program else {
            return Err(CallError::Failed("no toolstack has answered".to_owned()));
        };
        match toolstack::call(program, "pause", self.domain(), limit) {
            Ended::Well(_) => Ok(()),
            Ended::Killed(reason) => Err(CallError::Unknown(reason)),
            Ended::Badly(reason) | Ended::NotStarted(reason) => Err(CallError::Failed(reason)),
        }
    }

    fn unpause(&mut self, limit: Duration) -> Result<(), String> {
        toolstack::unpause(&self.programs(), self.domain(), limit)
    }

    fn write_record(&mut self) -> Result<(), String> {
        self.write_content()
    }

    fn listen(&mut self, until: Duration) -> Option<Cause> {
        self.listen_until(until)
    }

    fn rest(&mut self, time: Duration) {
        thread::sleep(time);
    }

    fn say(&mut self, said: Said) {
        self.mouth.say(&said);
    }
}

impl commanding::Surroundings for Post<'_> {
    fn now(&mut self) -> Duration {
        record::monotonic()
    }

    fn before(&mut self) -> Run {
        self.command(true)
    }

    fn after(&mut self) -> Run {
        self.command(false)
    }

    fn write_record(&mut self) -> Result<(), String> {
        self.write_content()
    }

    fn listen(&mut self, until: Duration) -> Option<Cause> {
        self.listen_until(until)
    }

    fn say(&mut self, said: Said) {
        self.mouth.say(&said);
    }
}
