//! The server's own certificate: what it is for, and how long it is good.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

use super::finding::Finding;
use super::round::Notes;
use crate::config::Config;
use crate::server::tls::{ServerTls, TlsFiles};

const CHECK: &str = "certificate";
/// A certificate that ends sooner is worth a warning.
const SOON: i64 = 30 * 24 * 3600;

pub(super) fn check(notes: &Notes, config: &Config) {
    let tls = &config.api.tls;
    let (Some(certificate), Some(key)) = (&tls.certificate, &tls.key) else {
        let advice = "set both, or make them: coriolis-ovm-exporter init";
        let message = "api.tls.certificate or api.tls.key is not set";
        return notes.found(Finding::bad(CHECK, message, advice));
    };
    // What the daemon does with them at its start.
    let files = TlsFiles {
        certificate: certificate.clone(),
        key: key.clone(),
        client_authority: tls
            .ca_certificate
            .clone()
            .filter(|_| tls.require_client_certificate),
    };
    if let Err(error) = ServerTls::load(files) {
        let advice = "put certificate and key of one pair there, then reload the daemon";
        return notes.found(Finding::bad(CHECK, error.to_string(), advice));
    }
    let Some(der) = first(certificate) else {
        return;
    };
    notes.found(match until(&der) {
        Ok((from, until)) => judge(from, until, now()).of(certificate.display()),
        Err(reason) => {
            let message = format!("it cannot be read: {reason}");
            Finding::bad(CHECK, message, "put another one there").of(certificate.display())
        }
    });
}

/// The first certificate of a PEM file.
pub(super) fn first(path: &std::path::Path) -> Option<CertificateDer<'static>> {
    CertificateDer::from_pem_slice(&fs::read(path).ok()?).ok()
}

/// Both dates of a certificate, in seconds since 1970.
pub(super) fn until(der: &[u8]) -> Result<(i64, i64), String> {
    let (_, parsed) = X509Certificate::from_der(der).map_err(|error| error.to_string())?;
    let validity = parsed.validity();
    Ok((
        validity.not_before.timestamp(),
        validity.not_after.timestamp(),
    ))
}

/// Now, in seconds since 1970.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}

/// A date for people.
pub(super) fn shown(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| "ever".to_owned(), |at| at.to_string())
}

fn judge(from: i64, until: i64, now: i64) -> Finding {
    let renew = "renew it, then reload the daemon (SIGHUP)";
    if until < now {
        return Finding::bad(CHECK, format!("it expired at {}", shown(until)), renew);
    }
    if from > now {
        let message = format!("it is good only from {} on", shown(from));
        return Finding::bad(CHECK, message, "set this node's clock");
    }
    let message = format!("it belongs to its key, and is good until {}", shown(until));
    match until.saturating_sub(now) < SOON {
        true => Finding::warning(CHECK, message, renew),
        false => Finding::good(CHECK, message),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Grade::{Bad, Good, Warning};
    use super::*;

    #[test]
    fn dates() {
        let (from, until) = (1_000, 100_000_000);
        for (now, grade) in [
            (from - 1, Bad),
            (from, Good),
            (until - SOON, Good),
            (until - SOON + 1, Warning),
            (until, Warning),
            (until + 1, Bad),
        ] {
            assert_eq!(judge(from, until, now).grade, grade, "{now}");
        }
    }
}
