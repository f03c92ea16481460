//! Whether PEM files hold what the configuration says they hold.

use std::io::Read as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Version;

use super::problem::{Severity, unreadable};
use crate::sys::regular_file;

/// Certificates that end sooner are worth a warning.
const SOON: Duration = Duration::from_secs(30 * 24 * 3600);

/// The certificates of a PEM file, at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let content = read(path)?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&content)
        .collect::<Result<_, _>>()
        .map_err(|error| not_pem(path, "certificate", &error))?;
    if certificates.is_empty() {
        return Err(not_pem(path, "certificate", &pem::Error::NoItemsFound));
    }
    Ok(certificates)
}

/// The private key of a PEM file.
pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let content = read(path)?;
    PrivateKeyDer::from_pem_slice(&content).map_err(|error| not_pem(path, "private key", &error))
}

/// Says so where TLS cannot serve this chain with this key.
pub(super) fn fit_together(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<(), String> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    match CertifiedKey::from_der(chain, key, &provider) {
        Ok(_) => Ok(()),
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err("the key does not belong to the certificate in api.tls.certificate".to_owned())
        }
        Err(error) => Err(format!(
            "TLS cannot use this key with the certificate in api.tls.certificate: {error}"
        )),
    }
}

/// What to say of a certificate that TLS cannot use, since it is of an older version of X.509 than 3: what
/// `openssl x509 -req` makes without extensions.
pub(crate) fn outdated(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let version = parsed.version();
    (version.0 < X509Version::V3.0).then(|| {
        format!(
            "its certificate for \"{}\" is of X.509 version {}, and TLS needs version 3, with the node's \
             names as subjectAltName. Make another one: coriolis-ovm-exporter init does where there is \
             none; or sign with `openssl x509 -req … -extfile FILE`, where FILE has the line \
             subjectAltName = DNS:NODE.EXAMPLE",
            parsed.subject(),
            version.0.saturating_add(1)
        )
    })
}

/// What is wrong with the dates of a certificate, if anything.
pub(crate) fn dates(
    certificate: &CertificateDer<'_>,
    now: SystemTime,
) -> Option<(Severity, String)> {
    let parsed = match X509Certificate::from_der(certificate) {
        Ok((_, parsed)) => parsed,
        Err(error) => {
            return Some((
                Severity::Error,
                format!("its certificate cannot be read: {error}"),
            ));
        }
    };
    let now = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_secs()).ok())?;
    let soon = now.saturating_add_unsigned(SOON.as_secs());
    let validity = parsed.validity();
    let subject = parsed.subject();
    let (from, until) = (validity.not_before, validity.not_after);
    if until.timestamp() < now {
        let message = format!("its certificate for \"{subject}\" expired at {until}; renew it");
        Some((Severity::Error, message))
    } else if from.timestamp() > now {
        let message = format!(
            "its certificate for \"{subject}\" is valid only from {from}; check this node's clock"
        );
        Some((Severity::Error, message))
    } else if until.timestamp() < soon {
        let message = format!("its certificate for \"{subject}\" expires soon, at {until}");
        Some((Severity::Warning, message))
    } else {
        None
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    regular_file::open(path)
        .and_then(|mut file| file.read_to_end(&mut bytes))
        .map_err(|error| unreadable(path, &error))?;
    Ok(bytes)
}

/// The error's own text could quote lines of a key file; only its kind is told.
fn not_pem(path: &Path, what: &str, error: &pem::Error) -> String {
    let path = path.display();
    match error {
        pem::Error::NoItemsFound => format!(
            "{path} has no {what} in PEM form (a block that begins with \"-----BEGIN\"; keys with \
             a password are not supported)"
        ),
        _ => format!("{path} is not a valid PEM file"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair};

    fn certificate(not_before: i32, not_after: i32) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec!["node".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(not_before, 1, 1);
        params.not_after = rcgen::date_time_ymd(not_after, 1, 1);
        params
            .self_signed(&KeyPair::generate().unwrap())
            .unwrap()
            .der()
            .clone()
    }

    #[test]
    fn dates_are_compared_with_the_clock() {
        let certificate = certificate(2020, 2030);
        // 2020-01-01 and 2030-01-01 in seconds since 1970.
        let (from, until) = (1_577_836_800, 1_893_456_000);
        let month = 30 * 86_400;
        let table = [
            (from - 1, Some((Severity::Error, "valid only from"))),
            (from, None),
            (until - month, None),
            (until - month + 1, Some((Severity::Warning, "expires soon"))),
            (until, Some((Severity::Warning, "expires soon"))),
            (until + 1, Some((Severity::Error, "expired at"))),
        ];
        for (now, expected) in table {
            let found = dates(
                &certificate,
                SystemTime::UNIX_EPOCH + Duration::from_secs(now),
            );
            match (expected, found) {
                (None, None) => {}
                (Some((severity, text)), Some((found, message))) => {
                    assert_eq!(severity, found, "at {now}");
                    assert!(message.contains(text), "at {now}: {message}");
                }
                (expected, found) => panic!("at {now}: {expected:?}, but {found:?}"),
            }
        }
    }

    #[test]
    fn no_certificate_is_no_date() {
        let garbage = CertificateDer::from(vec![1, 2, 3]);
        let (severity, message) = dates(&garbage, SystemTime::now()).unwrap();
        assert_eq!(severity, Severity::Error);
        assert!(message.contains("cannot be read"), "{message}");
    }
}
