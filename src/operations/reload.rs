//! SIGHUP: the configuration, the certificates and the log's file are taken up anew. What is bad is
//! refused, each by itself, and what was in use stays.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::signal::unix::Signal;

use super::log::Log;
use super::serve::{manager_settings, throttle_policy, tls_files};
use super::service_manager;
use crate::config::{self, Config, ConfigError, Loaded, Severity};
use crate::server::tls::{Identity, ServerTls, TlsFiles};
use crate::server::{App, ManagerSettings};

/// What a running daemon can take up.
#[derive(Debug)]
pub(super) struct Reload {
    /// What is in force.
    loaded: Loaded,
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

        if let Err(error) = self.log.take_up(&held) {
            tracing::error!("SIGHUP: {error}; the old file stays in use");
            held.log_file.clone_from(&old.log_file);
        }
        let files = fresh.as_ref().map_or_else(
            || self.tls.identity().files().clone(),
            |fresh| fresh.tls.clone(),
        );
        let certificates = self.take_up_certificates(files);
        if !certificates {
            held.api.tls = old.api.tls.clone();
        }
        if let Some(fresh) = fresh {
            self.say_what_changes(&old, &fresh.loaded);
            let app = &self.app;
            app.manager.set(fresh.manager);
            app.tokens.take_up(held.jwt.time_to_live);
            app.throttle.take_up(throttle_policy(&held));
            app.snapshots.take_up(held.snapshots.clone());
            self.loaded = Loaded {
                config: held,
                ..fresh.loaded
            };
            if certificates {
                tracing::info!("SIGHUP: configuration, log file and certificates taken up");
            }
        }
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

    fn say_what_changes(&self, old: &Config, new: &Loaded) {
        for warning in &new.warnings {
            tracing::warn!("SIGHUP: {warning}");
        }
        let (later, now): (Vec<_>, Vec<_>) = config::changes(old, &new.config)
            .into_iter()
            .partition(|change| change.restart);
        let keys = |changes: &[config::Change]| {
            let keys: Vec<_> = changes.iter().map(|change| change.key).collect();
            keys.join(", ")
        };
        if !now.is_empty() {
            tracing::info!("SIGHUP: changed: {}", keys(&now));
        }
        if !later.is_empty() {
            tracing::warn!(
                "SIGHUP: changed, but only a restart takes it up: {}",
                keys(&later)
            );
        }
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
