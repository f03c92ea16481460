//! The token of `[metrics] token_file`. It may be replaced while the daemon runs, and any stranger makes
//! the daemon look: not often, not twice at a time, and nobody waits for storage that hangs.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use crate::config::token_file;

/// The file is looked at no more often than that, whoever asks.
const REST: Duration = Duration::from_secs(1);
/// How long a request waits for a look. After that what was known before holds.
const PATIENCE: Duration = Duration::from_secs(1);

/// A token in a file.
#[derive(Debug)]
pub struct MetricsToken {
    file: PathBuf,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Of the token.
    digest: Option<[u8; 32]>,
    /// What is wrong with the file, told already.
    trouble: Option<String>,
    looked: Option<Instant>,
    /// Somebody does now.
    looking: bool,
}

impl MetricsToken {
    /// Reads the token. What is wrong is logged: then there is none, until that is mended. Blocks for
    /// a second at most.
    #[must_use]
    pub fn in_file(file: PathBuf) -> Arc<MetricsToken> {
        let token = Arc::new(MetricsToken {
            file,
            known: Mutex::default(),
        });
        token.look_soon();
        token
    }

    /// Whether this is the token, as it was in the file a second ago or later.
    pub(super) async fn is(self: &Arc<Self>, given: &str) -> bool {
        if self.is_time_to_look() {
            let (own, span) = (self.clone(), tracing::Span::current());
            let looking = tokio::task::spawn_blocking(move || span.in_scope(|| own.look()));
            let _ = tokio::time::timeout(PATIENCE, looking).await;
        }
        let digest: [u8; 32] = Sha256::digest(given).into();
        self.lock().digest == Some(digest)
    }

    /// Reads the file again, and waits for that for a second at most: storage may hang.
    pub fn look_soon(self: &Arc<Self>) {
        let (own, span) = (self.clone(), tracing::Span::current());
        let (done, waiting) = std::sync::mpsc::channel();
        let looking = move || {
            span.in_scope(|| own.look());
            let _ = done.send(());
        };
        match std::thread::Builder::new()
            .name("token".to_owned())
            .spawn(looking)
        {
            Ok(_) => {
                let _ = waiting.recv_timeout(PATIENCE);
            }
            Err(error) => tracing::error!("there is no thread to read a token with: {error}"),
        }
    }

    fn is_time_to_look(&self) -> bool {
        let known = self.lock();
        !known.looking && known.looked.is_none_or(|at| at.elapsed() >= REST)
    }

    /// Reads the file again, unless somebody does already. Blocks.
    fn look(&self) {
        {
            let mut known = self.lock();
            if known.looking {
                return;
            }
            known.looking = true;
            known.looked = Some(Instant::now());
        }
        let read = token_file::read(&self.file);
        let mut known = self.lock();
        known.looking = false;
        known.digest = read.as_ref().ok().map(|token| Sha256::digest(token).into());
        let trouble = read.err().map(|error| error.to_string());
        if trouble != known.trouble
            && let Some(trouble) = &trouble
        {
            tracing::error!(
                "[metrics] token_file {}: {trouble}; until that is mended no token of its own is good \
                 for /metrics",
                self.file.display()
            );
        }
        known.trouble = trouble;
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const ONE: &str = "one-0123456789abcdef";
    const TWO: &str = "two-0123456789abcdef";

    fn rested(token: &MetricsToken) {
        token.lock().looked = Instant::now().checked_sub(REST);
    }

    #[tokio::test]
    async fn strangers_make_it_look_no_more_often_than_once_a_second() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        fs::write(&file, ONE).unwrap();
        let token = MetricsToken::in_file(file.clone());
        assert!(token.is(ONE).await && !token.is(TWO).await);
        fs::write(&file, TWO).unwrap();
        let looked = token.lock().looked;
        for _ in 0..100 {
            assert!(!token.is(TWO).await);
        }
        assert_eq!(token.lock().looked, looked);
        rested(&token);
        assert!(token.is(TWO).await && !token.is(ONE).await);
        // Whoever sends SIGHUP does not wait.
        fs::write(&file, ONE).unwrap();
        token.look();
        assert!(token.is(ONE).await);
        fs::remove_file(&file).unwrap();
        rested(&token);
        assert!(!token.is(ONE).await && !token.is("").await);
    }

    #[tokio::test]
    async fn while_a_look_hangs_there_is_no_second_one_and_the_token_stays() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        fs::write(&file, ONE).unwrap();
        let token = MetricsToken::in_file(file.clone());
        token.lock().looking = true;
        fs::write(&file, TWO).unwrap();
        rested(&token);
        assert!(token.is(ONE).await && !token.is(TWO).await);
        token.look();
        assert!(token.is(ONE).await);
    }
}
