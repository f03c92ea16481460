//! What a worker answers, and what its refusals mean.

use std::error::Error;
use std::io;
use std::time::Duration;

use reqwest::{Response, StatusCode};
use rustls::AlertDescription;

use crate::causes;
use crate::client::wire::NoAnswer;

/// Bytes of an answer that are read. None has many.
const LARGEST: usize = 64 << 10;
/// Letters of a reason that are passed on.
const REASON: usize = 200;

/// Why a call has not worked.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// The worker has said no.
    #[error("it answers {status}{}", said(.reason))]
    Refused { status: StatusCode, reason: String },
    /// There was no answer.
    #[error("{}", causes::of(.0))]
    Transport(#[from] NoAnswer),
    #[error("no answer within {} s", .0.as_secs())]
    Silent(Duration),
    #[error("its answer cannot be understood: {0}")]
    Malformed(String),
    /// It is asked for a checksum, and does not know how.
    #[error("it makes no checksums: it answers {status}{}", said(.reason))]
    NoChecksums { status: StatusCode, reason: String },
    /// The run was given up, and this with it.
    #[error("it was given up")]
    GivenUp,
}

impl CallError {
    /// Whether the same call may work later. A refusal of one side's certificate stays.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            CallError::Refused { status, .. } => matches!(
                *status,
                StatusCode::REQUEST_TIMEOUT
                    | StatusCode::TOO_MANY_REQUESTS
                    | StatusCode::INTERNAL_SERVER_ERROR
                    | StatusCode::BAD_GATEWAY
                    | StatusCode::SERVICE_UNAVAILABLE
                    | StatusCode::GATEWAY_TIMEOUT
            ),
            CallError::Transport(NoAnswer::General(error)) if error.is_builder() => false,
            CallError::Transport(error) => !is_distrust(error),
            CallError::Silent(_) => true,
            CallError::Malformed(_) | CallError::NoChecksums { .. } | CallError::GivenUp => false,
        }
    }

    /// The same of a call for the device itself: somebody else may let go of it.
    pub(super) fn is_transient_for_device(&self) -> bool {
        let is_held = matches!(
            self,
            CallError::Refused {
                status: StatusCode::CONFLICT | StatusCode::LOCKED,
                ..
            }
        );
        is_held || self.is_transient()
    }

    pub(super) fn kind(&self) -> io::ErrorKind {
        match self {
            CallError::Refused { status, .. } => match *status {
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => io::ErrorKind::PermissionDenied,
                StatusCode::NOT_FOUND => io::ErrorKind::NotFound,
                StatusCode::CONFLICT | StatusCode::LOCKED => io::ErrorKind::ResourceBusy,
                StatusCode::INSUFFICIENT_STORAGE => io::ErrorKind::StorageFull,
                _ => io::ErrorKind::Other,
            },
            CallError::Transport(error) if is_distrust(error) => io::ErrorKind::PermissionDenied,
            CallError::Transport(_) => io::ErrorKind::NotConnected,
            CallError::Silent(_) => io::ErrorKind::TimedOut,
            CallError::Malformed(_) => io::ErrorKind::InvalidData,
            CallError::NoChecksums { .. } => io::ErrorKind::Unsupported,
            CallError::GivenUp => io::ErrorKind::Other,
        }
    }

    /// The same of the first call for a checksum, of a device that is there and ours.
    pub(super) fn of_checksum(self) -> CallError {
        match self {
            CallError::Refused { status, reason }
                if matches!(
                    status,
                    StatusCode::BAD_REQUEST
                        | StatusCode::NOT_FOUND
                        | StatusCode::METHOD_NOT_ALLOWED
                        | StatusCode::UNPROCESSABLE_ENTITY
                        | StatusCode::NOT_IMPLEMENTED
                ) =>
            {
                CallError::NoChecksums { status, reason }
            }
            error => error,
        }
    }

    /// What somebody can do about it.
    pub(super) fn advice(&self) -> &'static str {
        match self {
            CallError::Refused { status, .. } => match *status {
                StatusCode::CONFLICT | StatusCode::LOCKED => {
                    "another client holds the volume: end that one, or start the worker anew"
                }
                StatusCode::NOT_FOUND => "see that the volume is attached to the worker",
                _ => "see the worker's log",
            },
            CallError::Transport(error) if is_distrust(error) => {
                "see that authority, certificate and key are those of this worker"
            }
            CallError::Malformed(_) => "see that it is Coriolis's writer that answers there",
            CallError::Transport(_) | CallError::Silent(_) => {
                "see that the worker runs and can be reached"
            }
            CallError::NoChecksums { .. } => "see whether a newer worker does",
            CallError::GivenUp => "run again",
        }
    }
}

