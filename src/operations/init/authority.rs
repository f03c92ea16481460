//! The certificates: an authority of this node's own, and the server's.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData as _, SanType, date_time_ymd,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

use super::names::Names;

/// Clocks of clients may be slow.
const BACKDATED: Duration = Duration::from_secs(24 * 3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The authority of a node: it signs the certificates of that node only.
pub(super) struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
    /// Its end, seconds since 1970.
    until: u64,
}

/// A server's certificate with its key.
pub(super) struct Server {
    pub(super) certificate_pem: String,
    pub(super) key_pem: String,
}

impl Authority {
    /// A new one. Its name has random digits in it: trust stores look authorities up by name, and
    /// another node, or this one after a new start, has another key.
    pub(super) fn new(names: &Names, days: u32) -> anyhow::Result<Authority> {
        let key = KeyPair::generate().context("cannot make a key")?;
        let mark = uuid::Uuid::new_v4().simple().to_string();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(
            DnType::CommonName,
            format!("coriolis-ovm-exporter {} {}", names.host, &mark[..8]),
        );
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let until = dates(&mut params, u64::from(days) * 2, None)?;
        let certificate = params.self_signed(&key).context("cannot sign")?;
        Ok(Authority {
            pem: certificate.pem(),
            issuer: Issuer::new(params, key),
            until,
        })
    }

    /// One that an earlier run has made.
    pub(super) fn load(certificate: &Path, key: &Path) -> anyhow::Result<Authority> {
        let read = |path: &Path| {
            fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
        };
        let pem = read(certificate)?;
        let unusable = |path: &Path| format!("{} cannot be used", path.display());
        let der = CertificateDer::from_pem_slice(pem.as_bytes())
            .map_err(|_| anyhow::anyhow!("it holds no certificate in PEM form"))
            .with_context(|| unusable(certificate))?;
        let (_, parsed) = X509Certificate::from_der(&der).with_context(|| unusable(certificate))?;
        // The error's own text could quote the file.
        let signing = KeyPair::from_pem(&read(key)?)
            .map_err(|_| anyhow::anyhow!("it holds no private key of a kind that can sign"))
            .with_context(|| unusable(key))?;
        if parsed.public_key().raw != signing.subject_public_key_info() {
            bail!(
                "{} is not the key of {}; bring the right one back, or move both away for a new \
                 authority",
                key.display(),
                certificate.display()
            );
        }
        let until = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0);
        if until <= now()? {
            bail!(
                "the authority {} has expired; move it and {} away for a new one",
                certificate.display(),
                key.display()
            );
        }
        let issuer = Issuer::from_ca_cert_der(&der, signing)
            .with_context(|| format!("{} is no authority", certificate.display()))?;
        Ok(Authority { pem, issuer, until })
    }

    pub(super) fn pem(&self) -> &str {
        &self.pem
    }

    pub(super) fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// A server's certificate for all names and addresses.
    pub(super) fn server(&self, names: &Names, days: u32) -> anyhow::Result<Server> {
        let key = KeyPair::generate().context("cannot make a key")?;
        let mut params = CertificateParams::new(names.names.clone())
            .context("a name cannot stand in a certificate")?;
        let addresses = names.addresses.iter();
        params
            .subject_alt_names
            .extend(addresses.map(|address| SanType::IpAddress(*address)));
        let common = names.names.first().map_or("localhost", String::as_str);
        params
            .distinguished_name
            .push(DnType::CommonName, common.to_owned());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        dates(&mut params, u64::from(days), Some(self.until))?;
        let certificate = params
            .signed_by(&key, &self.issuer)
            .context("cannot sign")?;
        Ok(Server {
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        })
    }
}

/// Sets both dates, the second not after `limit`, and gives it back in seconds since 1970.
fn dates(params: &mut CertificateParams, days: u64, limit: Option<u64>) -> anyhow::Result<u64> {
    let now = now()?;
    let until = now.saturating_add(DAY.as_secs().saturating_mul(days));
    let until = limit.map_or(until, |limit| until.min(limit));
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + Duration::from_secs(now).saturating_sub(BACKDATED);
    params.not_after = epoch + Duration::from_secs(until);
    Ok(until)
}

fn now() -> anyhow::Result<u64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Ok(since
        .context("this node's clock stands before 1970; set it")?
        .as_secs())
}
