//! The secret that tokens are signed with.
//!
//! Whoever knows it can make tokens. Many nodes of the first generation run with the sample of
//! its documentation, which everybody knows. Such a secret, or one that is too short to resist
//! guessing, is not used: a random one takes its place. It is kept beside `db_file`, so that a
//! restart does not invalidate the tokens of running transfers.

use std::fmt;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::problem::permission_hint;
use super::settings::{Config, Jwt, SecretText};

/// HS256 wants a key at least as long as its hash: 256 bits.
pub const SHORTEST: usize = 32;

/// The sample secret of the first generation's public documentation.
const PUBLIC_SAMPLE: &str = "yoidthOcBauphFeykCotdidNorjAnAtGhonsabShegAtfexbavlyakPak4SletEd";

/// The kept secret's file, beside `db_file`.
const FILE_NAME: &str = "jwt-secret";

/// Random bytes in a secret of our own; a multiple of 3, so that Base64 needs no padding.
const RANDOM_BYTES: usize = 48;
/// The same in Base64, as the file has it.
const TEXT_LENGTH: usize = RANDOM_BYTES / 3 * 4;

/// A secret that is fit to sign tokens with. It has no `Display`, and `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct JwtSecret(Vec<u8>);

impl JwtSecret {
    /// The key for HMAC; not for logs or errors.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for JwtSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JwtSecret(hidden)")
    }
}

/// Why the configured secret is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// There is none.
    Absent,
    /// It has fewer than [`SHORTEST`] bytes, spaces around it not counted.
    Short,
    /// It is the sample of the public documentation.
    PublicSample,
}

impl fmt::Display for Unfit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => formatter.write_str("is not set"),
            Self::Short => write!(
                formatter,
                "is shorter than {SHORTEST} bytes, so it can be guessed"
            ),
            Self::PublicSample => formatter.write_str(
                "is the sample from the public documentation, so anyone can forge tokens",
            ),
        }
    }
}

/// Something an admin should act on, to be logged at each start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretWarning {
    /// The configured secret is not used.
    NotUsed {
        /// Why.
        reason: Unfit,
        /// Where the secret is kept that is used instead.
        kept: PathBuf,
    },
    /// Other users could read the kept secret until now.
    WasReadable {
        /// The file.
        kept: PathBuf,
    },
}

impl fmt::Display for SecretWarning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUsed { reason, kept } => write!(
                formatter,
                "JWT SECRET NOT USED: jwt.secret {reason}. Tokens are signed with a random secret \
                 kept in {} instead; a client whose token is refused logs in again. To end this \
                 warning, set jwt.secret to the output of `openssl rand -base64 48` and restart",
                kept.display()
            ),
            Self::WasReadable { kept } => write!(
                formatter,
                "JWT SECRET WAS READABLE BY OTHERS: {} had a mode that let other users of this \
                 node read it; it is 0600 now. If one of them is not trusted, delete the file \
                 and restart: a new one is made, and clients log in again",
                kept.display()
            ),
        }
    }
}

/// Why there is no secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The kernel gave no random bytes.
    #[error("cannot make a random JWT secret: {0}")]
    Random(getrandom::Error),
    /// It cannot be written.
    #[error("cannot keep a random JWT secret in {path}: {source}{hint}; set jwt.secret, or make the folder writable", path = path.display(), hint = permission_hint(source))]
    Write {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// It is there, but cannot be read.
    #[error("cannot read the kept JWT secret {path}: {source}{hint}", path = path.display(), hint = permission_hint(source))]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// A folder, pipe, or symbolic link stands in its place.
    #[error("the kept JWT secret {path} is not a regular file; remove it and a new one is made", path = path.display())]
    NotAFile {
        /// The file.
        path: PathBuf,
    },
    /// Another user made it, and may know it.
    #[error("the kept JWT secret {path} belongs to user {owner}, not to user {us} who runs the daemon; remove it and a new one is made, clients log in again", path = path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// The effective user of this process.
        us: u32,
    },
    /// Its content is not what we write.
    #[error("the kept JWT secret {path} is damaged; remove it and a new one is made, clients log in again", path = path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
    },
}

/// The configured secret, or why it must not be used.
///
/// # Errors
/// [`Unfit`] has the reason.
pub fn judge(jwt: &Jwt) -> Result<JwtSecret, Unfit> {
    let secret = jwt.secret.as_ref().ok_or(Unfit::Absent)?.expose();
    let core = secret.trim();
    if core == PUBLIC_SAMPLE {
        return Err(Unfit::PublicSample);
    }
    if core.len() < SHORTEST {
        return Err(Unfit::Short);
    }
    Ok(JwtSecret(secret.as_bytes().to_vec()))
}

