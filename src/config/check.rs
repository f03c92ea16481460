//! `check-config`: everything that can be told about a configuration without starting the
//! daemon, all at once.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::certificates::{certificates, dates, fit_together, outdated, private_key};
use super::document::{draft, missing_identity, read};
use super::problem::{ConfigError, Place, Problem, Severity, unreadable};
use super::secret;
use super::settings::{Config, Toolstack};
use super::token_file;
use crate::shell_word;

/// What was found.
#[derive(Debug, Clone)]
pub struct Report {
    /// The configuration file.
    pub file: PathBuf,
    /// In the order of the file; what has no place in it comes last.
    pub problems: Vec<Problem>,
}

impl Report {
    /// Whether anything is wrong that is more than a warning.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.problems
            .iter()
            .any(|problem| problem.severity == Severity::Error)
    }
}

impl fmt::Display for Report {
    /// A line for each problem, or one that says there is none.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.problems.is_empty() {
            return writeln!(formatter, "{}: good", self.file.display());
        }
        for problem in &self.problems {
            writeln!(formatter, "{}: {problem}", problem.severity)?;
        }
        Ok(())
    }
}

/// Checks a configuration file and the files that it names. Nothing is changed.
#[must_use]
pub fn check(file: &Path) -> Report {
    let mut report = Report {
        file: file.to_owned(),
        problems: Vec::new(),
    };
    let bytes = match read(file) {
        Ok(bytes) => bytes,
        Err(ConfigError::Invalid { problems }) => {
            report.problems = problems;
            return report;
        }
        Err(ConfigError::Unreadable { source, .. }) => {
            report.problems.push(Problem {
                severity: Severity::Error,
                file: file.to_owned(),
                place: None,
                key: None,
                message: unreadable(file, &source),
            });
            return report;
        }
    };

    let draft = draft(&bytes, file);
    report.problems = draft.problems;
    for problem in &mut report.problems {
        // Here an unknown key is a mistake: this is the moment to find it.
        if !problem
            .key
            .as_deref()
            .is_some_and(|key| draft.idle.contains(key))
        {
            problem.severity = Severity::Error;
        }
    }
    if draft.complete {
        let refused = |problem: &Problem| report.problems.iter().any(|p| p.key == problem.key);
        let mut missing = missing_identity(&draft.config, file);
        missing.retain(|problem| !refused(problem));
        report.problems.append(&mut missing);
    }
    let mut surroundings = Surroundings {
        file,
        config: &draft.config,
        places: &draft.places,
        problems: &mut report.problems,
    };
    surroundings.folders_and_programs();
    surroundings.secret();
    surroundings.tls_files();
    surroundings.metrics();
    // Stable: problems without a place keep their order, at the end.
    report
        .problems
        .sort_by_key(|problem| (problem.place.is_none(), problem.place));
    report
}

/// What the configuration names on this node.
struct Surroundings<'a> {
    file: &'a Path,
    config: &'a Config,
    places: &'a BTreeMap<String, Place>,
    problems: &'a mut Vec<Problem>,
}

