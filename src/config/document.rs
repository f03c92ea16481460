//! From the bytes of a file to a configuration, with everything that is wrong on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::keys;
use super::problem::{ConfigError, Place, Problem, Severity};
use super::settings::Config;
use super::suggestion::suggest;
use crate::protocol::Consistency;
use crate::sys::regular_file;

/// A configuration is a few kilobytes. This keeps a mistake such as `-config /dev/sda` harmless.
const LARGEST_FILE: u64 = 1 << 20;

/// So many problems are named one by one; nobody reads more.
const MOST_PROBLEMS: usize = 100;

/// A configuration that the daemon can work with.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// The file they come from.
    pub file: PathBuf,
    /// Keys that are unknown, or have no effect beside the others, in the order of the file.
    pub warnings: Vec<Problem>,
}

/// The files without which there is no HTTPS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity<'a> {
    /// PEM: the server certificate, then its intermediates.
    pub certificate: &'a Path,
    /// PEM: its private key.
    pub key: &'a Path,
}

impl Loaded {
    /// The certificate and key to serve with.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] names the keys that are missing. Only serving needs them, so a
    /// file without them still loads.
    pub fn identity(&self) -> Result<Identity<'_>, ConfigError> {
        let tls = &self.config.api.tls;
        match (&tls.certificate, &tls.key) {
            (Some(certificate), Some(key)) => Ok(Identity { certificate, key }),
            _ => Err(ConfigError::Invalid {
                problems: missing_identity(&self.config, &self.file),
            }),
        }
    }
}

/// What is missing to serve HTTPS.
pub(super) fn missing_identity(config: &Config, file: &Path) -> Vec<Problem> {
    let tls = &config.api.tls;
    let needed = [
        (
            "api.tls.certificate",
            &tls.certificate,
            "server certificate",
        ),
        ("api.tls.key", &tls.key, "private key of the certificate"),
    ];
    needed
        .into_iter()
        .filter(|(_, path, _)| path.is_none())
        .map(|(key, _, what)| Problem {
            severity: Severity::Error,
            file: file.to_owned(),
            place: None,
            key: Some(key.to_owned()),
            message: format!("is not set; it must name the PEM file with the {what}"),
        })
        .collect()
}

/// Everything known about a file, good or bad.
#[derive(Debug)]
pub(super) struct Draft {
    /// The settings; one that is bad in the file has its default.
    pub(super) config: Config,
    /// All that is wrong, in the order of the file.
    pub(super) problems: Vec<Problem>,
    /// Whether the file is TOML, so that a key which was not found is not there.
    pub(super) complete: bool,
    /// Where the keys stand that are in the file.
    pub(super) places: BTreeMap<String, Place>,
    /// Keys that are known and have no effect beside the others: no mistake, since files of the first
    /// generation have one.
    pub(super) idle: BTreeSet<&'static str>,
}

/// Reads a configuration file.
///
/// # Errors
/// [`ConfigError::Unreadable`], or [`ConfigError::Invalid`] with every mistake in the file.
pub fn load(file: &Path) -> Result<Loaded, ConfigError> {
    accept(draft(&read(file)?, file), file)
}

/// Reads a configuration from memory; `file` is only for messages.
///
/// # Errors
/// [`ConfigError::Invalid`] with every mistake in the text.
pub fn parse(text: &[u8], file: &Path) -> Result<Loaded, ConfigError> {
    accept(draft(text, file), file)
}

fn accept(draft: Draft, file: &Path) -> Result<Loaded, ConfigError> {
    let (errors, warnings): (Vec<_>, Vec<_>) = draft
        .problems
        .into_iter()
        .partition(|problem| problem.severity == Severity::Error);
    if !errors.is_empty() {
        return Err(ConfigError::Invalid { problems: errors });
    }
    Ok(Loaded {
        config: draft.config,
        file: file.to_owned(),
        warnings,
    })
}

/// The bytes of a configuration file.
pub(super) fn read(file: &Path) -> Result<Vec<u8>, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable {
        file: file.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    regular_file::open(file)
        .and_then(|opened| opened.take(LARGEST_FILE + 1).read_to_end(&mut bytes))
        .map_err(unreadable)?;
    if bytes.len() > usize::try_from(LARGEST_FILE).unwrap_or(usize::MAX) {
        return Err(unreadable(std::io::Error::other(
            "it is larger than 1 MiB: this is no configuration file",
        )));
    }
    Ok(bytes)
}

