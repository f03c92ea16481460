//! Bad files are named with their reason; a bad reload changes nothing.

use super::*;
use std::fs;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn put(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    fn pair(&self, name: &str) -> TlsFiles {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        TlsFiles {
            certificate: self.put(&format!("{name}.pem"), &made.cert.pem()),
            key: self.put(&format!("{name}.key"), &made.signing_key.serialize_pem()),
            client_authority: None,
        }
    }
}

fn refusal(files: TlsFiles) -> String {
    ServerTls::load(files).unwrap_err().to_string()
}

#[test]
fn a_good_pair_speaks_http_1_1_with_aead_suites_fastest_first() {
    let folder = Folder::new();
    let tls = ServerTls::load(folder.pair("a")).unwrap();
    let config = tls.current();
    assert_eq!(config.alpn_protocols, [b"http/1.1".to_vec()]);
    assert!(config.ignore_client_order);
    let names: Vec<_> = config
        .crypto_provider()
        .cipher_suites
        .iter()
        .map(|s| format!("{:?}", s.suite()))
        .collect();
    assert!(names[0].contains("AES_128_GCM"), "{names:?}");
    assert!(
        names
            .iter()
            .all(|n| n.contains("GCM") || n.contains("POLY1305")),
        "{names:?}"
    );
}

#[test]
fn a_missing_file_is_named() {
    let folder = Folder::new();
    let mut files = folder.pair("a");
    files.certificate = folder.0.path().join("absent.pem");
    let said = refusal(files);
    assert!(said.contains("absent.pem"), "{said}");
    assert!(said.contains("No such file"), "{said}");
}

#[test]
fn an_empty_file_has_no_certificate_in_it() {
    let folder = Folder::new();
    let mut files = folder.pair("a");
    files.certificate = folder.put("empty.pem", "nothing here\n");
    let said = refusal(files);
    assert!(said.contains("empty.pem"), "{said}");
    assert!(said.contains("no PEM section"), "{said}");
}

/// What `openssl x509 -req` makes without extensions: of version 1, good otherwise.
#[test]
fn a_certificate_of_version_1_is_not_called_damaged() {
    use openssl::{asn1::Asn1Time, hash::MessageDigest, pkey::PKey, rsa::Rsa, x509::X509Builder};
    let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    let mut made = X509Builder::new().unwrap();
    made.set_pubkey(&key).unwrap();
    let days = |days| Asn1Time::days_from_now(days).unwrap();
    made.set_not_before(&days(0)).unwrap();
    made.set_not_after(&days(300)).unwrap();
    made.sign(&key, MessageDigest::sha256()).unwrap();
    let text = |pem: Vec<u8>| String::from_utf8(pem).unwrap();
    let folder = Folder::new();
    let said = refusal(TlsFiles {
        certificate: folder.put("first.pem", &text(made.build().to_pem().unwrap())),
        key: folder.put("first.key", &text(key.private_key_to_pem_pkcs8().unwrap())),
        client_authority: None,
    });
    for part in [
        "first.pem",
        "X.509 version 1,",
        "needs version 3",
        "-extfile",
    ] {
        assert!(said.contains(part), "no {part}: {said}");
    }
    assert!(!said.contains("damaged"), "{said}");
}

#[test]
fn swapped_files_are_recognised() {
    let folder = Folder::new();
    let files = folder.pair("a");
    let said = refusal(TlsFiles {
        certificate: files.key.clone(),
        key: files.certificate.clone(),
        client_authority: None,
    });
    assert!(said.contains("swapped"), "{said}");
}

#[test]
fn a_key_of_another_certificate_is_refused_with_both_names() {
    let folder = Folder::new();
    let (a, b) = (folder.pair("a"), folder.pair("b"));
    let said = refusal(TlsFiles { key: b.key, ..a });
    assert!(said.contains("a.pem"), "{said}");
    assert!(said.contains("b.key"), "{said}");
    assert!(said.contains("is not the key"), "{said}");
}

#[test]
fn an_encrypted_key_says_what_to_do() {
    let folder = Folder::new();
    let mut files = folder.pair("a");
    files.key = folder.put(
        "locked.key",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    let said = refusal(files);
    assert!(said.contains("passphrase"), "{said}");
}

#[test]
fn damaged_base64_and_damaged_der_are_refused() {
    let folder = Folder::new();
    for (name, body) in [("base64.pem", "!!!!"), ("der.pem", "MAAAAAAA")] {
        let mut files = folder.pair("a");
        files.certificate = folder.put(
            name,
            &format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n"),
        );
        let said = refusal(files);
        assert!(said.contains(name) && said.contains("damaged"), "{said}");
    }
}

#[test]
fn a_huge_file_is_not_read() {
    let folder = Folder::new();
    let mut files = folder.pair("a");
    let disk = folder.0.path().join("disk.img");
    fs::File::create(&disk).unwrap().set_len(64 << 30).unwrap();
    files.certificate = disk;
    assert!(refusal(files).contains("no PEM file"));
}

#[test]
fn an_authority_file_without_certificate_is_refused() {
    let folder = Folder::new();
    let mut files = folder.pair("a");
    files.client_authority = Some(folder.put("ca.pem", ""));
    let said = refusal(files);
    assert!(
        said.contains("ca.pem") && said.contains("authority"),
        "{said}"
    );
}

#[test]
fn a_bad_reload_keeps_the_pair_in_use_and_a_good_one_replaces_it() {
    let folder = Folder::new();
    let files = folder.pair("a");
    let tls = ServerTls::load(files.clone()).unwrap();
    let before = tls.current();
    let other = folder.pair("b");
    // Half of a replacement: the new certificate with the old key.
    fs::copy(&other.certificate, &files.certificate).unwrap();
    assert!(matches!(tls.reload(), Err(TlsError::Mismatch { .. })));
    assert!(Arc::ptr_eq(&before, &tls.current()));
    fs::copy(&other.key, &files.key).unwrap();
    tls.reload().unwrap();
    assert!(!Arc::ptr_eq(&before, &tls.current()));
}
