//! SIGHUP: the configuration, the certificates and the log's file are taken up anew. What is bad is
//! refused, each by itself, and what was in use stays.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::signal::unix::Signal;

use super::log::Log;
use super::serve::{manager_settings, tls_files};
use super::service_manager;
use crate::config::{self, Config, ConfigError, Loaded, Severity};
use crate::server::login_throttle::ThrottlePolicy;
use crate::server::tls::{Identity, ServerTls, TlsFiles};
use crate::server::{App, ManagerSettings};

/// What a running daemon can take up.
#[derive(Debug)]
pub(super) struct Reload {
    /// What is in force.
    loaded: Loaded,
    /// What was asked for last: the log's file may come into force later.
    asked: Config,
    log: Log,
    tls: Arc<ServerTls>,
    app: Arc<App>,
}

/// A configuration of which everything is known to be good but its certificates.
struct Fresh {
    loaded: Loaded,
    manager: ManagerSettings,
    tls: TlsFiles,
}

impl Reload {
    pub(super) fn new(loaded: &Loaded, log: Log, tls: Arc<ServerTls>, app: Arc<App>) -> Reload {
        Reload {
            loaded: loaded.clone(),
            asked: loaded.config.clone(),
            log,
            tls,
            app,
        }
    }

    /// Takes up what is on disk with each signal.
    pub(super) async fn at_each(self, mut hung_up: Signal) {
        let mut this = self;
        while hung_up.recv().await.is_some() {
            // Files may be slow.
            service_manager::reloading();
            let done = tokio::task::spawn_blocking(move || {
                this.take_up();
                this
            });
            let done = done.await;
            service_manager::reloaded();
            match done {
                Ok(reload) => this = reload,
                Err(error) => {
                    tracing::error!("SIGHUP: {error}; none is heard any more, restart the daemon");
                    return;
                }
            }
        }
    }

    fn take_up(&mut self) {
        // The log may have gone on to another file by itself.
        self.log.note_in_force(&mut self.loaded.config);
        let old = self.loaded.config.clone();
        let fresh = self.fresh().inspect_err(|reasons| {
            for reason in reasons {
                tracing::error!("SIGHUP: {reason}");
            }
            tracing::error!("SIGHUP: the configuration is refused; the old one stays in use");
        });
        let fresh = fresh.ok();
        let new = fresh.as_ref().map_or(&old, |fresh| &fresh.loaded.config);
        let mut held = config::in_force(&old, new);

        if fresh.is_some() {
            self.asked = held.clone();
        }
        // Whichever says more, until all is said.
        self.log.set_level(old.log_level.max(held.log_level));
        if let Err(error) = self.log.take_up(&self.asked) {
            tracing::error!(
                "SIGHUP: {error}; the old file stays in use, and the new one is tried again from time \
                 to time"
            );
        }
        self.log.note_in_force(&mut held);
        let files = fresh.as_ref().map_or_else(
            || self.tls.identity().files().clone(),
            |fresh| fresh.tls.clone(),
        );
        let certificates = self.take_up_certificates(files);
        if !certificates {
            held.api.tls = old.api.tls.clone();
        }
        let app = &self.app;
        if let Some(token) = &app.metrics_token {
            token.look_soon();
        }
        if let Some(fresh) = fresh {
            app.manager.set(fresh.manager);
            app.tokens.take_up(held.jwt.time_to_live);
            app.throttle.take_up(ThrottlePolicy::of(&held.api.login));
            app.snapshots.take_up(held.snapshots.clone());
            say_what_changes(&old, &held, &fresh.loaded);
            self.loaded = Loaded {
                config: held,
                ..fresh.loaded
            };
            if certificates {
                tracing::info!("SIGHUP: configuration, log file and certificates taken up");
            }
        }
        self.log.set_level(self.loaded.config.log_level);
    }

    /// The configuration on disk, or all that is wrong with it.
    fn fresh(&self) -> Result<Fresh, Vec<String>> {
        let loaded = config::load(&self.loaded.file).map_err(|error| match error {
            ConfigError::Invalid { problems } => problems.iter().map(ToString::to_string).collect(),
            error => vec![error.to_string()],
        })?;
        let told = |error: anyhow::Error| vec![format!("{error:#}")];
        Ok(Fresh {
            manager: manager_settings(&config::in_force(&self.loaded.config, &loaded.config))
                .map_err(told)?,
            tls: tls_files(&loaded).map_err(told)?,
            loaded,
        })
    }

    /// Whether the identity in these files is in use now. One that no client would accept does not
    /// take the place of one that is good.
    fn take_up_certificates(&self, files: TlsFiles) -> bool {
        let fresh = match Identity::read(files) {
            Ok(fresh) => fresh,
            Err(error) => {
                tracing::error!("SIGHUP: {error}; the old certificate stays in use");
                return false;
            }
        };
        if let Some((severity, reason)) = dates(&fresh) {
            let bad = |identity| dates(identity).is_some_and(|(it, _)| it == Severity::Error);
            if severity == Severity::Error && !bad(&self.tls.identity()) {
                tracing::error!("SIGHUP: {reason}; the old certificate stays in use");
                return false;
            }
            tracing::warn!("SIGHUP: {reason}");
        }
        self.tls.take_up(fresh);
        true
    }
}

/// Tells what has changed from what was in force, what of the file is not in force, and why that is.
fn say_what_changes(old: &Config, held: &Config, new: &Loaded) {
    for warning in &new.warnings {
        tracing::warn!("SIGHUP: {warning}");
    }
    let keys = |changes: &[config::Change]| {
        let keys: Vec<_> = changes.iter().map(|change| change.key).collect();
        keys.join(", ")
    };
    let now = config::changes(old, held);
    if !now.is_empty() {
        tracing::info!("SIGHUP: changed: {}", keys(&now));
    }
    for weakening in config::weakenings(old, held) {
        let config::Weakening { key, meaning } = weakening;
        tracing::warn!("SIGHUP: {key} protects less than before: {meaning}");
    }
    let (later, refused): (Vec<_>, Vec<_>) = config::changes(held, &new.config)
        .into_iter()
        .partition(|change| change.restart);
    if !refused.is_empty() {
        tracing::error!(
            "SIGHUP: not in force, for the reasons above: {}",
            keys(&refused)
        );
    }
    if !later.is_empty() {
        tracing::warn!(
            "SIGHUP: changed, but only a restart takes it up: {}",
            keys(&later)
        );
    }
}

/// What is wrong with the dates of a certificate, with its file.
fn dates(identity: &Identity) -> Option<(Severity, String)> {
    let file = identity.files().certificate.display();
    config::certificate_dates(identity.certificate(), SystemTime::now())
        .map(|(severity, reason)| (severity, format!("{file}: {reason}")))
}

/// The same, for the start.
pub(super) fn out_of_date(identity: &Identity) -> Option<String> {
    dates(identity).map(|(_, reason)| reason)
}
