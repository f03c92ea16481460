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

use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;

use super::arguments::Common;
use super::output::{is_unwritten, moment};
use super::say;
use super::words::each_once;
use crate::causes;
use crate::client::ClientError;
use crate::client::replicate::{Cancellation, ReplicateError};
use crate::protocol::duration;
use metrics_file::MetricsFile;
use shared_state::SharedState;
use turns::Interruption;

/// One run, or with `--every` one after the other until a signal comes. Where there are many, one
/// that fails is told of, and the next one tries again; but the first has to have a chance.
pub async fn run(options: &ReplicateOptions, common: &Common) -> anyhow::Result<ExitCode> {
    each_once(&options.disks)?;
    let workers = options.workers()?;
    let figures = options.metrics_file.as_ref();
    let figures = figures.map(|path| MetricsFile::at(path, &options.vm));
    let figures = figures.transpose()?;
    let connection = common.connection.resolve()?;
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
        if let Some(figures) = &figures {
            let held = state.as_ref().and_then(SharedState::base_taken_at);
            if let Err(error) = figures.tell(done.as_ref().ok(), held, Timestamp::now()) {
                say(&format!("ovm-exporter: warning: --metrics-file: {error}"));
            }
        }
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
                say(&format!("ovm-exporter: {}", causes::of(error.as_ref())));
            }
            (Err(error), Some(every))
                if !((is_first || state.is_none()) && is_for_good(&error)) =>
            {
                let text = causes::of(error.as_ref());
                let every = duration::format(every);
                let held = state.as_ref().and_then(SharedState::base_taken_at);
                let held = held.map(|time| format!("; the replica is of {}", moment(time)));
                let held = held.unwrap_or_default();
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
