//! What is looked up when it is asked for.

use std::collections::BTreeMap;

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::{Counter, PREFIX};
use crate::protocol::OperationKind;
use crate::server::state::App;
use crate::snapshots::{SnapshotError, Standing};

type Labelled = Family<Vec<(&'static str, String)>, Gauge>;

/// What memory alone tells: never waits.
pub(super) fn of_memory(app: &App) -> Registry {
    let mut registry = Registry::with_prefix(PREFIX);
    let operations = Labelled::default();
    let running = app.activities.counts();
    for kind in [
        OperationKind::Snapshot,
        OperationKind::Delete,
        OperationKind::Disk,
        OperationKind::Delta,
    ] {
        let count = running.get(&kind).copied().unwrap_or_default();
        set(&operations, "kind", kind.as_str(), count);
    }
    registry.register("operations_running", "Operations that run now", operations);
    let pool = app.snapshots.buffers().figures();
    number(
        &mut registry,
        "streams",
        "Streams of disks and deltas that are open, and comparisons that read bytes now",
        None,
        pool.streams as u64,
    );
    number(
        &mut registry,
        "buffers",
        "Memory that these hold",
        Some(Unit::Bytes),
        pool.bytes as u64,
    );
    let ready = u64::from(app.lifecycle.is_ready());
    number(
        &mut registry,
        "ready",
        "What /health/ready says",
        None,
        ready,
    );
    let hangs = Labelled::default();
    for (id, waited_for) in app.snapshots.tending().repositories() {
        set(&hangs, "repository", &id, u64::from(waited_for));
    }
    registry.register(
        "repository_hangs",
        "1 where recovery waits for its storage",
        hangs,
    );
    if let Some(connections) = app.connections.get() {
        let counts = connections.counts();
        let open = counts.open as u64;
        number(&mut registry, "connections", "Open now", None, open);
        for (name, help, count) in [
            ("connections_accepted", "Taken", counts.accepted),
            ("connections_evicted", "Closed to make room", counts.evicted),
            ("connections_refused", "Closed at once", counts.refused),
        ] {
            let counter: Counter = Counter::default();
            counter.inc_by(count);
            registry.register(name, help, counter);
        }
    }
    registry
}

/// What the index and the file systems tell. Blocks.
///
/// # Errors
/// The index's.
pub(super) fn of_repositories(app: &App) -> Result<Registry, SnapshotError> {
    let mut registry = Registry::with_prefix(PREFIX);
    let (repositories, _) = app.files.look_at_repositories();
    let mut states: BTreeMap<&'static str, u64> = ["ready", "creating", "deleting"]
        .into_iter()
        .chain(["waiting", "broken"])
        .map(|state| (state, 0))
        .collect();
    for snapshot in app.snapshots.indexed(&repositories, None)? {
        let state = match snapshot.standing {
            Standing::Ready => "ready",
            Standing::Creating => "creating",
            Standing::Deleting => "deleting",
            Standing::Waiting(_) => "waiting",
            Standing::Broken(_) => "broken",
        };
        *states.entry(state).or_default() += 1;
    }
    let snapshots = Labelled::default();
    for (state, count) in states {
        set(&snapshots, "state", state, count);
    }
    registry.register(
        "snapshots",
        "Snapshots in the index, as it was last brought up to date",
        snapshots,
    );
    let (mounted, free, size) = (
        Labelled::default(),
        Labelled::default(),
        Labelled::default(),
    );
    for repository in &repositories {
        let status = repository.status();
        let id = repository.id.as_str();
        set(&mounted, "repository", id, u64::from(status.is_some()));
        if let Some(status) = status {
            set(&free, "repository", id, status.available);
            set(&size, "repository", id, status.total);
        }
    }
    registry.register("repository_mounted", "1 where it is", mounted);
    let bytes = || Unit::Bytes;
    registry.register_with_unit("repository_free", "Free space", bytes(), free);
    registry.register_with_unit("repository_size", "Size", bytes(), size);
    Ok(registry)
}

fn number(registry: &mut Registry, name: &str, help: &str, unit: Option<Unit>, value: u64) {
    let gauge: Gauge = Gauge::default();
    gauge.set(fitting(value));
    match unit {
        Some(unit) => registry.register_with_unit(name, help, unit, gauge),
        None => registry.register(name, help, gauge),
    }
}

fn set(family: &Labelled, label: &'static str, value: &str, number: u64) {
    let labels = vec![(label, value.to_owned())];
    family.get_or_create(&labels).set(fitting(number));
}

fn fitting(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
