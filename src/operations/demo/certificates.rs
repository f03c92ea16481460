//! Certificates for a stand-in node.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Writes `ca-pub.pem`, `srv-pub.pem` and `srv-key.pem`: an authority, and a server certificate
/// for this machine's loopback. Returns the authority in PEM.
///
/// # Errors
/// The file system's.
pub fn write(folder: &Path) -> anyhow::Result<String> {
    let authority_key = rcgen::KeyPair::generate()?;
    let mut parameters = rcgen::CertificateParams::new(Vec::new())?;
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    parameters
        .distinguished_name
        .push(rcgen::DnType::CommonName, "coriolis-ovm-exporter demo");
    let authority = parameters.self_signed(&authority_key)?;
    let issuer = rcgen::Issuer::new(parameters, authority_key);
    let server_key = rcgen::KeyPair::generate()?;
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let server = rcgen::CertificateParams::new(names)?.signed_by(&server_key, &issuer)?;
    fs::write(folder.join("ca-pub.pem"), authority.pem())?;
    fs::write(folder.join("srv-pub.pem"), server.pem())?;
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(folder.join("srv-key.pem"))?
        .write_all(server_key.serialize_pem().as_bytes())?;
    Ok(authority.pem())
}
