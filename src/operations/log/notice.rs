//! What the log says of itself.

use jiff::Timestamp;

pub(super) use crate::config::LogFormat as Form;

/// A line that does not come by way of tracing: its writer cannot wait for itself.
#[derive(Debug, Clone)]
pub(super) struct Notice(String);

impl Notice {
    pub(super) fn warning(text: String) -> Self {
        Self(text)
    }

    /// Appends it as a line of the log's form.
    pub(super) fn write(&self, form: Form, text: &mut Vec<u8>) {
        let at = Timestamp::now();
        let line = match form {
            Form::Human => format!("{at:.6}  WARN {}", self.0),
            Form::Json => serde_json::json!({
                "timestamp": format!("{at:.6}"),
                "level": "WARN",
                "message": self.0,
            })
            .to_string(),
        };
        text.extend_from_slice(line.as_bytes());
        text.push(b'\n');
    }
}
