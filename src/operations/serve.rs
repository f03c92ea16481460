//! The daemon: start-up, signals, shutdown.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context as _;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Semaphore;

use super::instance::Instance;
use super::log::Log;
use super::random_numbers;
use super::recovery::Recovery;
use super::reload::{self, Reload};
use super::service_manager;
use crate::config::{self, Config, Current, Loaded, secret};
use crate::guard::Guards;
use crate::ovm::agent::AgentDatabases;
use crate::ovm::domains::{ToolChoice, Toolstack};
use crate::ovm::inventory::NodeFiles;
use crate::server::activity::Activities;
use crate::server::body_limit::BodyLimits;
use crate::server::lifecycle::Lifecycle;
use crate::server::listener::Listener;
use crate::server::login_throttle::{LoginThrottle, ThrottlePolicy};
use crate::server::metrics::listener::MetricsListener;
use crate::server::metrics::{Metrics, MetricsToken};
use crate::server::tls::{ServerTls, TlsFiles};
use crate::server::tokens::TokenIssuer;
use crate::server::{self, App, ManagerSettings};
use crate::snapshots::Snapshots;
#[cfg(debug_assertions)]
use crate::snapshots::faults::Faults;
use crate::sys::allocator;

/// How long the start waits for the first recovery round.
const RECOVER_AT_START: Duration = Duration::from_secs(10);
/// How long the start waits for guests that an earlier run paused.
const RELEASE_AT_START: Duration = Duration::from_secs(10);
/// TLS encrypts half a megabyte at a time for each stream, in memory that it frees when that is
/// sent: measured, giving it back to the kernel meanwhile costs a third of all work.
const KEPT_FREE: i32 = 4 << 20;
/// Threads that serve connections, at least; see [`workers`].
const WORKERS: usize = 8;
/// Tasks that a thread without a pause runs before it looks which sockets have become ready: with
/// Tokio's 61, each of which may encrypt megabytes, others waited half a second for that.
const EVENT_INTERVAL: u32 = 1;
/// Names a [`faults`](crate::snapshots::faults) point; only tests set it.
#[cfg(debug_assertions)]
const FAULT: &str = "CORIOLIS_OVM_EXPORTER_FAULT";
/// Beside `db_file`.
pub(super) const PIN_FILE: &str = "manager-pin";

/// Runs the daemon until SIGTERM or SIGINT.
///
/// # Errors
/// What keeps it from starting: configuration, certificates, the index, the address.
pub fn run(file: &Path) -> anyhow::Result<()> {
    allocator::keep_free(KEPT_FREE);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers())
        .event_interval(EVENT_INTERVAL)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    // Before anything that takes time: it would end the daemon. One that comes during the start is
    // heeded after it. A program that is started meanwhile does not inherit this.
    let hung_up = {
        let _inside = runtime.enter();
        signal(SignalKind::hangup()).context("cannot wait for SIGHUP")?
    };
    let loaded = config::load(file)?;
    let config = &loaded.config;
    let log = Log::start(config)?;
    // Standard error may go nowhere (upstart): what ends the daemon is in its log too.
    run_logged(&loaded, log, runtime, hung_up).inspect_err(|error| {
        if config.log_file.is_some() {
            tracing::error!("{error:#}");
        }
    })
}

fn run_logged(loaded: &Loaded, log: Log, runtime: Runtime, hung_up: Signal) -> anyhow::Result<()> {
    let config = &loaded.config;
    // Before anything can go wrong: a guest may be standing still.
    let programs = toolstack(config).programs();
    Guards::new(&config.db_file).release_left(programs, RELEASE_AT_START);
    let _instance = Instance::claim(&config.db_file)?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    random_numbers::wait()?;
    let (secret, warnings) = secret::resolve(config)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let tls = Arc::new(ServerTls::load(tls_files(loaded)?)?);
    if let Some(warning) = reload::out_of_date(&tls.identity()) {
        tracing::warn!("{warning}");
    }
    let app = Arc::new(assemble(config, secret.as_bytes())?);
    let reload = Reload::new(loaded, log, tls.clone(), app.clone());
    let result = runtime.block_on(serve(config, app, tls, reload.at_each(hung_up)));
    // An operation that changes something runs to its end. Most end in milliseconds; one that
    // waits for a sick file system is named by its manifest and undone or finished next time.
    runtime.shutdown_timeout(config.api.limits.shutdown_grace);
    result
}

/// Threads that serve connections. A stream stays with its thread while that has work, so on two
/// threads one stream can have as much as seven others together. More threads than cores leave the
/// sharing to the kernel, which does it evenly.
fn workers() -> usize {
    std::thread::available_parallelism().map_or(WORKERS, |cores| cores.get().max(WORKERS))
}

