//! A login asks the Oracle VM Manager: real TLS endpoints on loopback.

mod answers;
mod old_tls;
mod trust;

use std::path::Path;
use std::time::Duration;

use coriolis_ovm_exporter::ovm::manager::{Manager, ManagerError, Trust, Verdict};

use crate::support::manager::{BASIC, PASSWORD, USER};

/// A manager to ask, that pins in `dir`.
fn pinning(endpoint: &str, dir: &Path) -> Manager {
    let trust = Trust::Pinned {
        pin_file: dir.join("manager.pins"),
    };
    Manager {
        timeout: Duration::from_secs(5),
        ..Manager::new(endpoint.parse().unwrap(), trust)
    }
}

/// A manager to ask, judged by a CA file with this content.
fn with_ca(endpoint: &str, dir: &Path, pem: &str) -> Manager {
    let ca_file = dir.join("ca.pem");
    std::fs::write(&ca_file, pem).unwrap();
    let trust = Trust::Ca(ca_file);
    Manager {
        timeout: Duration::from_secs(5),
        ..Manager::new(endpoint.parse().unwrap(), trust)
    }
}

/// The same manager with `ovm_legacy_tls` on or off.
fn legacy(manager: Manager, legacy_tls: bool) -> Manager {
    Manager {
        legacy_tls,
        ..manager
    }
}

/// The verdict on the right credentials.
async fn login(manager: &Manager) -> Result<Verdict, ManagerError> {
    manager.check_credentials(USER, PASSWORD).await
}

/// The error of a login with the right credentials, and its message. It holds no secret.
async fn failure(manager: &Manager) -> (ManagerError, String) {
    let error = login(manager).await.unwrap_err();
    let (shown, debug) = (error.to_string(), format!("{error:?} {manager:?}"));
    for secret in [PASSWORD, BASIC] {
        assert!(
            !shown.contains(secret) && !debug.contains(secret),
            "{shown} {debug}"
        );
    }
    (error, shown)
}

/// Asserts that a message holds all of these.
fn names(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
}
