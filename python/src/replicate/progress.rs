//! Events on their way to Python.

use std::collections::BTreeMap;
use std::sync::mpsc::Sender;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use coriolis_ovm_exporter::client::replicate::{Event, Progress};
use serde_json::{Value, json};

use super::calls::Message;

/// How often Python hears how far a disk has come.
const OFTEN: Duration = Duration::from_millis(200);

/// Sends events as JSON; those that come all the time, not all of the time.
pub(super) struct Reports {
    sender: Sender<Message>,
    /// When a disk was last heard of.
    heard: Mutex<BTreeMap<String, Instant>>,
}

impl Reports {
    pub(super) fn new(sender: Sender<Message>) -> Reports {
        Reports {
            sender,
            heard: Mutex::default(),
        }
    }

    fn is_too_often(&self, disk: &str) -> bool {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        match heard.get(disk) {
            Some(last) if now.duration_since(*last) < OFTEN => true,
            _ => {
                heard.insert(disk.to_owned(), now);
                false
            }
        }
    }
}

impl Progress for Reports {
    fn on(&self, event: &Event<'_>) {
        if let Event::DiskAdvanced { disk, .. } = event
            && self.is_too_often(disk)
        {
            return;
        }
        if let Some(event) = told(event) {
            let _ = self.sender.send(Message::Event(event.to_string()));
        }
    }
}

/// None for what a later release may add.
fn told(event: &Event<'_>) -> Option<Value> {
    Some(match event {
        Event::SnapshotTaken {
            snapshot,
            is_leftover,
        } => json!({ "event": "snapshot_taken", "snapshot": snapshot, "is_leftover": is_leftover }),
        Event::DiskStarted {
            disk,
            size,
            how,
            why,
        } => {
            json!({ "event": "disk_started", "disk": disk, "size": size, "how": how, "why": why })
        }
        Event::DiskAdvanced {
            disk,
            done,
            of,
            written,
        } => json!({
            "event": "disk_advanced", "disk": disk, "done": done, "of": of, "written": written
        }),
        Event::DiskDigested { disk, is_check } => {
            json!({ "event": "disk_digested", "disk": disk, "is_check": is_check })
        }
        Event::DiskFinished { disk, written } => {
            json!({ "event": "disk_finished", "disk": disk, "written": written })
        }
        Event::Retrying {
            endpoint,
            error,
            after,
        } => json!({
            "event": "retrying", "endpoint": endpoint, "error": error,
            "after": after.as_secs_f64()
        }),
        Event::EndpointDropped { endpoint, reason } => {
            json!({ "event": "endpoint_dropped", "endpoint": endpoint, "reason": reason })
        }
        Event::Advanced { snapshot } => json!({ "event": "advanced", "snapshot": snapshot }),
        Event::SnapshotDropped { snapshot } => {
            json!({ "event": "snapshot_dropped", "snapshot": snapshot })
        }
        _ => return None,
    })
}
