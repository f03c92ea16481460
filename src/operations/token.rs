//! `coriolis-ovm-exporter token`: a short-lived token for who is root on the node, for the time
//! when the manager that checks logins is down.
//!
//! Whoever reads the secret can sign tokens anyway; this adds the log line. Each token has an id, and
//! the daemon logs requests that come with it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;

use super::log::Log;
use super::random_numbers;
use crate::config::{self, LogLevel, secret};
use crate::protocol::duration;
use crate::server::tokens::TokenIssuer;

/// The longest that such a token is good for.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// Enough for a name in a log.
const LONGEST_NAME: usize = 64;

/// Options of `coriolis-ovm-exporter token`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// The name that the token bears, for the log.
    #[arg(long, default_value = "local", value_parser = user)]
    pub user: String,
    /// How long it is good for, 1s to 24h.
    #[arg(long, default_value = "15m", value_parser = time_to_live)]
    pub ttl: Duration,
}

/// Prints a token, and nothing else, on standard output.
///
/// # Errors
/// For anybody but root and the owner of the configuration; where there is no secret yet; where it
/// cannot be logged.
pub fn run(file: &Path, options: &Options) -> anyhow::Result<ExitCode> {
    let caller = nix::unistd::geteuid();
    if !caller.is_root() {
        let owner = fs::metadata(file)
            .with_context(|| format!("only root makes tokens: cannot look at {}", file.display()))?
            .uid();
        if owner != caller.as_raw() {
            bail!(
                "only root, or the owner of {}, makes tokens; this is user {caller}",
                file.display()
            );
        }
    }
    let config = config::load(file)?.config;
    // What happens here is logged however little is wanted of the daemon.
    let level = config.log_level.max(LogLevel::Info);
    Log::start_beside(&config, level).context("no token without a log of it")?;
    random_numbers::wait()?;
    let secret = secret::existing(&config)?.with_context(|| {
        format!(
            "there is no secret to sign with yet: set jwt.secret in {}, or start the daemon, which \
             makes one",
            file.display()
        )
    })?;
    let id = uuid::Uuid::new_v4().to_string();
    let token =
        TokenIssuer::new(secret.as_bytes(), options.ttl).issue_with_id(&options.user, &id)?;
    tracing::info!(
        token = id,
        user = ?options.user,
        ttl = duration::format(options.ttl),
        uid = nix::unistd::getuid().as_raw(),
        login_uid = login_user().unwrap_or_else(|| "none".to_owned()),
        "a token was made on this node"
    );
    println!("{token}");
    Ok(ExitCode::SUCCESS)
}

/// Who logged in on the node, whoever they became since (`sudo`, `su`).
fn login_user() -> Option<String> {
    /// The kernel's word for nobody.
    const UNSET: &str = "4294967295";
    let text = fs::read_to_string("/proc/self/loginuid").ok()?;
    let text = text.trim();
    (text != UNSET && !text.is_empty()).then(|| text.to_owned())
}

fn user(text: &str) -> Result<String, String> {
    let good = !text.is_empty()
        && text.len() <= LONGEST_NAME
        && text.chars().all(|c| c.is_ascii_graphic());
    match good {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "it must have 1 to {LONGEST_NAME} visible ASCII characters"
        )),
    }
}

fn time_to_live(text: &str) -> Result<Duration, String> {
    let ttl = duration::parse(text).map_err(|error| error.to_string())?;
    match (Duration::from_secs(1)..=LONGEST).contains(&ttl) {
        true => Ok(ttl),
        false => Err("it must be from 1s to 24h".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_names_have_limits() {
        assert_eq!(time_to_live("24h"), Ok(LONGEST));
        for bad in ["0s", "24h1s", "999ms", "7d", ""] {
            assert!(time_to_live(bad).is_err(), "{bad}");
        }
        assert!(user("night-shift").is_ok());
        for bad in ["", "two words", "a\nb", &"x".repeat(65)] {
            assert!(user(bad).is_err(), "{bad:?}");
        }
    }
}
