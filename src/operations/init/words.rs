//! What the admin is told: what was made and what was left, what the orchestrator needs, and what
//! to do next. No secret is in it.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::Context as _;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::super::service_files::{InitSystem, JOB_COMES_BY, UNIT_COMES_BY};
use super::names::Names;
use super::plan::{Paths, is_there};
use super::stage::NewFile;
use crate::config;
use crate::ovm::manager::Fingerprint;
use crate::shell_word;

/// A line for each file.
pub(super) fn files(paths: &Paths, made: &[NewFile], directory_mode: u32) -> String {
    let mut text = String::new();
    for path in paths.all() {
        let line = match made.iter().find(|file| file.path == path) {
            Some(file) => format!("made: {} (mode {:04o})", path.display(), file.mode),
            None if is_there(path) => {
                format!("left: {} was there already", path.display())
            }
            None => continue,
        };
        text += &(line + "\n");
    }
    if directory_mode & 0o077 != 0 {
        let (directory, word) = (paths.directory.display(), shell_word::of(&paths.directory));
        let _ = writeln!(
            text,
            "note: {directory} has the mode {directory_mode:04o}; chmod 700 {word} keeps others out"
        );
    }
    text
}

/// What comes next.
pub(super) fn next(paths: &Paths, names: &Names) -> anyhow::Result<String> {
    let config = config::load(&paths.config)?.config;
    let endpoint = format!("https://{}:{}", names.preferred, config.api.port);
    let mut text = format!("\nFor the orchestrator\n  endpoint     {endpoint}\n");
    // Somebody else's authority may be anywhere.
    let authority = is_there(&paths.authority).then_some(&paths.authority);
    if let Some(authority) = authority {
        let _ = writeln!(text, "  authority    {}", authority.display());
        let _ = writeln!(text, "    SHA-256    {}", fingerprint(authority)?);
    } else {
        text += "  authority    the one that signed the certificate below\n";
    }
    let _ = writeln!(text, "  certificate  {}", paths.certificate.display());
    let _ = writeln!(text, "    SHA-256    {}", fingerprint(&paths.certificate)?);
    if let Some(authority) = authority {
        let pem = fs::read_to_string(authority)
            .with_context(|| format!("cannot read {}", authority.display()))?;
        let _ = write!(text, "\n{}\n", pem.trim_end());
    }
    let option = match paths.config == Path::new("/etc/coriolis-ovm-exporter/config.toml") {
        true => String::new(),
        false => format!(" --config {}", shell_word::of(&paths.config)),
    };
    let start = start(&InitSystem::of(Path::new("/")), &option);
    let trusted = authority.unwrap_or(&paths.certificate);
    let _ = write!(
        text,
        "\nNext\n  {start}\n  coriolis-ovm-exporter{option} doctor\n\n{}",
        with_curl(trusted, config.api.port)
    );
    if is_there(&paths.authority_key) {
        let _ = writeln!(
            text,
            "To renew the certificate, move {} and {} away and run init again: the authority \
             stays, so clients need nothing new.",
            paths.certificate.display(),
            paths.key.display()
        );
    }
    Ok(text)
}

/// What to paste into a shell on the node: log in, take a snapshot, list it, delete it. What a dot
/// stands for is the reader's. `scripts/test-node.sh` pastes it.
fn with_curl(trusted: &Path, port: u16) -> String {
    let trusted = shell_word::of(trusted);
    let ask = |more: &str| format!("  curl -s --cacert \"$CA\" -H \"$AUTH\" {more}\n");
    let [machines, take, list, delete] = [
        "$API/vms",
        "-X POST $API/vms/$VM/snapshots",
        "$API/vms/$VM/snapshots",
        "-X DELETE $API/vms/$VM/snapshots/$SNAPSHOT",
    ]
    .map(ask);
    format!(
        "Then, with curl, as a user of the Oracle VM Manager\n  \
         API=https://localhost:{port}/api/v1 CA={trusted}\n  \
         TOKEN=$(curl -s --cacert \"$CA\" -d '{{\"username\":\"admin\",\"password\":\"…\"}}' $API/auth/login |\n    \
         sed 's/.*\"token\":\"\\([^\"]*\\)\".*/\\1/')\n  \
         AUTH=\"Authorization: Bearer $TOKEN\"\n\
         {machines}  VM=…          # an id of that list\n\
         {take}  SNAPSHOT=…    # the id in that answer\n\
         {list}{delete}\
         The curl of Oracle Linux 6 also needs: --tlsv1.2 --ciphers ecdhe_ecdsa_aes_128_gcm_sha_256\n"
    )
}

/// How the daemon is started, and what has to be there before, where it is not.
fn start(found: &InitSystem, option: &str) -> String {
    let by_hand = format!("coriolis-ovm-exporter{option}");
    let (command, missing) = match found {
        InitSystem::Systemd(unit) => (
            "systemctl enable --now coriolis-ovm-exporter",
            unit.is_none().then_some(UNIT_COMES_BY),
        ),
        InitSystem::Upstart(job) => (
            "start coriolis-ovm-exporter",
            job.is_none().then_some(JOB_COMES_BY),
        ),
        InitSystem::Other => (
            by_hand.as_str(),
            Some("neither systemd nor upstart runs here; whatever starts services has to start"),
        ),
    };
    match missing {
        None => command.to_owned(),
        Some(missing) => format!("# {missing}\n  {command}"),
    }
}

fn fingerprint(path: &Path) -> anyhow::Result<Fingerprint> {
    let pem = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let der = CertificateDer::from_pem_slice(&pem)
        .map_err(|_| anyhow::anyhow!("{} holds no certificate in PEM form", path.display()))?;
    Ok(Fingerprint::of(&der))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_to_start_it_says_what_is_missing() {
        let unit = Some(("/usr/lib/systemd/system/x".into(), false));
        let enable = "systemctl enable --now coriolis-ovm-exporter";
        assert_eq!(start(&InitSystem::Systemd(unit), " --config x"), enable);
        let told = start(&InitSystem::Systemd(None), " --config x");
        assert!(told.starts_with("# install the RPM or DEB"), "{told}");
        assert!(told.ends_with(enable), "{told}");
        let told = start(&InitSystem::Upstart(None), " --config x");
        assert!(told.contains("/etc/init"), "{told}");
        assert!(start(&InitSystem::Other, " --config x").starts_with("# neither"));
    }
}
