//! What is there, what is missing, and whether it is safe to make that.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::config;

/// The files of a configuration.
#[derive(Debug, Clone)]
pub(super) struct Paths {
    pub(super) directory: PathBuf,
    pub(super) config: PathBuf,
    pub(super) authority: PathBuf,
    pub(super) authority_key: PathBuf,
    /// Of the server; where a configuration is there, what that names.
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

impl Paths {
    /// The files of a configuration in `directory`.
    ///
    /// # Errors
    /// That there is a configuration which cannot be read: it may name other files.
    pub(super) fn of(directory: &Path, config_name: &str) -> anyhow::Result<Paths> {
        let mut paths = Paths {
            directory: directory.to_owned(),
            config: directory.join(config_name),
            authority: directory.join("ca-pub.pem"),
            authority_key: directory.join("ca-key.pem"),
            certificate: directory.join("srv-pub.pem"),
            key: directory.join("srv-key.pem"),
        };
        if is_there(&paths.config) {
            let loaded = config::load(&paths.config).context(
                "the configuration that is there cannot be used; repair it, or move it away for \
                 a new one",
            )?;
            let identity = loaded.identity().context(
                "the configuration that is there names no certificate; add the two keys, or move \
                 it away for a new one",
            )?;
            paths.certificate = std::path::absolute(identity.certificate)?;
            paths.key = std::path::absolute(identity.key)?;
        }
        Ok(paths)
    }

    /// All of them, in the order in which they are named to people.
    pub(super) fn all(&self) -> [&Path; 5] {
        [
            &self.config,
            &self.certificate,
            &self.key,
            &self.authority,
            &self.authority_key,
        ]
    }
}

/// What to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Plan {
    /// A new authority.
    pub(super) authority: bool,
    /// Certificate and key of the server, by the authority, new or not.
    pub(super) server: bool,
    /// The configuration.
    pub(super) config: bool,
}

impl Plan {
    /// Decides by what is there.
    ///
    /// # Errors
    /// Half of a pair is there: the other half cannot be made, and a new pair would put something
    /// else in its place.
    pub(super) fn of(paths: &Paths) -> anyhow::Result<Plan> {
        let there = |path: &Path| is_there(path);
        if there(&paths.certificate) != there(&paths.key) {
            bail!(half(&paths.certificate, &paths.key));
        }
        let server = !there(&paths.certificate);
        let authority = server && !there(&paths.authority);
        if server && there(&paths.authority) != there(&paths.authority_key) {
            bail!(half(&paths.authority, &paths.authority_key));
        }
        if server
            && [&paths.certificate, &paths.key]
                .iter()
                .any(|path| path.parent() != Some(&paths.directory))
        {
            bail!(
                "{} names certificate and key outside of {}, {} and {}, and they are missing; put \
                 them there, or change the two keys",
                paths.config.display(),
                paths.directory.display(),
                paths.certificate.display(),
                paths.key.display()
            );
        }
        Ok(Plan {
            authority,
            server,
            config: !there(&paths.config),
        })
    }

    pub(super) fn makes_anything(self) -> bool {
        self.authority || self.server || self.config
    }
}

/// Also a symbolic link that leads nowhere is something that must not be replaced.
pub(super) fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

fn half(one: &Path, other: &Path) -> String {
    let (left, missing) = match is_there(one) {
        true => (one, other),
        false => (other, one),
    };
    format!(
        "{} is there without {}, which cannot be made for it; bring that back, or move the first \
         away for a new pair. Nothing was written",
        left.display(),
        missing.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(there: &[&str]) -> anyhow::Result<Plan> {
        let folder = tempfile::tempdir().unwrap();
        for name in there {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        Plan::of(&Paths::of(folder.path(), "config.toml").unwrap())
    }

    #[test]
    fn only_what_is_safe_is_made() {
        let made = |authority, server, config| Plan {
            authority,
            server,
            config,
        };
        let table: [(&[&str], Option<Plan>); 9] = [
            (&[], Some(made(true, true, true))),
            (&["ca-pub.pem", "ca-key.pem"], Some(made(false, true, true))),
            (
                &["srv-pub.pem", "srv-key.pem"],
                Some(made(false, false, true)),
            ),
            // Somebody else's authority, whose key is elsewhere.
            (
                &["srv-pub.pem", "srv-key.pem", "ca-pub.pem"],
                Some(made(false, false, true)),
            ),
            (&["srv-pub.pem"], None),
            (&["srv-key.pem"], None),
            (&["srv-key.pem", "ca-pub.pem", "ca-key.pem"], None),
            (&["ca-pub.pem"], None),
            (&["ca-key.pem"], None),
        ];
        for (there, expected) in table {
            let found = plan(there);
            match (&found, expected) {
                (Ok(found), Some(expected)) => assert_eq!(*found, expected, "{there:?}"),
                (Err(error), None) => {
                    let text = error.to_string();
                    assert!(text.contains("Nothing was written"), "{there:?}: {text}");
                }
                _ => panic!("{there:?}: {found:?}"),
            }
        }
    }
}
