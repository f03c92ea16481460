//! Asking the Oracle VM Manager whether a user may come in.
//!
//! A login is checked by one request: `GET /ovm/core/wsapi/rest/Repository/id` with the user's
//! credentials as HTTP Basic. 200 means accepted, 401 or 403 means refused, all else is an error.
//! One connection serves one check and is closed after it.
//!
//! The order is what keeps the credentials safe: resolve, connect, TLS handshake, **accept the
//! certificate**, and only then send the request. The certificate is accepted against a CA file
//! or against a fingerprint that was pinned on first use ([`Trust`]).
//!
//! Managers of 2013 may speak only what modern TLS refuses. Then a second handshake, which sends
//! no data, learns what the manager speaks, and the error names it. `ovm_legacy_tls = true` allows
//! such a manager, for this one connection only.

mod connect;
mod credentials;
mod deadline;
mod endpoint;
mod error;
mod fingerprint;
mod legacy;
mod modern;
mod peer;
mod pin;
mod request;
mod resolve;
mod trust;
mod verifier;

use std::sync::Arc;
use std::time::Duration;

pub use endpoint::{DEFAULT_PORT, Endpoint, EndpointError, Host};
pub use error::{ManagerError, PinChange, advice_for};
pub use fingerprint::Fingerprint;
pub use peer::{Peer, PeerCertificate};
pub use resolve::{ResolveError, Resolver};
pub use trust::Trust;

use connect::Connected;
use credentials::Authorization;
use deadline::Deadline;
use trust::Trusted;

/// How long one check may take in all: resolve, connect, TLS, answer.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// What the manager said about a user's credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The manager knows the user and the password is right.
    Accepted,
    /// The manager refused them (401 or 403), or HTTP Basic cannot carry them.
    Refused,
}

/// What the manager shows to who has no credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// Its certificate in DER.
    pub certificate: Vec<u8>,
    /// The SHA-256 of that.
    pub fingerprint: Fingerprint,
    /// Whether it was accepted by an authority or a pin; if not, the first login pins it.
    pub is_known: bool,
    /// The HTTP status of its answer; 401 as a rule.
    pub status: u16,
    /// The `Date` of its answer.
    pub date: Option<String>,
}

/// The manager that decides who may come in, and how to reach it. Holds no secret.
#[derive(Debug, Clone)]
pub struct Manager {
    /// Where the manager listens.
    pub endpoint: Endpoint,
    /// What makes its certificate acceptable.
    pub trust: Trust,
    /// `ovm_legacy_tls`: allow TLS 1.0 and 1.1, CBC, RSA-1024 and SHA-1 on this connection.
    pub legacy_tls: bool,
    /// The longest that one check may take in all.
    pub timeout: Duration,
    /// Where names are looked up.
    pub resolver: Resolver,
}

impl Manager {
    /// A manager with modern TLS, the default timeout and the system's name resolution.
    #[must_use]
    pub fn new(endpoint: Endpoint, trust: Trust) -> Self {
        Self {
            endpoint,
            trust,
            legacy_tls: false,
            timeout: DEFAULT_TIMEOUT,
            resolver: Resolver::default(),
        }
    }

    /// Asks the manager about one user.
    ///
    /// Credentials that HTTP Basic cannot carry (a colon or a control character in the user
    /// name, a control character in the password) are refused without asking.
    ///
    /// # Errors
    /// Every failure to get an answer is an error, never a refusal: see [`ManagerError`]. The
    /// messages hold neither user name nor password.
    pub async fn check_credentials(
        &self,
        user: &str,
        password: &str,
    ) -> Result<Verdict, ManagerError> {
        let Some(authorization) = Authorization::basic(user, password) else {
            return Ok(Verdict::Refused);
        };
        let deadline = Deadline::after(self.timeout, &self.endpoint);
        let (trusted, connected) = self.connect(&deadline).await?;

        if self.legacy_tls {
            let session = deadline
                .step(
                    "the TLS handshake",
                    legacy::handshake(connected, &self.endpoint, &trusted),
                )
                .await??;
            self.keep_pin(&trusted, session.fingerprint, &deadline)
                .await?;
            request::ask(session.stream, &self.endpoint, authorization, &deadline).await
        } else {
            let session = modern::handshake(connected, &self.endpoint, &trusted, &deadline).await?;
            self.keep_pin(&trusted, session.fingerprint, &deadline)
                .await?;
            request::ask(session.stream, &self.endpoint, authorization, &deadline).await
        }
    }

    /// Looks at the manager without credentials: whether it answers with a certificate that is
    /// accepted. Nothing is pinned.
    ///
    /// # Errors
    /// As [`Manager::check_credentials`], but for what the answer says.
    pub async fn look(&self) -> Result<Sight, ManagerError> {
        let deadline = Deadline::after(self.timeout, &self.endpoint);
        let (trusted, connected) = self.connect(&deadline).await?;
        let (certificate, fingerprint, answer) = if self.legacy_tls {
            let session = deadline
                .step(
                    "the TLS handshake",
                    legacy::handshake(connected, &self.endpoint, &trusted),
                )
                .await??;
            let answer = request::glance(session.stream, &self.endpoint, &deadline).await?;
            (session.certificate, session.fingerprint, answer)
        } else {
            let session = modern::handshake(connected, &self.endpoint, &trusted, &deadline).await?;
            let answer = request::glance(session.stream, &self.endpoint, &deadline).await?;
            (session.certificate, session.fingerprint, answer)
        };
        Ok(Sight {
            certificate,
            fingerprint,
            is_known: trusted.unpinned().is_none(),
            status: answer.status,
            date: answer.date,
        })
    }

    /// Reads what is trusted, and connects.
    async fn connect(
        &self,
        deadline: &Deadline,
    ) -> Result<(Arc<Trusted>, Connected), ManagerError> {
        let trusted = deadline
            .step(
                "reading what is trusted",
                Trusted::load(&self.trust, &self.endpoint),
            )
            .await??;
        let addresses = deadline
            .step("looking up its name", self.resolver.resolve(&self.endpoint))
            .await?
            .map_err(|reason| ManagerError::Resolve {
                endpoint: self.endpoint.clone(),
                reason,
            })?;
        let connected = connect::first_that_answers(&self.endpoint, &addresses, deadline).await?;
        Ok((Arc::new(trusted), connected))
    }

    /// Keeps the fingerprint of a certificate that proved to own its key, when it is the first
    /// for this endpoint. Of several first logins at once, one pins; the others are compared.
    async fn keep_pin(
        &self,
        trusted: &Trusted,
        fingerprint: Fingerprint,
        deadline: &Deadline,
    ) -> Result<(), ManagerError> {
        let Some(file) = trusted.unpinned() else {
            return Ok(());
        };
        deadline
            .step(
                "keeping its fingerprint",
                pin::keep(file, &self.endpoint, fingerprint),
            )
            .await?
    }
}

/// A TLS connection whose handshake is complete and whose certificate was accepted. Only this
/// may carry credentials.
struct Session<S> {
    stream: S,
    fingerprint: Fingerprint,
    /// In DER.
    certificate: Vec<u8>,
}
