//! What an old manager speaks, for the error that refuses it.

use std::fmt;

use openssl::nid::Nid;
use openssl::pkey::Id;
use openssl::ssl::SslRef;
use openssl::x509::X509Ref;

/// What a handshake with a manager agreed on when everything was allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// As OpenSSL names it: `TLSv1`, `TLSv1.1`, `TLSv1.2`, `TLSv1.3`.
    pub protocol: String,
    /// As OpenSSL names it: `ECDHE-RSA-AES128-SHA`.
    pub cipher: String,
    /// Whether the cipher is AEAD (GCM, CCM, ChaCha20-Poly1305).
    pub aead: bool,
    /// Whether the key exchange is ephemeral (ECDHE, or any of TLS 1.3).
    pub ephemeral: bool,
    /// The certificate, if it could be read.
    pub certificate: Option<PeerCertificate>,
}

/// What a manager's certificate is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    /// The X.509 version: 1 or 3.
    pub version: i32,
    /// `RSA`, `EC`, …
    pub key_type: String,
    /// Bits of the key.
    pub key_bits: u32,
    /// `sha1WithRSAEncryption`, …
    pub signature: String,
}

impl Peer {
    /// What a complete handshake agreed on.
    pub(super) fn of(ssl: &SslRef) -> Self {
        // OpenSSL gives these two properties of a cipher in its description only:
        // "AES128-SHA  TLSv1.2 Kx=RSA  Au=RSA  Enc=AES(128)  Mac=SHA1".
        let (cipher, description) = match ssl.current_cipher() {
            Some(cipher) => (cipher.name().to_owned(), cipher.description()),
            None => ("no cipher".to_owned(), String::new()),
        };
        Self {
            protocol: ssl.version_str().to_owned(),
            cipher,
            aead: description.contains("Mac=AEAD"),
            ephemeral: description.contains("Kx=ECDH") || description.contains("Kx=any"),
            certificate: ssl
                .peer_certificate()
                .map(|certificate| PeerCertificate::of(&certificate)),
        }
    }

    /// Everything about this manager that modern TLS refuses. Empty when none of it is known.
    #[must_use]
    pub fn shortcomings(&self) -> Vec<String> {
        let mut found = Vec::new();
        if !matches!(self.protocol.as_str(), "TLSv1.2" | "TLSv1.3") {
            found.push(format!(
                "{} is too old (TLS 1.2 or 1.3 is needed)",
                self.protocol
            ));
        }
        if !self.aead {
            found.push(format!(
                "{} is not an AEAD cipher (GCM or ChaCha20-Poly1305 is needed)",
                self.cipher
            ));
        }
        if !self.ephemeral {
            found.push("the key exchange is not ECDHE".to_owned());
        }
        if let Some(certificate) = &self.certificate {
            if certificate.version < 3 {
                found.push(format!(
                    "the certificate is X.509 v{} (v3 is needed)",
                    certificate.version
                ));
            }
            if certificate.key_type == "RSA" && certificate.key_bits < 2048 {
                found.push(format!(
                    "RSA of {} bits is too short (2048 are needed)",
                    certificate.key_bits
                ));
            }
            let signature = certificate.signature.to_ascii_lowercase();
            if signature.contains("sha1") || signature.contains("md5") {
                found.push(format!(
                    "the certificate is signed with {}",
                    certificate.signature
                ));
            }
        }
        found
    }
}

impl PeerCertificate {
    fn of(certificate: &X509Ref) -> Self {
        let (key_type, key_bits) = match certificate.public_key() {
            Ok(key) => (
                match key.id() {
                    Id::RSA => "RSA".to_owned(),
                    Id::EC => "EC".to_owned(),
                    Id::DSA => "DSA".to_owned(),
                    other => name_of(Nid::from_raw(other.as_raw())),
                },
                key.bits(),
            ),
            Err(_) => ("unreadable".to_owned(), 0),
        };
        Self {
            // Counted from 0 in the encoding (RFC 5280, 4.1.2.1).
            version: certificate.version() + 1,
            key_type,
            key_bits,
            signature: name_of(certificate.signature_algorithm().object().nid()),
        }
    }
}

fn name_of(nid: Nid) -> String {
    nid.long_name().unwrap_or("an unknown algorithm").to_owned()
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with the cipher {}", self.protocol, self.cipher)?;
        match &self.certificate {
            Some(certificate) => write!(
                f,
                " and an X.509 v{} certificate ({} key of {} bits, signed with {})",
                certificate.version,
                certificate.key_type,
                certificate.key_bits,
                certificate.signature,
            ),
            None => f.write_str(" and no readable certificate"),
        }
    }
}
