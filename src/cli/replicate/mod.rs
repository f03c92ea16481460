//! `replicate`.

mod board;
mod machine;
mod metrics_file;
mod neighbours;
mod options;
mod report;
mod shared_state;
mod turns;
mod workers;

pub use options::ReplicateOptions;

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;

use super::arguments::Common;
use super::output::is_unwritten;
use super::say;
use super::words::each_once;
use crate::causes;
use crate::client::ClientError;
use crate::client::replicate::{Cancellation, Outcome, ReplicateError};
use crate::protocol::duration;
use metrics_file::MetricsFile;
use shared_state::{Held, SharedState};
use turns::Interruption;

/// One run, or with `--every` one after the other until a signal comes. Where there are many, one
/// that fails is told of, and the next one tries again; but the first has to have a chance.
pub async fn run(options: &ReplicateOptions, common: &Common) -> anyhow::Result<ExitCode> {
    let figures = match &options.metrics_file {
        Some(path) => Some(MetricsFile::at(path, &options.vm, &options.place()?)?),
        None => None,
    };
    if let Some(error) = figures.as_ref().and_then(MetricsFile::obstacle) {
        warn(&error);
    }
    let beginning = || {
        each_once(&options.disks)?;
        anyhow::Ok((options.workers()?, common.connection.resolve()?))
    };
    let (workers, connection) = beginning().inspect_err(|_| tell(figures.as_ref(), None, None))?;
    let mut state: Option<SharedState> = None;
    let mut is_unread = false;
    let mut interruption = Interruption::listen()?;
    let mut is_first = true;
    let mut is_untouched = true;
    loop {
        let cancellation = Cancellation::new();
        let turn = async {
            let clients = tokio::select! {
                () = cancellation.cancelled() => return Err(ReplicateError::Cancelled.into()),
                clients = connection.log_in(usize::MAX) => clients?,
            };
            let state = match &state {
                Some(state) => state.clone(),
                None => tokio::select! {
                    found = machine::begin(&clients, options) => state.insert(found?).clone(),
                    () = cancellation.cancelled() => return Err(ReplicateError::Cancelled.into()),
                },
            };
            let run = options
                .replication(clients, state, &workers, is_untouched)
                .progress(board::Board::new(common.quiet))
                .cancelled_by(&cancellation);
            anyhow::Ok(run.run().await?)
        };
        let (done, signal) = interruption.cancelling(turn, &cancellation).await;
        let held = state.as_ref().and_then(SharedState::held);
        // Another invocation is at work on it, and tells of that.
        if !done.as_ref().is_err_and(is_others) {
            tell(figures.as_ref(), done.as_ref().ok(), held);
        }
        let held = held.map_or_else(String::new, |held| held.to_string());
        match (done, options.every) {
            (Ok(outcome), every) => match report::outcome(&outcome, options, &common.output) {
                Err(error) if every.is_some() && is_unwritten(&error) => {
                    if !is_unread {
                        let text = causes::of(error.as_ref());
                        say(&format!(
                            "ovm-exporter: {text}; the replica is kept all the same"
                        ));
                    }
                    is_unread = true;
                }
                printed => printed?,
            },
            (Err(error), _) if signal.is_some() => {
                say(&format!(
                    "ovm-exporter: {}{held}",
                    causes::of(error.as_ref())
                ));
            }
            (Err(error), Some(every))
                if !((is_first || state.is_none()) && is_for_good(&error)) =>
            {
                let text = causes::of(error.as_ref());
                let every = duration::format(every);
                say(&format!(
                    "ovm-exporter: {text}; tried again in {every}{held}"
                ));
            }
            (Err(error), _) => return Err(error),
        }
        if let Some(signal) = signal {
            return Ok(signal.exit_code());
        }
        is_first = false;
        is_untouched &= state.as_ref().is_none_or(SharedState::is_untouched);
        let Some(every) = options.every else {
            return Ok(ExitCode::SUCCESS);
        };
        // Nothing is under way: to be stopped here is how it is meant to end.
        if interruption.comes_within(every).await {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

fn tell(figures: Option<&MetricsFile>, outcome: Option<&Outcome>, held: Option<Held>) {
    let told = figures.map(|figures| figures.tell(outcome, held, Timestamp::now()));
    if let Some(Err(error)) = told {
        warn(&error);
    }
}

fn warn(error: &io::Error) {
    say(&format!("ovm-exporter: warning: --metrics-file: {error}"));
}

/// Whether another run has the replica's state.
fn is_others(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref(),
        Some(ReplicateError::State(error)) if error.kind() == io::ErrorKind::ResourceBusy
    )
}

/// Whether somebody has to change something before another try can succeed. Of a run that has never
/// succeeded nobody would notice.
fn is_for_good(error: &anyhow::Error) -> bool {
    let transient = |cause: &(dyn std::error::Error + 'static)| {
        let run = cause.downcast_ref().map(ReplicateError::is_transient);
        run.or_else(|| cause.downcast_ref().map(ClientError::is_transient))
    };
    error.chain().find_map(transient) == Some(false)
}

/// The shortest time between two runs.
const SOONEST: Duration = Duration::from_secs(1);
