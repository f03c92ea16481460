//! What a client may say when it asks for a snapshot, and what it may change later.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::duration;

/// Whether all disks of a snapshot are of one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Consistency {
    /// Back to back: each disk is crash-consistent by itself.
    #[default]
    None,
    /// The machine is paused while the disks are cloned.
    Pause,
    /// Commands of the configuration run before and after.
    Command,
}

impl Consistency {
    /// The word in requests, answers and the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Consistency::None => "none",
            Consistency::Pause => "pause",
            Consistency::Command => "command",
        }
    }
}

/// Body of `POST …/snapshots`; all of it may be left out, and so may the body. A field that this
/// release does not know is an error: the client would believe that it was heeded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnapshotRequest {
    /// Words for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// How long the snapshot is kept: the daemon deletes it then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<Lifetime>,
    /// A name for this request: when it is sent again, the same snapshot is answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// Names of the disks to snapshot; all that must be copied where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disks: Option<Vec<String>>,
    /// What the configuration says, where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consistency: Option<Consistency>,
}

/// Body of `PATCH …/snapshots/{id}`: a field that is absent stays as it is, null clears it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(clippy::option_option)]
pub struct SnapshotChange {
    /// Words for people.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "nullable")]
    pub label: Option<Option<String>>,
    /// From now on.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "nullable")]
    pub expires_in: Option<Option<Lifetime>>,
}

/// How long something is kept: in JSON a number of seconds, or text such as `"36h"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime(pub Duration);

impl Serialize for Lifetime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0.as_secs())
    }
}

impl<'de> Deserialize<'de> for Lifetime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Lifetime, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Seconds(u64),
            Text(String),
        }
        let refuse = |reason: &dyn std::fmt::Display| {
            serde::de::Error::custom(format!(
                "expires_in is a number of seconds or a duration such as \"36h\": {reason}"
            ))
        };
        match Form::deserialize(deserializer) {
            Ok(Form::Seconds(seconds)) => Ok(Lifetime(Duration::from_secs(seconds))),
            Ok(Form::Text(text)) => duration::parse(&text)
                .map(|long| Lifetime(Duration::from_secs(long.as_secs())))
                .map_err(|error| refuse(&error)),
            Err(_) => Err(refuse(&"it is neither")),
        }
    }
}

/// A field that may be absent, null, or there.
mod nullable {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[allow(clippy::ref_option, clippy::option_option)]
    pub fn serialize<T: Serialize, S: Serializer>(
        value: &Option<Option<T>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        value
            .as_ref()
            .and_then(Option::as_ref)
            .serialize(serializer)
    }

    #[allow(clippy::option_option)]
    pub fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Option<T>>, D::Error> {
        Option::deserialize(deserializer).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lifetime(json: &str) -> Result<Duration, serde_json::Error> {
        serde_json::from_str::<Lifetime>(json).map(|lifetime| lifetime.0)
    }

    #[test]
    fn a_lifetime_is_seconds_or_text() {
        assert_eq!(lifetime("90").unwrap(), Duration::from_secs(90));
        assert_eq!(lifetime("\"36h\"").unwrap(), Duration::from_secs(36 * 3600));
        for bad in ["-1", "1.5", "true", "\"\"", "\"3 days\"", "\"-1h\"", "[]"] {
            let error = lifetime(bad).unwrap_err().to_string();
            assert!(error.contains("expires_in"), "{bad}: {error}");
        }
    }

    #[test]
    fn absent_and_null_are_different_changes() {
        let change: SnapshotChange = serde_json::from_str("{}").unwrap();
        assert_eq!(change, SnapshotChange::default());
        let change: SnapshotChange =
            serde_json::from_str(r#"{"label": null, "expires_in": 60}"#).unwrap();
        assert_eq!(change.label, Some(None));
        let minute = Lifetime(Duration::from_secs(60));
        assert_eq!(change.expires_in, Some(Some(minute)));
        let json = serde_json::to_string(&change).unwrap();
        assert_eq!(json, r#"{"label":null,"expires_in":60}"#);
    }

    #[test]
    fn a_misspelt_field_is_an_error() {
        let error = serde_json::from_str::<SnapshotRequest>(r#"{"expire_in": 5}"#).unwrap_err();
        assert!(error.to_string().contains("expire_in"), "{error}");
    }

    #[test]
    fn the_same_wish_has_the_same_form() {
        let one: SnapshotRequest =
            serde_json::from_str(r#"{"expires_in": "1h", "label": "a"}"#).unwrap();
        let other: SnapshotRequest =
            serde_json::from_str(r#"{"label": "a", "expires_in": 3600, "disks": null}"#).unwrap();
        assert_eq!(
            serde_json::to_string(&one).unwrap(),
            serde_json::to_string(&other).unwrap()
        );
    }
}
