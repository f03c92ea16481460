//! What a reload makes less safe, in words: a line that was lost from a file looks like any other
//! change, and should not pass for one.

use std::time::Duration;

use super::settings::{Config, LogLevel};
use crate::protocol::Consistency;

/// A setting that protects less than before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weakening {
    /// With its sections: `api.tls.require_client_certificate`.
    pub key: &'static str,
    /// What holds from now on.
    pub meaning: String,
}

/// What protects less in `new` than in `old`. Both are what is in force, before and after.
#[must_use]
pub fn weakenings(old: &Config, new: &Config) -> Vec<Weakening> {
    let login = |config: &Config| (config.api.login.max_failures, config.api.login.slow_down);
    let ((old_failures, old_delay), (failures, delay)) = (login(old), login(new));
    let table = [
        (
            "api.tls.require_client_certificate",
            asks_for_certificates(old) && !asks_for_certificates(new),
            "clients are not asked for a certificate any more: a password or a token is enough"
                .to_owned(),
        ),
        (
            "ovm_ca_certificate",
            old.ovm_ca_certificate.is_some() && new.ovm_ca_certificate.is_none(),
            "the manager, which passwords are sent to, is not checked against an authority any more, \
             but against the certificate that it shows first"
                .to_owned(),
        ),
        (
            "ovm_legacy_tls",
            !old.ovm_legacy_tls && new.ovm_legacy_tls,
            "passwords may go to the manager over protocols and ciphers of 2013".to_owned(),
        ),
        (
            "jwt.time_to_live",
            new.jwt.time_to_live > old.jwt.time_to_live,
            format!("a token is good for {:?}", new.jwt.time_to_live),
        ),
        (
            "api.login.max_failures",
            failures > old_failures,
            format!("{failures} passwords can be guessed before guessing is slowed"),
        ),
        (
            "api.login.slow_down",
            delay < old_delay,
            match delay {
                Duration::ZERO => "guessing of passwords is not slowed at all".to_owned(),
                delay => format!("who guesses passwords waits for {delay:?} at most"),
            },
        ),
        (
            "snapshots.immutable",
            old.snapshots.immutable && !new.snapshots.immutable,
            "snapshots are not protected against changes by hand".to_owned(),
        ),
        (
            "snapshots.consistency",
            old.snapshots.consistency != Consistency::None
                && new.snapshots.consistency == Consistency::None,
            "the disks of a snapshot are not of one moment, unless a request asks for it".to_owned(),
        ),
        (
            "log_level",
            old.log_level >= LogLevel::Info && new.log_level < LogLevel::Info,
            "who logged in, and what was asked for, is not logged any more".to_owned(),
        ),
    ];
    table
        .into_iter()
        .filter(|(_, weaker, _)| *weaker)
        .map(|(key, _, meaning)| Weakening { key, meaning })
        .collect()
}

fn asks_for_certificates(config: &Config) -> bool {
    let tls = &config.api.tls;
    tls.require_client_certificate && tls.ca_certificate.is_some()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::parse;

    /// Each key as it protects, and as it does not.
    const EACH: [(&str, &str, &str); 9] = [
        (
            "api.tls.require_client_certificate",
            "api.tls = { ca_certificate = \"/x\", require_client_certificate = true }",
            "",
        ),
        ("ovm_ca_certificate", "ovm_ca_certificate = \"/x\"", ""),
        ("ovm_legacy_tls", "", "ovm_legacy_tls = true"),
        ("jwt.time_to_live", "jwt.time_to_live = \"1h\"", ""),
        ("api.login.max_failures", "api.login.max_failures = 1", ""),
        ("api.login.slow_down", "", "api.login.slow_down = \"0s\""),
        ("snapshots.immutable", "", "snapshots.immutable = false"),
        (
            "snapshots.consistency",
            "snapshots.consistency = \"pause\"",
            "",
        ),
        ("log_level", "log_level = \"debug\"", "log_level = \"warn\""),
    ];

    fn config(text: &str) -> Config {
        parse(text.as_bytes(), Path::new("one")).unwrap().config
    }

    #[test]
    fn each_is_told_in_one_direction_only() {
        for (key, strong, weak) in EACH {
            let (strong, weak) = (config(strong), config(weak));
            let told = weakenings(&strong, &weak);
            assert_eq!(told.len(), 1, "{told:?}");
            assert_eq!(told[0].key, key);
            assert_eq!(weakenings(&weak, &strong), [], "{key}");
            assert_eq!(weakenings(&strong, &strong), [], "{key}");
        }
    }

    #[test]
    fn another_authority_is_a_change_and_no_weakening() {
        let tls = |file: &str| {
            config(&format!(
                "ovm_ca_certificate = \"{file}\"\n[api.tls]\nca_certificate = \"{file}\"\n\
                 require_client_certificate = true"
            ))
        };
        assert_eq!(weakenings(&tls("/a"), &tls("/b")), []);
    }
}
