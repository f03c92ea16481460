//! Why there is no verdict.

use std::path::PathBuf;

use super::endpoint::Endpoint;
use super::fingerprint::Fingerprint;
use super::peer::Peer;
use super::resolve::ResolveError;

/// Why the manager could not be asked. No variant holds a user name or a password.
#[derive(Debug, thiserror::Error)]
pub enum ManagerError {
    /// The name has no address.
    #[error("the Oracle VM Manager {endpoint} has no address: {reason}")]
    Resolve {
        /// The manager.
        endpoint: Endpoint,
        /// Why.
        reason: ResolveError,
    },
    /// Nothing listens there, or nothing can be reached.
    #[error("the Oracle VM Manager {endpoint} cannot be reached: {refusals}")]
    Connect {
        /// The manager.
        endpoint: Endpoint,
        /// Every address that was tried, with its reason.
        refusals: String,
    },
    /// The check took too long as a whole.
    #[error(
        "the Oracle VM Manager {endpoint} gave no verdict within {seconds} s (stopped at: {doing})"
    )]
    Timeout {
        /// The manager.
        endpoint: Endpoint,
        /// The step that was not finished.
        doing: &'static str,
        /// The bound of the whole check.
        seconds: f64,
    },
    /// What answers does not speak TLS.
    #[error(
        "{endpoint} does not speak TLS: is it the HTTPS port of the Oracle VM Manager (usually 7002)?"
    )]
    NotTls {
        /// The manager.
        endpoint: Endpoint,
    },
    /// The handshake failed, and older TLS does not work either.
    #[error("no TLS connection to the Oracle VM Manager {endpoint}: {reason}")]
    Handshake {
        /// The manager.
        endpoint: Endpoint,
        /// What the TLS libraries say.
        reason: String,
    },
    /// The manager's TLS or its certificate is too old to be used without the opt-in key.
    #[error("{}", old_tls(endpoint, peer, reason))]
    OldTls {
        /// The manager.
        endpoint: Endpoint,
        /// What it speaks.
        peer: Box<Peer>,
        /// What the TLS library refused.
        reason: String,
    },
    /// The certificate is another one than at the first login.
    #[error(
        "the certificate of the Oracle VM Manager {endpoint} has changed: its SHA-256 is \
         {}, pinned in {pin_file} is {}. No credentials were sent. If the manager \
         has a new certificate, delete its line in that file (or the file), or set \
         ovm_ca_certificate; if not, somebody stands between",
        change.presented,
        change.pinned
    )]
    PinChanged {
        /// The manager.
        endpoint: Endpoint,
        /// Both fingerprints.
        change: Box<PinChange>,
        /// Where the pin is kept.
        pin_file: PathBuf,
    },
    /// The file of pins cannot be used.
    #[error(
        "the pinned certificates in {pin_file} cannot be used: {reason}. No credentials were \
         sent. Repair the file, or delete it so that the next login pins anew"
    )]
    PinFile {
        /// The file.
        pin_file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The CA file does not vouch for the certificate.
    #[error(
        "the certificate of the Oracle VM Manager {endpoint} (SHA-256 {presented}) is not trusted \
         by ovm_ca_certificate {ca_file}: {reason}. No credentials were sent"
    )]
    Untrusted {
        /// The manager.
        endpoint: Endpoint,
        /// `ovm_ca_certificate`.
        ca_file: PathBuf,
        /// What the manager shows.
        presented: Fingerprint,
        /// What is wrong with it.
        reason: String,
    },
    /// The CA file cannot be used.
    #[error("ovm_ca_certificate {ca_file} cannot be used: {reason}")]
    CaFile {
        /// `ovm_ca_certificate`.
        ca_file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The request could not be put together. Says no more, because it holds the credentials.
    #[error("no request to the Oracle VM Manager {endpoint} can be made of its host name")]
    Request {
        /// The manager.
        endpoint: Endpoint,
    },
    /// The connection broke, or the answer is not HTTP.
    #[error("the Oracle VM Manager {endpoint} gave no HTTP answer: {reason}")]
    Http {
        /// The manager.
        endpoint: Endpoint,
        /// What the HTTP library says.
        reason: String,
    },
    /// An answer that is neither yes nor no.
    #[error(
        "the Oracle VM Manager {endpoint} answered with status {status}{to}: neither 200 \
         (accepted) nor 401 or 403 (refused)"
    )]
    Status {
        /// The manager.
        endpoint: Endpoint,
        /// The HTTP status.
        status: u16,
        /// Where a redirect leads: `""` or ` to "…"`.
        to: String,
    },
    /// A page for people where the list of ids is expected.
    #[error("{endpoint} answered with a web page: it is not the interface of an Oracle VM Manager")]
    NotAManager {
        /// What is configured as the manager.
        endpoint: Endpoint,
    },
}

/// The certificate that is pinned and the one that was shown instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PinChange {
    /// What was kept at the first login.
    pub pinned: Fingerprint,
    /// What the manager shows now.
    pub presented: Fingerprint,
}

impl ManagerError {
    /// What to do about it, where its text does not say that already.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            ManagerError::Resolve { .. } => {
                "correct the name in ovm_endpoint, or make this node's DNS or /etc/hosts know it"
            }
            ManagerError::Connect { .. } => {
                "see that the manager runs, that ovm_endpoint has its address and port, and that no \
                 firewall is between"
            }
            ManagerError::Timeout { .. } => {
                "see whether the manager is too busy, or hangs, and whether a firewall drops what \
                 goes there"
            }
            ManagerError::NotTls { .. } => {
                "set ovm_endpoint to the manager's HTTPS port, 7002 as a rule"
            }
            ManagerError::Handshake { .. } => {
                "see what `openssl s_client -connect HOST:PORT` says on this node, and the manager's log"
            }
            ManagerError::OldTls { .. } => {
                "upgrade the manager or its certificate, or set ovm_legacy_tls = true"
            }
            ManagerError::PinChanged { .. } => {
                "ask who runs the manager whether its certificate was renewed; only then delete the pin"
            }
            ManagerError::PinFile { .. } => "repair that file, or delete it",
            ManagerError::Untrusted { .. } => {
                "set ovm_ca_certificate to the authority that signed the manager's certificate, which \
                 has to name the host of ovm_endpoint"
            }
            ManagerError::CaFile { .. } => {
                "put the manager's authority there, in PEM form, or remove ovm_ca_certificate"
            }
            ManagerError::Request { .. } => "correct the name in ovm_endpoint",
            ManagerError::Http { .. } | ManagerError::NotAManager { .. } => WRONG_ANSWER,
            ManagerError::Status { status, .. } => advice_for(*status),
        }
    }
}

/// What to do where something answers that is no manager.
const WRONG_ANSWER: &str =
    "see that ovm_endpoint is the Oracle VM Manager's own address and port, with no proxy between";

/// What to do where the manager answers with such a status.
#[must_use]
pub fn advice_for(status: u16) -> &'static str {
    match status {
        500.. => "look at the manager's log; while it starts, wait",
        _ => WRONG_ANSWER,
    }
}

fn old_tls(endpoint: &Endpoint, peer: &Peer, reason: &str) -> String {
    let shortcomings = peer.shortcomings();
    let shortcomings = match shortcomings.is_empty() {
        true => String::new(),
        false => format!(": {}", shortcomings.join("; ")),
    };
    format!(
        "the TLS of the Oracle VM Manager {endpoint} is refused{shortcomings}. It speaks {peer} \
         ({reason}). No credentials were sent. Upgrade the manager or its certificate, or set \
         ovm_legacy_tls = true in the configuration to allow this for the connection to the \
         manager only"
    )
}
