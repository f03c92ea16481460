//! What a client asks of a snapshot, checked.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

use super::error::SnapshotError;
use super::manifest::KeyedRequest;
use crate::protocol::{Consistency, Lifetime, SnapshotChange, SnapshotRequest};

/// Characters of a label, and of a key.
const LONGEST_TEXT: usize = 256;
/// Ten years: what is kept longer is kept for ever.
const LONGEST_LIFE: Duration = Duration::from_secs(3653 * 24 * 3600);

/// What a new snapshot is to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// Words for people.
    pub label: Option<String>,
    /// How long it is kept; for ever where that is absent.
    pub lifetime: Option<Duration>,
    /// So that it is made once only.
    pub request: Option<KeyedRequest>,
    /// Names of the disks; all that must be copied where it is absent.
    pub disks: Option<Vec<String>>,
    /// What the configuration says, where it is absent.
    pub consistency: Option<Consistency>,
}

impl Wish {
    /// Checks a request.
    ///
    /// # Errors
    /// [`SnapshotError::Refused`].
    pub fn of(mut request: SnapshotRequest) -> Result<Wish, SnapshotError> {
        if let Some(disks) = &mut request.disks {
            if disks.is_empty() {
                return Err(refused(
                    "disks is empty; name at least one, or leave it out for all",
                ));
            }
            // The order says nothing, so it must not make one request two.
            disks.sort();
            disks.dedup();
        }
        let keyed = match &request.idempotency_key {
            None => None,
            Some(key) => {
                check_text("idempotency_key", key)?;
                Some(KeyedRequest {
                    key: key.clone(),
                    digest: digest(&request),
                })
            }
        };
        Ok(Wish {
            label: check_label(request.label)?,
            lifetime: check_lifetime(request.expires_in)?,
            request: keyed,
            disks: request.disks,
            consistency: request.consistency,
        })
    }

    /// When a snapshot that is made now is to go.
    #[must_use]
    pub fn expires_at(&self, now: Timestamp) -> Option<Timestamp> {
        self.lifetime.and_then(|lifetime| after(now, lifetime))
    }
}

/// What is to become of a snapshot that is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(clippy::option_option)]
pub struct Change {
    /// Words for people; None within: none any more.
    pub label: Option<Option<String>>,
    /// When it is to go; None within: never.
    pub expires_at: Option<Option<Timestamp>>,
}

impl Change {
    /// Checks a request that arrives now.
    ///
    /// # Errors
    /// [`SnapshotError::Refused`].
    pub fn of(change: SnapshotChange, now: Timestamp) -> Result<Change, SnapshotError> {
        if change == SnapshotChange::default() {
            return Err(refused(
                "nothing is to be changed: the body is a JSON object with label, expires_in or \
                 both, and null clears one",
            ));
        }
        Ok(Change {
            label: change.label.map(check_label).transpose()?,
            expires_at: match change.expires_in {
                None => None,
                Some(lifetime) => {
                    Some(check_lifetime(lifetime)?.and_then(|lifetime| after(now, lifetime)))
                }
            },
        })
    }
}

fn refused(reason: impl Into<String>) -> SnapshotError {
    SnapshotError::Refused(reason.into())
}

fn after(now: Timestamp, lifetime: Duration) -> Option<Timestamp> {
    now.checked_add(SignedDuration::try_from(lifetime).ok()?)
        .ok()
}

fn check_label(label: Option<String>) -> Result<Option<String>, SnapshotError> {
    if let Some(label) = &label {
        check_text("label", label)?;
    }
    Ok(label)
}

fn check_text(field: &str, text: &str) -> Result<(), SnapshotError> {
    let length = text.chars().count();
    if length == 0 || length > LONGEST_TEXT {
        return Err(refused(format!(
            "{field} has {length} characters; it takes 1 to {LONGEST_TEXT}"
        )));
    }
    // It goes into logs and tables.
    if text.chars().any(char::is_control) {
        return Err(refused(format!("{field} has a control character in it")));
    }
    Ok(())
}

fn check_lifetime(lifetime: Option<Lifetime>) -> Result<Option<Duration>, SnapshotError> {
    match lifetime {
        Some(Lifetime(lifetime)) if lifetime.is_zero() || lifetime > LONGEST_LIFE => {
            Err(refused(format!(
                "expires_in is {} s; it takes 1 s to ten years",
                lifetime.as_secs()
            )))
        }
        other => Ok(other.map(|Lifetime(lifetime)| lifetime)),
    }
}

/// Of everything that was asked for, in one form.
fn digest(request: &SnapshotRequest) -> String {
    let json = serde_json::to_vec(request).unwrap_or_default();
    Sha256::digest(json)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(json: &str) -> Result<Wish, SnapshotError> {
        Wish::of(serde_json::from_str(json).unwrap())
    }

    #[test]
    fn one_request_has_one_digest() {
        let digest = |json: &str| wish(json).unwrap().request.unwrap().digest;
        let one = digest(r#"{"idempotency_key": "k", "disks": ["b", "a"], "expires_in": "1h"}"#);
        let same =
            digest(r#"{"expires_in": 3600, "disks": ["a", "b", "a"], "idempotency_key": "k"}"#);
        assert_eq!(one, same);
        for other in [
            r#"{"idempotency_key": "k", "disks": ["a"], "expires_in": "1h"}"#,
            r#"{"idempotency_key": "k", "disks": ["a", "b"], "expires_in": "2h"}"#,
            r#"{"idempotency_key": "k", "disks": ["a", "b"], "expires_in": "1h", "label": "x"}"#,
            r#"{"idempotency_key": "k", "disks": ["a", "b"], "expires_in": "1h", "consistency": "none"}"#,
        ] {
            assert_ne!(digest(other), one, "{other}");
        }
        assert_eq!(wish(r#"{"label": "x"}"#).unwrap().request, None);
    }

    #[test]
    fn wishes_have_bounds() {
        let long = "x".repeat(257);
        for bad in [
            r#"{"label": ""}"#.to_owned(),
            format!(r#"{{"label": "{long}"}}"#),
            r#"{"label": "two\nlines"}"#.to_owned(),
            r#"{"idempotency_key": ""}"#.to_owned(),
            r#"{"expires_in": 0}"#.to_owned(),
            r#"{"expires_in": 18446744073709551615}"#.to_owned(),
            r#"{"disks": []}"#.to_owned(),
        ] {
            assert!(
                matches!(wish(&bad), Err(SnapshotError::Refused(_))),
                "{bad}"
            );
        }
        assert!(wish(&format!(r#"{{"label": "{}"}}"#, "é".repeat(256))).is_ok());
    }

    #[test]
    fn a_change_sets_clears_or_leaves() {
        let now = Timestamp::UNIX_EPOCH;
        let change = |json: &str| Change::of(serde_json::from_str(json).unwrap(), now);
        let set = change(r#"{"label": "a", "expires_in": 5}"#).unwrap();
        assert_eq!(set.label, Some(Some("a".to_owned())));
        assert_eq!(set.expires_at.unwrap().unwrap().as_second(), 5);
        let cleared = change(r#"{"expires_in": null}"#).unwrap();
        assert_eq!((cleared.label, cleared.expires_at), (None, Some(None)));
        assert!(change("{}").is_err());
    }
}