impl Surroundings<'_> {
    fn add(&mut self, severity: Severity, key: &str, message: String) {
        self.problems.push(Problem {
            severity,
            file: self.file.to_owned(),
            place: self.places.get(key).copied(),
            key: Some(key.to_owned()),
            message,
        });
    }

    fn folders_and_programs(&mut self) {
        let config = self.config;
        self.folder_of("db_file", &config.db_file);
        if let Some(log_file) = &config.log_file {
            self.folder_of("log_file", log_file);
        }
        if let Err(error) = fs::read_dir(&config.agent_db_dir) {
            // On a machine that is no node the default leads nowhere; that is worth saying, but
            // only a folder that the admin named must be there.
            let named = self.places.contains_key("agent_db_dir");
            let severity = if named {
                Severity::Error
            } else {
                Severity::Warning
            };
            let message = unreadable(&config.agent_db_dir, &error);
            self.add(severity, "agent_db_dir", message);
        }
        if let Toolstack::Program(program) = &config.toolstack {
            self.program("toolstack", program);
        }
        for (key, command) in [
            (
                "snapshots.before_snapshot",
                &config.snapshots.before_snapshot,
            ),
            ("snapshots.after_snapshot", &config.snapshots.after_snapshot),
        ] {
            if let Some(program) = command.first() {
                self.program(key, Path::new(program));
            }
        }
    }

    /// A file that the daemon starts.
    fn program(&mut self, key: &str, program: &Path) {
        match fs::metadata(program) {
            Ok(found) if found.is_file() && found.permissions().mode() & 0o111 != 0 => {}
            Ok(_) => {
                let message = format!("{} is not an executable file", program.display());
                self.add(Severity::Error, key, message);
            }
            Err(error) => self.add(Severity::Error, key, unreadable(program, &error)),
        }
    }

    /// A file that the daemon writes: its folder must be there.
    fn folder_of(&mut self, key: &str, path: &Path) {
        if path.is_relative() {
            let message = format!(
                "{} is relative to the folder that the daemon is started in; an absolute path is safer",
                path.display()
            );
            self.add(Severity::Warning, key, message);
        }
        if path.is_dir() {
            let message = format!("{} is a folder, not a file", path.display());
            self.add(Severity::Error, key, message);
            return;
        }
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        if !folder.is_dir() {
            let message = format!("the folder {} does not exist; make it", folder.display());
            self.add(Severity::Error, key, message);
        }
    }

    fn secret(&mut self) {
        match secret::judge(&self.config.jwt) {
            Ok(_) => {
                if readable_by_all(self.file) {
                    let message = format!(
                        "the secret can be read by every user of this node; chmod 600 {}",
                        shell_word::of(self.file)
                    );
                    self.add(Severity::Warning, "jwt.secret", message);
                }
            }
            Err(reason) => {
                let message = format!(
                    "{reason}; the daemon uses a random secret kept in {} instead, and warns at \
                     each start (set it to the output of `openssl rand -base64 48`)",
                    secret::kept_file(self.config).display()
                );
                self.add(Severity::Warning, "jwt.secret", message);
            }
        }
    }

    fn tls_files(&mut self) {
        let now = SystemTime::now();
        let config = self.config;
        let tls = &config.api.tls;
        let chain = tls.certificate.as_ref().and_then(|path| {
            self.certificate_file("api.tls.certificate", path, Severity::Error, now)
        });
        let key = tls.key.as_ref().and_then(|path| {
            let read = private_key(path)
                .map_err(|message| self.add(Severity::Error, "api.tls.key", message))
                .ok();
            if read.is_some() && readable_by_all(path) {
                let message = readable(path);
                self.add(Severity::Warning, "api.tls.key", message);
            }
            read
        });
        let outdated = chain.as_deref().and_then(|chain| outdated(chain.first()?));
        if let (Some(reason), Some(path)) = (outdated, &tls.certificate) {
            let message = format!("{}: {reason}", path.display());
            self.add(Severity::Error, "api.tls.certificate", message);
        } else if let (Some(chain), Some(key)) = (chain, key)
            && let Err(message) = fit_together(chain, key)
        {
            self.add(Severity::Error, "api.tls.key", message);
        }
        // One authority of several may be out of date without harm.
        for (name, path) in [
            ("api.tls.ca_certificate", &tls.ca_certificate),
            ("ovm_ca_certificate", &config.ovm_ca_certificate),
        ] {
            if let Some(path) = path {
                self.certificate_file(name, path, Severity::Warning, now);
            }
        }
    }

    fn metrics(&mut self) {
        let Some(path) = &self.config.metrics.token_file else {
            return;
        };
        let key = "metrics.token_file";
        let named = path.display();
        match token_file::read(path) {
            Err(error) if error.kind() == io::ErrorKind::Other => {
                self.add(Severity::Error, key, format!("{named}: {error}"));
            }
            Err(error) => self.add(Severity::Error, key, unreadable(path, &error)),
            Ok(_) if readable_by_all(path) => {
                self.add(Severity::Warning, key, readable(path));
            }
            Ok(_) => {}
        }
    }

    /// Reads a file of certificates; their dates are at most as bad as `worst` says.
    fn certificate_file(
        &mut self,
        key: &str,
        path: &Path,
        worst: Severity,
        now: SystemTime,
    ) -> Option<Vec<rustls_pki_types::CertificateDer<'static>>> {
        match certificates(path) {
            Ok(found) => {
                for certificate in &found {
                    if let Some((severity, message)) = dates(certificate, now) {
                        let message = format!("{}: {message}", path.display());
                        self.add(severity.max(worst), key, message);
                    }
                }
                Some(found)
            }
            Err(message) => {
                self.add(Severity::Error, key, message);
                None
            }
        }
    }
}

fn readable(path: &Path) -> String {
    format!(
        "{} can be read by every user of this node; chmod 600 {}",
        path.display(),
        shell_word::of(path)
    )
}

fn readable_by_all(path: &Path) -> bool {
    File::open(path)
        .and_then(|file| file.metadata())
        .is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
