//! A checksum of what lies on the device, made by the worker.

use std::io;
use std::ops::Range;
use std::time::{Duration, Instant};

use super::Device;
use super::answer::{CallError, readable};
use super::patience::{Attempts, failed};
use super::worker::{ChecksumJob, DeviceCalls};

const ALGORITHM: &str = "sha256";
/// The first look at a job; each later one twice as late.
const FIRST_LOOK: Duration = Duration::from_millis(50);
const LAST_LOOK: Duration = Duration::from_secs(5);
/// How long a job may take: so long, and longer where a slow disk needs it.
const LEAST: Duration = Duration::from_secs(3600);
/// Bytes a second of a disk that is slow.
const SLOW: u64 = 20 << 20;

impl Device {
    /// Acquires the device where it is not ours, and lets go of it then.
    pub(super) fn sha256(&self, range: Range<u64>) -> io::Result<String> {
        if range.is_empty() {
            // An end of 0 would mean the end of the device.
            return Ok(of_nothing());
        }
        let was_held = *self.is_held.lock().unwrap_or_else(|held| held.into_inner());
        self.hold()?;
        let (calls, attempts) = (self.calls.clone(), self.attempts());
        let (from, to) = (range.start, range.end);
        let done = self
            .worker
            .threads()
            .wait(async move { job(&calls, &attempts, range).await })?;
        let deed = format!("have a checksum made of the bytes from {from} to {to}");
        let digest = done.map_err(|error| failed(&self.name, &deed, &error))?;
        if !was_held {
            self.release()?;
        }
        Ok(digest)
    }
}

async fn job(
    calls: &DeviceCalls,
    attempts: &Attempts,
    range: Range<u64>,
) -> Result<String, CallError> {
    let size = range.end - range.start;
    let begin = || calls.begin_checksum(range.clone(), ALGORITHM);
    let begun = attempts.until(begin, CallError::is_transient).await;
    let id = begun.map_err(CallError::of_checksum)?;
    let done = watch(calls, attempts, &id, size).await;
    // One that stays costs the worker little, and tells nothing.
    if let Err(error) = calls.drop_checksum(&id).await {
        tracing::debug!(%error, job = id, "a checksum job was not dropped");
    }
    done
}

async fn watch(
    calls: &DeviceCalls,
    attempts: &Attempts,
    id: &str,
    size: u64,
) -> Result<String, CallError> {
    let limit = LEAST.max(Duration::from_secs(size / SLOW));
    let begun = Instant::now();
    let mut pause = FIRST_LOOK;
    loop {
        let look = || calls.checksum(id);
        let job = attempts.until(look, CallError::is_transient).await?;
        if let Some(digest) = of_job(job)? {
            return Ok(digest);
        }
        if begun.elapsed() > limit {
            return Err(CallError::Silent(limit));
        }
        attempts.pause(pause).await?;
        pause = (pause * 2).min(LAST_LOOK);
    }
}

/// None where it still runs.
fn of_job(job: ChecksumJob) -> Result<Option<String>, CallError> {
    match job.execution_status.as_str() {
        "finished" => {}
        "failed" => {
            let reason = job.error_message.unwrap_or_default();
            return Err(CallError::Malformed(format!(
                "the job has failed: {}",
                readable(reason.as_bytes())
            )));
        }
        _ => return Ok(None),
    }
    let algorithm = job.checksum_algorithm.unwrap_or_default();
    let digest = job.checksum_value.unwrap_or_default().to_ascii_lowercase();
    let is_digest = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !algorithm.eq_ignore_ascii_case(ALGORITHM) || !is_digest {
        return Err(CallError::Malformed(format!(
            "{ALGORITHM} was asked for, and the answer is {algorithm:?} {digest:?}"
        )));
    }
    Ok(Some(digest))
}

fn of_nothing() -> String {
    use crate::protocol::digest::{Algorithm, BlockDigests};
    BlockDigests::new(Algorithm::Sha256, None).finish().whole
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(json: &str) -> Result<Option<String>, CallError> {
        of_job(serde_json::from_str(json).unwrap())
    }

    #[test]
    fn a_job_is_believed_only_where_it_is_of_what_was_asked_for() {
        let digest = of_nothing();
        let upper = digest.to_ascii_uppercase();
        let finished = format!(
            r#"{{"execution_status":"finished","checksum_value":"{upper}","checksum_algorithm":"SHA256","x":1}}"#
        );
        assert_eq!(told(&finished).unwrap(), Some(digest.clone()));
        assert_eq!(told(r#"{"execution_status":"running"}"#).unwrap(), None);
        for (json, said) in [
            (
                r#"{"execution_status":"failed","error_message":"I/O error"}"#.to_owned(),
                "I/O error",
            ),
            (
                r#"{"execution_status":"failed","error_message":"no\n\u001b[2J disk"}"#.to_owned(),
                "failed: no [2J disk",
            ),
            (finished.replace("SHA256", "xxhash"), "xxhash"),
            (finished.replace(&upper, "abc"), "abc"),
            (r#"{"execution_status":"finished"}"#.to_owned(), "sha256"),
        ] {
            let error = told(&json).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn nothing_has_a_digest_too() {
        assert!(of_nothing().starts_with("e3b0c442"));
    }
}
