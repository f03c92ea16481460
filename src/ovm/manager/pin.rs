//! The file of pinned certificates: one line per manager, written at its first use.
//!
//! ```text
//! # Certificates of Oracle VM Managers, pinned at the first login (version 1).
//! # Each line: endpoint, SHA-256 of the certificate. Delete a line to accept a new certificate.
//! https://manager.example:7002 e3b0c442…
//! ```
//!
//! The file is replaced as a whole: written beside, synced, renamed. A lock file beside it keeps
//! two writers apart, be they tasks or processes. What cannot be read or understood is an error
//! and never "no pin", or breaking the file would be a way around it.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::endpoint::Endpoint;
use super::error::{ManagerError, PinChange};
use super::fingerprint::Fingerprint;

const FIRST_LINE: &str =
    "# Certificates of Oracle VM Managers, pinned at the first login (version 1).";
const SECOND_LINE: &str =
    "# Each line: endpoint, SHA-256 of the certificate. Delete a line to accept a new certificate.";

/// Far more than a file of pins ever has.
const LARGEST: u64 = 64 * 1024;

/// The pin of an endpoint, if it has one yet.
pub(super) fn load(file: &Path, endpoint: &Endpoint) -> Result<Option<Fingerprint>, ManagerError> {
    let pins = read(file).map_err(|reason| unusable(file, reason))?;
    Ok(find(&pins, endpoint))
}

/// Pins a certificate unless the endpoint has a pin by now; then that one must be the same.
pub(super) async fn keep(
    file: &Path,
    endpoint: &Endpoint,
    presented: Fingerprint,
) -> Result<(), ManagerError> {
    let (held, manager) = (file.to_owned(), endpoint.clone());
    let span = tracing::Span::current();
    let kept = tokio::task::spawn_blocking(move || {
        span.in_scope(|| keep_blocking(&held, &manager, presented))
    });
    let new = match kept.await {
        Ok(kept) => kept?,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    };
    if new {
        tracing::warn!(%endpoint, fingerprint = %presented, pin_file = %file.display(),
            "first use of this manager: its certificate is pinned; compare the fingerprint");
    }
    Ok(())
}

/// Whether the pin is new.
fn keep_blocking(
    file: &Path,
    endpoint: &Endpoint,
    presented: Fingerprint,
) -> Result<bool, ManagerError> {
    let failed = |reason: String| unusable(file, reason);
    // Held until this function returns: another first login waits, and then finds the pin.
    let _lock = lock(file).map_err(|error| failed(format!("its lock cannot be taken: {error}")))?;
    let mut pins = read(file).map_err(failed)?;
    match find(&pins, endpoint) {
        Some(pinned) if pinned == presented => Ok(false),
        Some(pinned) => Err(ManagerError::PinChanged {
            endpoint: endpoint.clone(),
            change: Box::new(PinChange { pinned, presented }),
            pin_file: file.to_owned(),
        }),
        None => {
            pins.push((endpoint.to_string(), presented));
            replace(file, &pins)
                .map_err(|error| failed(format!("it cannot be written: {error}")))?;
            Ok(true)
        }
    }
}

fn unusable(file: &Path, reason: String) -> ManagerError {
    ManagerError::PinFile {
        pin_file: file.to_owned(),
        reason,
    }
}

fn find(pins: &[(String, Fingerprint)], endpoint: &Endpoint) -> Option<Fingerprint> {
    let wanted = endpoint.to_string();
    pins.iter()
        .find(|(pinned, _)| *pinned == wanted)
        .map(|(_, fingerprint)| *fingerprint)
}

/// All pins; none when there is no file.
fn read(file: &Path) -> Result<Vec<(String, Fingerprint)>, String> {
    let opened = match File::open(file) {
        Ok(opened) => opened,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("it cannot be opened: {error}")),
    };
    let mut text = String::new();
    let read = opened.take(LARGEST + 1).read_to_string(&mut text);
    match read {
        Err(error) => Err(format!("it cannot be read: {error}")),
        Ok(length) if u64::try_from(length).unwrap_or(u64::MAX) > LARGEST => {
            Err(format!("it is corrupt: larger than {LARGEST} bytes"))
        }
        Ok(_) => parse(&text),
    }
}

fn parse(text: &str) -> Result<Vec<(String, Fingerprint)>, String> {
    if text.lines().next() != Some(FIRST_LINE) {
        return Err("it is corrupt: its first line is not that of a file of pins".to_owned());
    }
    let mut pins: Vec<(String, Fingerprint)> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let corrupt = |what: &str| format!("it is corrupt: line {number}: {what}");
        let (endpoint, fingerprint) = line
            .trim()
            .split_once(char::is_whitespace)
            .ok_or_else(|| corrupt("it has no fingerprint"))?;
        // Canonical spelling, so that an endpoint typed by hand is still the same endpoint.
        let endpoint = endpoint
            .parse::<Endpoint>()
            .map_err(|error| corrupt(&error.to_string()))?
            .to_string();
        let fingerprint = fingerprint
            .trim()
            .parse()
            .map_err(|error: super::fingerprint::NotAFingerprint| corrupt(&error.to_string()))?;
        if pins.iter().any(|(pinned, _)| *pinned == endpoint) {
            return Err(corrupt("the endpoint has two pins"));
        }
        pins.push((endpoint, fingerprint));
    }
    Ok(pins)
}

fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Taken on a file of its own, which stays: the pin file itself is replaced by a rename.
fn lock(file: &Path) -> io::Result<File> {
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(beside(file, ".lock"))?;
    lock.lock()?;
    Ok(lock)
}

fn replace(file: &Path, pins: &[(String, Fingerprint)]) -> io::Result<()> {
    // One fixed name: a crash leaves at most one such file, and the next writer overwrites it.
    let new = beside(file, ".new");
    let mut written = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&new)?;
    // The mode above counts only for a file that was not there.
    written.set_permissions(Permissions::from_mode(0o600))?;
    writeln!(written, "{FIRST_LINE}\n{SECOND_LINE}")?;
    for (endpoint, fingerprint) in pins {
        writeln!(written, "{endpoint} {fingerprint}")?;
    }
    written.sync_all()?;
    std::fs::rename(&new, file)?;
    let directory = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(directory)?.sync_all()
}

#[cfg(test)]
#[path = "pin_tests.rs"]
mod tests;
