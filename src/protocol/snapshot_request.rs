//! What a client may say when it asks for a snapshot, and what it may change later.

use std::fmt;
use std::time::Duration;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::duration;

/// Whether all disks of a snapshot are of one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(schemars::JsonSchema))]
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
#[cfg_attr(feature = "server", derive(schemars::JsonSchema))]
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
#[cfg_attr(feature = "server", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[allow(clippy::option_option)]
pub struct SnapshotChange {
    /// Words for people.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "nullable")]
    #[cfg_attr(feature = "server", schemars(with = "Option<String>"))]
    pub label: Option<Option<String>>,
    /// From now on.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "nullable")]
    #[cfg_attr(feature = "server", schemars(with = "Option<Lifetime>"))]
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
        deserializer.deserialize_any(LifetimeForm)
    }
}

#[cfg(feature = "server")]
impl schemars::JsonSchema for Lifetime {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Lifetime".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "Whole seconds, or a duration such as `36h`.",
            "anyOf": [
                {"type": "integer", "minimum": 1},
                {"type": "string", "pattern": "^[0-9]+(h|m|s)$"},
            ],
        })
    }
}

/// What a lifetime may look like.
struct LifetimeForm;

impl LifetimeForm {
    fn refuse<E: serde::de::Error>(reason: impl fmt::Display) -> E {
        E::custom(format!(
            "expires_in is a whole number of seconds or a duration such as \"36h\": {reason}"
        ))
    }
}

impl<'de> Visitor<'de> for LifetimeForm {
    type Value = Lifetime;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a whole number of seconds or a duration such as \"36h\"")
    }

    fn visit_u64<E: serde::de::Error>(self, seconds: u64) -> Result<Lifetime, E> {
        Ok(Lifetime(Duration::from_secs(seconds)))
    }

    fn visit_i64<E: serde::de::Error>(self, seconds: i64) -> Result<Lifetime, E> {
        let seconds = u64::try_from(seconds).map_err(|_| Self::refuse("it is negative"))?;
        self.visit_u64(seconds)
    }

    fn visit_f64<E: serde::de::Error>(self, seconds: f64) -> Result<Lifetime, E> {
        Err(Self::refuse(if seconds < 0.0 {
            "it is negative"
        } else if seconds.fract() > 0.0 {
            "its seconds are not whole"
        } else {
            "it is written with a point or an exponent, or is too large"
        }))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Lifetime, E> {
        let long = duration::parse(text).map_err(Self::refuse)?;
        if long.subsec_nanos() == 0 {
            return Ok(Lifetime(long));
        }
        Err(Self::refuse(if long < Duration::from_secs(1) {
            "it is shorter than 1 s"
        } else {
            "its seconds are not whole"
        }))
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<Lifetime, E> {
        Err(Self::refuse("it is neither"))
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Lifetime, E> {
        Err(Self::refuse("it is neither"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Lifetime, A::Error> {
        Err(Self::refuse("it is neither"))
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<Lifetime, A::Error> {
        Err(Self::refuse("it is neither"))
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
        for (bad, why) in [
            ("-1", "negative"),
            ("-1.5", "negative"),
            ("1.5", "not whole"),
            ("\"1h1.5s\"", "not whole"),
            ("\"500ms\"", "shorter than 1 s"),
            ("1e3", "exponent"),
            ("99999999999999999999", "too large"),
            ("true", "neither"),
            ("null", "neither"),
            ("[1]", "neither"),
            ("{\"s\": 1}", "neither"),
            ("\"\"", "empty"),
            ("\"3 days\"", "unit"),
            ("\"-1h\"", "negative"),
        ] {
            let error = lifetime(bad).unwrap_err().to_string();
            assert!(error.starts_with("expires_in is"), "{bad}: {error}");
            assert!(error.contains(why), "{bad}: {error}");
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
