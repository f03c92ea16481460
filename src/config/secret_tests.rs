use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{chown, symlink};

use super::*;
use crate::config::SecretText;

fn configured(folder: &Path, secret: Option<&str>) -> Config {
    let mut config = Config {
        db_file: folder.join("exporter.db"),
        ..Config::default()
    };
    config.jwt.secret = secret.map(|text| SecretText::new(text.to_owned()));
    config
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn a_good_secret_is_used_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    for good in [
        "0123456789abcdef0123456789abcdef",
        " 0123456789abcdef0123456789abcdef\n",
        &"é".repeat(16),
        &format!("{PUBLIC_SAMPLE}x"),
    ] {
        let (secret, warnings) = resolve(&configured(folder.path(), Some(good))).unwrap();
        assert_eq!(secret.as_bytes(), good.as_bytes());
        assert_eq!(warnings, []);
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn an_unfit_secret_is_replaced_by_a_kept_one() {
    let padded = format!("\t {PUBLIC_SAMPLE} \n");
    let spaces = " ".repeat(64);
    let table = [
        (None, Unfit::Absent, "is not set"),
        (Some(""), Unfit::Short, "shorter than 32 bytes"),
        (
            Some("0123456789abcdef0123456789abcde"),
            Unfit::Short,
            "shorter than 32 bytes",
        ),
        (Some(&spaces), Unfit::Short, "shorter than 32 bytes"),
        (
            Some(PUBLIC_SAMPLE),
            Unfit::PublicSample,
            "public documentation",
        ),
        (Some(&padded), Unfit::PublicSample, "public documentation"),
    ];
    for (given, reason, text) in table {
        let folder = tempfile::tempdir().unwrap();
        let config = configured(folder.path(), given);
        let (secret, warnings) = resolve(&config).unwrap();
        assert!(secret.as_bytes().len() >= SHORTEST);
        assert_ne!(secret.as_bytes(), given.unwrap_or_default().as_bytes());

        let kept = folder.path().join("jwt-secret");
        assert_eq!(mode(&kept), 0o600);
        assert_eq!(
            fs::read(&kept).unwrap(),
            [secret.as_bytes(), b"\n"].concat()
        );
        let names: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(names.len(), 1, "{names:?}");

        let expected = SecretWarning::NotUsed {
            reason,
            kept: kept.clone(),
        };
        assert_eq!(warnings, [expected]);
        let shown = warnings[0].to_string();
        for part in [
            "JWT SECRET NOT USED",
            text,
            kept.to_str().unwrap(),
            "logs in again",
            "openssl rand -base64 48",
        ] {
            assert!(shown.contains(part), "{part} in {shown}");
        }
        let hidden = str::from_utf8(secret.as_bytes()).unwrap();
        assert!(!shown.contains(hidden) && !shown.contains(PUBLIC_SAMPLE));
        assert!(!format!("{secret:?}").contains(hidden));

        // The next start uses the same one, and warns again.
        assert_eq!(resolve(&config).unwrap(), (secret, warnings));
    }
}

#[test]
fn each_node_makes_its_own() {
    let folders = [(); 8].map(|()| tempfile::tempdir().unwrap());
    let secrets: BTreeSet<Vec<u8>> = folders
        .iter()
        .map(|folder| resolve(&configured(folder.path(), None)).unwrap().0.0)
        .collect();
    assert_eq!(secrets.len(), folders.len());
}

#[test]
fn starts_that_race_agree() {
    for _ in 0..20 {
        let folder = tempfile::tempdir().unwrap();
        let config = configured(folder.path(), None);
        let barrier = std::sync::Barrier::new(8);
        let secrets: Vec<JwtSecret> = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        barrier.wait();
                        resolve(&config).unwrap().0
                    })
                })
                .collect();
            starts
                .into_iter()
                .map(|start| start.join().unwrap())
                .collect()
        });
        assert!(secrets.iter().all(|secret| *secret == secrets[0]));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

#[test]
fn a_kept_secret_that_others_can_read_is_closed_with_a_warning() {
    for open in [0o644, 0o640, 0o604, 0o622, 0o660] {
        let folder = tempfile::tempdir().unwrap();
        let config = configured(folder.path(), None);
        let (secret, _) = resolve(&config).unwrap();
        let kept = kept_file(&config);
        fs::set_permissions(&kept, Permissions::from_mode(open)).unwrap();

        let (again, warnings) = resolve(&config).unwrap();
        assert_eq!(again, secret);
        assert_eq!(mode(&kept), 0o600, "{open:o}");
        assert_eq!(warnings.len(), 2, "{open:o}");
        let shown = warnings[1].to_string();
        assert!(shown.contains("WAS READABLE"), "{shown}");
        assert_eq!(resolve(&config).unwrap().1.len(), 1);
    }
}

#[test]
fn a_damaged_kept_secret_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let config = configured(folder.path(), None);
    let kept = kept_file(&config);
    let text = "A".repeat(TEXT_LENGTH);
    for damaged in [
        String::new(),
        "short".to_owned(),
        text[1..].to_owned(),
        format!("{text}A"),
        format!("{text}\n\n"),
        format!("{text}\nmore"),
        "!".repeat(TEXT_LENGTH),
    ] {
        fs::write(&kept, &damaged).unwrap();
        fs::set_permissions(&kept, Permissions::from_mode(0o600)).unwrap();
        let error = resolve(&config).unwrap_err();
        assert!(matches!(error, SecretError::Corrupt { .. }), "{error}");
        assert!(error.to_string().contains(kept.to_str().unwrap()));
        // It is left as it was, for the admin to look at.
        assert_eq!(fs::read_to_string(&kept).unwrap(), damaged);
    }
    fs::write(&kept, &text).unwrap();
    assert_eq!(resolve(&config).unwrap().0.as_bytes(), text.as_bytes());
}

#[test]
fn only_a_regular_file_of_ours_is_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let config = configured(folder.path(), None);
    let kept = kept_file(&config);

    let elsewhere = folder.path().join("elsewhere");
    fs::write(&elsewhere, "A".repeat(TEXT_LENGTH)).unwrap();
    symlink(&elsewhere, &kept).unwrap();
    let error = resolve(&config).unwrap_err();
    assert!(matches!(error, SecretError::NotAFile { .. }), "{error}");
    fs::remove_file(&kept).unwrap();

    fs::create_dir(&kept).unwrap();
    let error = resolve(&config).unwrap_err();
    assert!(matches!(error, SecretError::NotAFile { .. }), "{error}");
    fs::remove_dir(&kept).unwrap();

    nix::unistd::mkfifo(&kept, nix::sys::stat::Mode::S_IRUSR).unwrap();
    let error = resolve(&config).unwrap_err();
    assert!(matches!(error, SecretError::NotAFile { .. }), "{error}");
    fs::remove_file(&kept).unwrap();

    if !nix::unistd::geteuid().is_root() {
        eprintln!("left out: a file of another user (needs root)");
        return;
    }
    fs::write(&kept, "A".repeat(TEXT_LENGTH)).unwrap();
    chown(&kept, Some(1), None).unwrap();
    let error = resolve(&config).unwrap_err();
    assert!(
        matches!(
            error,
            SecretError::Foreign {
                owner: 1,
                us: 0,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn a_folder_that_is_missing_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let config = configured(&folder.path().join("missing"), None);
    let error = resolve(&config).unwrap_err().to_string();
    assert!(error.contains("missing/jwt-secret"), "{error}");
    assert!(error.contains("No such file"), "{error}");
}