/// Whether one of the two sides does not accept the other's certificate.
fn is_distrust(error: &NoAnswer) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(one) = cause {
        if let Some(tls) = one.downcast_ref::<rustls::Error>() {
            return is_distrust_of(tls);
        }
        cause = match one.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            // An I/O error is not the source of what it has inside.
            Some(inner) => Some(inner),
            None => one.source(),
        };
    }
    false
}

fn is_distrust_of(error: &rustls::Error) -> bool {
    match error {
        rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented => true,
        rustls::Error::AlertReceived(alert) => matches!(
            alert,
            AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnknownCA
                | AlertDescription::AccessDenied
                | AlertDescription::CertificateRequired
                // Of another authority with the same name: every worker has its own.
                | AlertDescription::DecryptError
                | AlertDescription::HandshakeFailure
        ),
        _ => false,
    }
}

fn said(reason: &str) -> String {
    if reason.is_empty() {
        String::new()
    } else {
        format!(" ({reason})")
    }
}

/// The body of a success.
pub(super) async fn accepted(mut response: Response) -> Result<Vec<u8>, CallError> {
    let status = response.status();
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(NoAnswer::General)? {
        let room = LARGEST - body.len();
        body.extend_from_slice(&piece[..piece.len().min(room)]);
        if body.len() == LARGEST {
            break;
        }
    }
    if status.is_success() {
        return Ok(body);
    }
    Err(CallError::Refused {
        status,
        reason: readable(&body),
    })
}

/// What a worker says, on one line.
pub(super) fn readable(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let words: Vec<&str> = text.split_whitespace().collect();
    let plain = words.join(" ");
    let letters = plain.chars().filter(|letter| !letter.is_control());
    letters.take(REASON).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16) -> CallError {
        CallError::Refused {
            status: StatusCode::from_u16(status).unwrap(),
            reason: readable(b"no\n such\x1b device "),
        }
    }

    #[test]
    fn what_a_refusal_says_is_on_one_line() {
        assert_eq!(
            refused(404).to_string(),
            "it answers 404 Not Found (no such device)"
        );
        assert_eq!(readable(&[b'a'; 5000]).len(), REASON);
        assert_eq!(readable(&[0xff, 0]), "\u{fffd}");
    }

    #[test]
    fn what_may_pass_is_tried_again() {
        for (status, later, for_device) in [
            (500, true, true),
            (503, true, true),
            (429, true, true),
            (408, true, true),
            (409, false, true),
            (423, false, true),
            (507, false, false),
            (400, false, false),
            (403, false, false),
            (404, false, false),
            (302, false, false),
        ] {
            let error = refused(status);
            assert_eq!(error.is_transient(), later, "{status}");
            assert_eq!(error.is_transient_for_device(), for_device, "{status}");
        }
        assert!(CallError::Silent(Duration::ZERO).is_transient());
        assert!(!CallError::GivenUp.is_transient());
    }

    #[test]
    fn a_worker_that_knows_no_checksums_is_told_from_one_that_cannot_now() {
        for (status, expected) in [
            (400, io::ErrorKind::Unsupported),
            (404, io::ErrorKind::Unsupported),
            (405, io::ErrorKind::Unsupported),
            (501, io::ErrorKind::Unsupported),
            (403, io::ErrorKind::PermissionDenied),
            (409, io::ErrorKind::ResourceBusy),
            (500, io::ErrorKind::Other),
            (503, io::ErrorKind::Other),
        ] {
            assert_eq!(refused(status).of_checksum().kind(), expected, "{status}");
        }
        assert!(!refused(404).of_checksum().is_transient());
    }

    #[test]
    fn only_certificates_are_distrusted() {
        use rustls::{CertificateError, Error};
        for (error, expected) in [
            (
                Error::InvalidCertificate(CertificateError::UnknownIssuer),
                true,
            ),
            (
                Error::AlertReceived(AlertDescription::CertificateRequired),
                true,
            ),
            (Error::AlertReceived(AlertDescription::InternalError), false),
            (Error::DecryptError, false),
        ] {
            assert_eq!(is_distrust_of(&error), expected, "{error}");
        }
    }
}