/// Reads as much of a configuration as can be understood.
pub(super) fn draft(bytes: &[u8], file: &Path) -> Draft {
    let mut findings = Findings {
        bytes,
        file,
        found: Vec::new(),
    };
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let message = "the file is not UTF-8 text from here on".to_owned();
            findings.add(Some(error.valid_up_to()), None, Severity::Error, message);
            return Draft {
                config: Config::default(),
                problems: findings.problems(),
                complete: false,
                places: BTreeMap::new(),
                idle: BTreeSet::new(),
            };
        }
    };

    let (document, syntax_errors) = DeTable::parse_recoverable(text);
    let (config, notes) = keys::read(document.get_ref());
    let places: BTreeMap<String, Place> = notes
        .offsets
        .iter()
        .map(|(key, offset)| (key.clone(), Place::of_offset(bytes, *offset)))
        .collect();

    let mut broken_lines = BTreeSet::new();
    for error in syntax_errors.iter().take(MOST_PROBLEMS) {
        let offset = error.span().map_or(bytes.len(), |span| span.start);
        let line = Place::of_offset(bytes, offset).line;
        broken_lines.insert(line);
        let key = places.iter().find(|(_, place)| place.line == line);
        // The message alone: the error's Display quotes the line, which may hold the secret.
        let message = format!("is not TOML: {}", error.message());
        let key = key.map(|(key, _)| key.as_str());
        findings.add(Some(offset), key, Severity::Error, message);
    }

    for (span, key, message) in &notes.bad {
        // What the parser made of a broken line is not what the admin wrote. A text in ''' that
        // never ends takes in the lines behind it, the secret's perhaps, up to the broken one.
        let line = |offset| Place::of_offset(bytes, offset).line;
        let mut lines = broken_lines.range(line(span.start)..=line(span.end));
        if lines.next().is_none() {
            findings.add(
                Some(span.start),
                Some(key),
                Severity::Error,
                message.clone(),
            );
        }
    }
    let mut idle = BTreeSet::new();
    // After a broken section header, good keys seem to be in the wrong section, or missing.
    if syntax_errors.is_empty() {
        for (offset, key) in &notes.unknown {
            let message = match suggest(key, &notes) {
                Some(known) => {
                    format!("is not a known key and has no effect; did you mean {known}?")
                }
                None => "is not a known key and has no effect".to_owned(),
            };
            findings.add(Some(*offset), Some(key), Severity::Warning, message);
        }
        let tls = &config.api.tls;
        let asks = "api.tls.require_client_certificate";
        let authorities = "api.tls.ca_certificate";
        let refused = |name| notes.bad.iter().any(|(_, key, _)| key == name);
        if tls.require_client_certificate && tls.ca_certificate.is_none() && !refused(authorities) {
            let message = format!(
                "found true, but {authorities} is not set; it must name the authorities that \
                 client certificates come from"
            );
            let offset = notes.offsets.get(asks).copied();
            findings.add(offset, Some(asks), Severity::Error, message);
        }
        // Whoever has set it may believe that clients are asked.
        if tls.ca_certificate.is_some() && !tls.require_client_certificate && !refused(asks) {
            idle.insert(authorities);
            let message = "has no effect: require_client_certificate is false, so no client \
                           certificate is asked for"
                .to_owned();
            let offset = notes.offsets.get(authorities).copied();
            findings.add(offset, Some(authorities), Severity::Warning, message);
        }
        if config.snapshots.consistency == Consistency::Command {
            for (key, command) in [
                (
                    "snapshots.before_snapshot",
                    &config.snapshots.before_snapshot,
                ),
                ("snapshots.after_snapshot", &config.snapshots.after_snapshot),
            ] {
                let refused = notes.bad.iter().any(|(_, bad, _)| bad == key);
                if command.is_empty() && !refused {
                    let asks = "snapshots.consistency";
                    let message = format!(
                        "found \"command\", but {key} is not set; it must name a program \
                         ([\"/bin/true\"] does nothing)"
                    );
                    let offset = notes.offsets.get(asks).copied();
                    findings.add(offset, Some(asks), Severity::Error, message);
                }
            }
        }
    }

    Draft {
        config,
        problems: findings.problems(),
        complete: syntax_errors.is_empty(),
        places,
        idle,
    }
}

/// What is wrong, by offset.
struct Findings<'a> {
    bytes: &'a [u8],
    file: &'a Path,
    found: Vec<(Option<usize>, Option<String>, Severity, String)>,
}

impl Findings<'_> {
    fn add(
        &mut self,
        offset: Option<usize>,
        key: Option<&str>,
        severity: Severity,
        message: String,
    ) {
        self.found
            .push((offset, key.map(str::to_owned), severity, message));
    }

    /// In the order of the file; what is too much is only counted.
    fn problems(mut self) -> Vec<Problem> {
        self.found.sort_by_key(|(offset, ..)| *offset);
        let problem = |place, key, severity, message| Problem {
            severity,
            file: self.file.to_owned(),
            place,
            key,
            message,
        };
        let total = self.found.len();
        // The worst that is left out decides whether the file can be used.
        let rest = self
            .found
            .get(MOST_PROBLEMS..)
            .and_then(|rest| rest.iter().map(|(_, _, severity, _)| *severity).min());
        let mut problems: Vec<Problem> = self
            .found
            .drain(..total.min(MOST_PROBLEMS))
            .map(|(offset, key, severity, message)| {
                let place = offset.map(|offset| Place::of_offset(self.bytes, offset));
                problem(place, key, severity, message)
            })
            .collect();
        if let Some(severity) = rest {
            let message = format!("{} more problems are not shown", total - MOST_PROBLEMS);
            problems.push(problem(None, None, severity, message));
        }
        problems
    }
}

#[cfg(test)]
#[path = "document_tests.rs"]
mod tests;