/// Where the secret is kept that takes the place of an unfit one.
#[must_use]
pub fn kept_file(config: &Config) -> PathBuf {
    config.db_file.with_file_name(FILE_NAME)
}

/// The secret to sign tokens with: the configured one, or else the kept one, made if need be.
/// Starts that race agree on one.
///
/// # Errors
/// [`SecretError`] where a kept secret is needed and cannot be had or trusted.
pub fn resolve(config: &Config) -> Result<(JwtSecret, Vec<SecretWarning>), SecretError> {
    let reason = match judge(&config.jwt) {
        Ok(secret) => return Ok((secret, Vec::new())),
        Err(reason) => reason,
    };
    let kept = kept_file(config);
    let (secret, was_readable) = match read_kept(&kept)? {
        Some(found) => found,
        None => {
            create_kept(&kept)?;
            // Read it back: another start may have been first.
            read_kept(&kept)?.ok_or_else(|| SecretError::Read {
                path: kept.clone(),
                source: io::ErrorKind::NotFound.into(),
            })?
        }
    };
    let mut warnings = vec![SecretWarning::NotUsed {
        reason,
        kept: kept.clone(),
    }];
    if was_readable {
        warnings.push(SecretWarning::WasReadable { kept });
    }
    Ok((secret, warnings))
}

/// The secret that a daemon with this configuration signs with, if there is one yet: the configured
/// one, or else the kept one. None is made.
///
/// # Errors
/// [`SecretError`] where the kept secret cannot be read or trusted.
pub fn existing(config: &Config) -> Result<Option<JwtSecret>, SecretError> {
    match judge(&config.jwt) {
        Ok(secret) => Ok(Some(secret)),
        Err(_) => Ok(read_kept(&kept_file(config))?.map(|(secret, _)| secret)),
    }
}

/// Reads the kept secret, and whether its mode had to be repaired; nothing if there is none.
fn read_kept(path: &Path) -> Result<Option<(JwtSecret, bool)>, SecretError> {
    let failed = |source: io::Error| SecretError::Read {
        path: path.to_owned(),
        source,
    };
    let opened = OpenOptions::new()
        .read(true)
        // Follows no link to a file that someone else chose, and hangs on no pipe.
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
            return Err(SecretError::NotAFile {
                path: path.to_owned(),
            });
        }
        Err(error) => return Err(failed(error)),
    };
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(SecretError::NotAFile {
            path: path.to_owned(),
        });
    }
    let us = nix::unistd::geteuid().as_raw();
    if metadata.uid() != us {
        return Err(SecretError::Foreign {
            path: path.to_owned(),
            owner: metadata.uid(),
            us,
        });
    }
    let readable = metadata.mode() & 0o077 != 0;
    if readable {
        file.set_permissions(Permissions::from_mode(0o600))
            .map_err(failed)?;
    }

    let mut content = Vec::new();
    // One byte more than the text and its newline shows that something was added.
    file.take(TEXT_LENGTH as u64 + 2)
        .read_to_end(&mut content)
        .map_err(failed)?;
    let text = content.strip_suffix(b"\n").unwrap_or(&content);
    let intact = text.len() == TEXT_LENGTH && BASE64.decode(text).is_ok();
    if !intact {
        return Err(SecretError::Corrupt {
            path: path.to_owned(),
        });
    }
    Ok(Some((JwtSecret(text.to_vec()), readable)))
}

/// A random secret as it can stand in a configuration: 48 bytes in Base64.
///
/// # Errors
/// [`SecretError::Random`].
pub fn random_text() -> Result<SecretText, SecretError> {
    let mut random = [0_u8; RANDOM_BYTES];
    getrandom::fill(&mut random).map_err(SecretError::Random)?;
    Ok(SecretText::new(BASE64.encode(random)))
}

/// Makes a random secret. The file appears whole or not at all, and never replaces another one.
fn create_kept(path: &Path) -> Result<(), SecretError> {
    let text = random_text()?;
    let text = text.expose();

    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let write = || -> io::Result<()> {
        let mut file = tempfile::Builder::new()
            .prefix(".jwt-secret-")
            .permissions(Permissions::from_mode(0o600))
            .tempfile_in(folder)?;
        writeln!(file, "{text}")?;
        file.as_file().sync_all()?;
        match file.persist_noclobber(path) {
            Ok(_) => File::open(folder)?.sync_all(),
            Err(refused) if refused.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(refused) => Err(refused.error),
        }
    };
    write().map_err(|source| SecretError::Write {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
#[path = "secret_tests.rs"]
mod tests;
