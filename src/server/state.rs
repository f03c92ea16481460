//! What every handler works with.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Semaphore;

use super::activity::Activities;
use super::body_limit::BodyLimits;
use super::connections::ConnectionRegistry;
use super::error::ApiError;
use super::lifecycle::Lifecycle;
use super::login::ManagerSettings;
use super::login_throttle::LoginThrottle;
use super::metrics::{Metrics, MetricsToken};
use super::tokens::TokenIssuer;
use crate::config::Current;
use crate::ovm::domains::Toolstack;
use crate::ovm::inventory::NodeFiles;
use crate::snapshots::{SnapshotError, Snapshots, Turn};

/// The parts that make up the daemon, put together by its start.
#[derive(Debug)]
pub struct App {
    /// The node's files.
    pub files: NodeFiles,
    /// Who knows which domains run here.
    pub toolstack: Toolstack,
    /// The snapshots.
    pub snapshots: Arc<Snapshots>,
    /// How to ask the manager.
    pub manager: Current<ManagerSettings>,
    /// Makes and checks tokens.
    pub tokens: TokenIssuer,
    /// Slows down guessing.
    pub throttle: Arc<LoginThrottle>,
    /// Limits of request bodies.
    pub body: BodyLimits,
    /// Where the daemon is in its life.
    pub lifecycle: Arc<Lifecycle>,
    /// What it does.
    pub activities: Arc<Activities>,
    /// Its counters.
    pub metrics: Arc<Metrics>,
    /// A token that is good for them alone.
    pub metrics_token: Option<Arc<MetricsToken>>,
    /// Lets one at a time look at repositories for them.
    pub look: Arc<Semaphore>,
    /// The connections that it serves, once it listens.
    pub connections: OnceLock<Arc<ConnectionRegistry>>,
    /// The interface's description, once somebody has asked for it.
    pub openapi: OnceLock<Bytes>,
    /// Host name.
    pub node_name: String,
}

/// The state that axum hands to handlers.
pub(super) type Shared = Arc<App>;

/// Runs `work` where blocking is allowed. It runs to its end even when the client hangs up and
/// this future is dropped.
///
/// # Errors
/// What `work` gives; [`ApiError::Internal`] when it panics.
pub(super) async fn blocking<T, E>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, ApiError>
where
    T: Send + 'static,
    E: Into<ApiError> + Send + 'static,
{
    let span = tracing::Span::current();
    tokio::task::spawn_blocking(move || span.in_scope(work))
        .await
        .map_err(|error| ApiError::Internal(format!("an operation ended badly: {error}")))?
        .map_err(Into::into)
}

/// How much longer than its own patience an operation is waited for: normally it says itself what
/// it waited for.
const LENIENCE: Duration = Duration::from_secs(10);
/// The same for one that hangs in a call for a lock: there is nothing more to hope for.
const LENIENCE_AT_LOCK: Duration = Duration::from_secs(1);

/// How often to look whether an operation takes too long.
const GLANCE: Duration = Duration::from_millis(250);

/// The same for work that may wait, for a lock or a file system, and is not waited for without end.
/// Work that says [`Turn::take`] is waited for from then on, unless a [step](Turn::step) of it hangs;
/// before, it is given up and finds out when its turn comes.
///
/// # Errors
/// What `work` gives; [`SnapshotError::GivenUp`], [`SnapshotError::Stalled`],
/// [`SnapshotError::Unanswered`].
pub(super) async fn in_turn<T, E>(
    turn: impl Into<Arc<Turn>>,
    work: impl FnOnce(&Turn) -> Result<T, E> + Send + 'static,
) -> Result<T, ApiError>
where
    T: Send + 'static,
    E: Into<ApiError> + Send + 'static,
{
    let turn: Arc<Turn> = turn.into();
    let own = turn.clone();
    let begun = Instant::now();
    let mut done = Box::pin(blocking(move || work(&own)));
    let given_up = |lenience: Duration| SnapshotError::GivenUp {
        seconds: (turn.patience() + lenience).as_secs(),
    };
    loop {
        if let Ok(done) = tokio::time::timeout(GLANCE, &mut done).await {
            return done;
        }
        if let Some(stalled) = turn.overdue() {
            return Err(stalled.into());
        }
        let waited = begun.elapsed().saturating_sub(turn.patience());
        if waited >= LENIENCE && turn.give_up() {
            return Err(given_up(LENIENCE).into());
        }
        if waited >= LENIENCE_AT_LOCK && turn.give_up_at_lock() {
            return Err(given_up(LENIENCE_AT_LOCK).into());
        }
    }
}

/// Held by a request for as long as its client waits; work that nobody waits for need not go on.
#[derive(Debug)]
pub(super) struct Waiting(Arc<AtomicBool>);

impl Waiting {
    /// For the request, and for its work a way to ask.
    pub(super) fn begin() -> (Waiting, impl Fn() -> bool + Send + 'static) {
        let waits = Arc::new(AtomicBool::new(true));
        let asked = waits.clone();
        (Waiting(waits), move || asked.load(Ordering::Relaxed))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl App {
    /// Runs `work` for the machine that a request names. The name is taken as an id first, which
    /// costs nothing; only when that finds nothing is the node's inventory read for a machine
    /// that has it as vm.cfg's `name` or `uuid`. Blocks.
    pub(super) fn for_vm<T>(
        &self,
        name: &str,
        work: impl Fn(&str) -> Result<T, SnapshotError>,
    ) -> Result<T, SnapshotError> {
        let error = match work(name) {
            Err(error @ (SnapshotError::Unknown { .. } | SnapshotError::OtherVm { .. })) => error,
            other => return other,
        };
        let (repositories, _) = self.files.look_at_repositories();
        match self.files.inventory(&repositories).find(name) {
            Some(vm) if vm.id != name => work(&vm.id),
            _ => Err(error),
        }
    }
}