async fn serve(
    config: &Config,
    app: Arc<App>,
    tls: Arc<ServerTls>,
    reloads: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let terminated = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let interrupted = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    let lifecycle = app.lifecycle.clone();
    let recovery = Recovery::of(&app.snapshots, &app.files);
    let first_round = tokio::spawn(recovery.clone().first_round());
    // A file system that hangs must not keep the others from being served.
    if tokio::time::timeout(RECOVER_AT_START, first_round)
        .await
        .is_err()
    {
        tracing::warn!("looking for leftovers takes long; it goes on beside the requests");
    }
    let listener = Listener::bind(config.api.listen_address(), config.api.limits)?;
    let address = listener.address();
    let _ = app.connections.set(listener.registry());
    let figures = figures(config.metrics.bind, app.clone()).await?;
    tracing::info!(%address, version = env!("CARGO_PKG_VERSION"), "serving");
    lifecycle.serves();
    service_manager::ready(address);
    let background = [
        tokio::spawn(recovery.go_round()),
        tokio::spawn(reloads),
        tokio::spawn(figures),
        tokio::spawn(service_manager::keep_watchdog_quiet(
            listener.pulse(),
            lifecycle.clone(),
        )),
    ];
    let shutdown = async {
        shutdown(terminated, interrupted).await;
        lifecycle.stops();
    };
    let stopped = listener.serve(tls, server::router(app), shutdown).await;
    for task in background {
        task.abort();
    }
    tracing::info!(cut_off = stopped.cut_off, "stopped");
    Ok(())
}

/// Figures at an address of their own, if there is one.
async fn figures(
    bind: Option<SocketAddr>,
    app: Arc<App>,
) -> anyhow::Result<impl Future<Output = ()> + use<>> {
    let listener = match bind {
        None => None,
        Some(address) => {
            let listener = MetricsListener::bind(address)
                .await
                .with_context(|| format!("cannot listen on [metrics] bind {address}"))?;
            tracing::info!(address = %listener.address(), "figures at /metrics");
            Some(listener)
        }
    };
    Ok(async move {
        if let Some(listener) = listener {
            listener.serve(server::metrics_router(app)).await;
        }
    })
}

async fn shutdown(mut terminated: Signal, mut interrupted: Signal) {
    tokio::select! {
        _ = terminated.recv() => tracing::info!("SIGTERM: finishing requests"),
        _ = interrupted.recv() => tracing::info!("SIGINT: finishing requests"),
    }
    service_manager::stopping();
}

/// What the server shows, and whom it believes.
pub(super) fn tls_files(loaded: &Loaded) -> anyhow::Result<TlsFiles> {
    let identity = loaded.identity()?;
    let tls = &loaded.config.api.tls;
    Ok(TlsFiles {
        certificate: identity.certificate.to_owned(),
        key: identity.key.to_owned(),
        client_authority: tls
            .ca_certificate
            .clone()
            .filter(|_| tls.require_client_certificate),
    })
}

/// Puts the parts together. No port is bound yet.
fn assemble(config: &Config, secret: &[u8]) -> anyhow::Result<App> {
    let files = NodeFiles::new(AgentDatabases::new(&config.agent_db_dir));
    let node_name = host_name();
    let snapshots = Snapshots::open(
        &config.db_file,
        Arc::new(files.clone()),
        config.snapshots.clone(),
        node_name.clone(),
    )?;
    #[cfg(debug_assertions)]
    let snapshots = match std::env::var(FAULT) {
        Ok(point) => snapshots.with_faults(Faults::armed(&point).map_err(anyhow::Error::msg)?),
        Err(_) => snapshots,
    };
    Ok(App {
        files,
        toolstack: toolstack(config),
        snapshots: Arc::new(snapshots.with_toolstack(toolstack(config))),
        manager: Current::new(manager_settings(config)?),
        tokens: TokenIssuer::new(secret, config.jwt.time_to_live),
        throttle: LoginThrottle::new(ThrottlePolicy::of(&config.api.login)),
        body: BodyLimits {
            max_bytes: usize::try_from(config.api.limits.max_body).unwrap_or(usize::MAX),
            ..BodyLimits::default()
        },
        lifecycle: Lifecycle::begin(),
        activities: Activities::new(),
        metrics: Metrics::new(),
        metrics_token: config.metrics.token_file.clone().map(MetricsToken::in_file),
        look: Arc::new(Semaphore::new(1)),
        connections: OnceLock::new(),
        openapi: OnceLock::new(),
        node_name,
    })
}

/// How to find and trust the manager.
pub(super) fn manager_settings(config: &Config) -> anyhow::Result<ManagerSettings> {
    let pin_file = config.db_file.with_file_name(PIN_FILE);
    Ok(ManagerSettings {
        endpoint: config
            .ovm_endpoint
            .as_deref()
            .map(str::parse)
            .transpose()
            .context("ovm_endpoint")?,
        trust: ManagerSettings::trust(config.ovm_ca_certificate.clone(), pin_file),
        legacy_tls: config.ovm_legacy_tls,
    })
}

fn toolstack(config: &Config) -> Toolstack {
    Toolstack::new(match &config.toolstack {
        config::Toolstack::Auto => ToolChoice::Auto,
        config::Toolstack::Program(path) => ToolChoice::Program(path.clone()),
    })
}

fn host_name() -> String {
    nix::unistd::gethostname().map_or_else(
        |_| "unknown".to_owned(),
        |name| name.to_string_lossy().into_owned(),
    )
}
