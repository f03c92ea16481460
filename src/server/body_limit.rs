//! Request bodies: bounded in bytes and in time.

use std::time::Duration;

use axum::extract::Request;
use axum::http::StatusCode;
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Body as _;
use serde::de::DeserializeOwned;

/// How much of a request body is taken, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyLimits {
    /// Bytes of the whole body.
    pub max_bytes: usize,
    /// From the first look at the body to its last byte.
    pub timeout: Duration,
}

impl Default for BodyLimits {
    fn default() -> Self {
        Self {
            max_bytes: 64 * 1024,
            timeout: Duration::from_secs(10),
        }
    }
}

/// Why a request body was not taken. The messages hold nothing of the body: it may be a password.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// 413.
    #[error("the request body is larger than {max_bytes} bytes")]
    TooLarge {
        /// The limit.
        max_bytes: usize,
    },
    /// 408.
    #[error("the request body did not arrive within {timeout:?}")]
    TooSlow {
        /// The limit.
        timeout: Duration,
    },
    /// The client went away, or its framing is broken. 400, if anybody still listens.
    #[error("the request body ended early")]
    Broken,
    /// 400.
    #[error("the request body is not the JSON object that is asked for: {reason}")]
    NotJson {
        /// What is wrong and where.
        reason: String,
    },
}

impl BodyError {
    /// The status to answer with.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow { .. } => StatusCode::REQUEST_TIMEOUT,
            Self::Broken | Self::NotJson { .. } => StatusCode::BAD_REQUEST,
        }
    }
}

/// Reads the JSON object in the body of `request`, whatever its `Content-Type` says: existing clients and curl
/// lines do not always set one.
///
/// A body that says it is too large is not read at all; one that turns out to be, no further than
/// the limit. Memory stays within about twice `max_bytes`.
///
/// # Errors
/// See [`BodyError`].
pub async fn read_json_body<T: DeserializeOwned>(
    request: Request,
    limits: &BodyLimits,
) -> Result<T, BodyError> {
    parse(&read(request, limits).await?)
}

/// The same, where the body may be left out.
///
/// # Errors
/// See [`BodyError`].
pub async fn read_json_body_if_any<T: DeserializeOwned + Default>(
    request: Request,
    limits: &BodyLimits,
) -> Result<T, BodyError> {
    let bytes = read(request, limits).await?;
    match bytes.trim_ascii() {
        b"" | b"null" => Ok(T::default()),
        _ => parse(&bytes),
    }
}

async fn read(request: Request, limits: &BodyLimits) -> Result<Bytes, BodyError> {
    let too_large = BodyError::TooLarge {
        max_bytes: limits.max_bytes,
    };
    let body = request.into_body();
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > limits.max_bytes {
        return Err(too_large);
    }
    let collected = Limited::new(body, limits.max_bytes).collect();
    match tokio::time::timeout(limits.timeout, collected).await {
        Err(_) => Err(BodyError::TooSlow {
            timeout: limits.timeout,
        }),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large),
        Ok(Err(_)) => Err(BodyError::Broken),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, BodyError> {
    // serde would take a list as well, its values in the order of the fields.
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    if first.is_some_and(|&byte| byte != b'{') {
        return Err(BodyError::NotJson {
            reason: "it does not start with {".to_owned(),
        });
    }
    serde_json::from_slice(bytes).map_err(|e| BodyError::NotJson {
        reason: describe(&e),
    })
}

/// What serde_json found, without the value it found: "invalid type: string \"…\"" would carry a
/// password into an answer or a log.
fn describe(error: &serde_json::Error) -> String {
    use serde_json::error::Category;
    let place = format!("line {} column {}", error.line(), error.column());
    match error.classify() {
        Category::Syntax => format!("not JSON at {place}"),
        Category::Eof => format!("it ends too early at {place}"),
        Category::Io => "it cannot be read".to_owned(),
        Category::Data => {
            let said = error.to_string();
            // These name a field, or a word in the place of one of ours, never free text.
            const HARMLESS: [&str; 4] = [
                "missing field",
                "unknown field",
                "unknown variant",
                "expires_in",
            ];
            if let Some(name_and_place) = said.strip_prefix("duplicate field ") {
                format!("a field is there twice: {name_and_place}")
            } else if HARMLESS.iter().any(|start| said.starts_with(start)) {
                said
            } else {
                format!("a value of a wrong type at {place}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use futures_util::stream;
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[derive(Debug, serde::Deserialize)]
    struct Login {
        username: String,
        #[allow(dead_code)]
        password: String,
    }

    const LIMITS: BodyLimits = BodyLimits {
        max_bytes: 100,
        timeout: Duration::from_millis(50),
    };

    async fn read(body: Body) -> Result<Login, BodyError> {
        read_json_body(Request::new(body), &LIMITS).await
    }

    #[tokio::test]
    async fn a_good_body_is_read() {
        let login = read(Body::from(r#"{"username":"a","password":"b"}"#)).await;
        assert_eq!(login.unwrap().username, "a");
    }

    #[tokio::test]
    async fn an_announced_length_over_the_limit_is_refused_unread() {
        let error = read(Body::from(vec![b' '; 101])).await.unwrap_err();
        assert_eq!(error.status(), StatusCode::PAYLOAD_TOO_LARGE);
    }

    #[tokio::test]
    async fn a_body_of_unknown_length_is_read_no_further_than_the_limit() {
        let given = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&given);
        let endless = stream::repeat_with(move || {
            counted.fetch_add(30, Ordering::Relaxed);
            Ok::<_, Infallible>(Bytes::from(vec![b' '; 30]))
        });
        let error = read(Body::from_stream(endless)).await.unwrap_err();
        assert_eq!(error.status(), StatusCode::PAYLOAD_TOO_LARGE);
        assert!(given.load(Ordering::Relaxed) <= 120);
    }

    #[tokio::test]
    async fn a_slow_body_is_given_up() {
        let never = stream::pending::<Result<Bytes, Infallible>>();
        let error = read(Body::from_stream(never)).await.unwrap_err();
        assert_eq!(error.status(), StatusCode::REQUEST_TIMEOUT);
    }

    #[tokio::test]
    async fn what_is_no_object_of_that_kind_is_a_bad_request_without_its_content() {
        for body in [
            "",
            "{",
            "not json",
            "[]",
            r#"["a","hunter2"]"#,
            "\"hunter2\"",
            r#"{"username":{"hunter2":1},"password":"hunter2"}"#,
            r#"{"username":"a"}"#,
            r#"{"username":"a","password":"hunter2","password":"hunter2"}"#,
            r#"{"username":"a","password":"hunter2"} hunter2"#,
        ] {
            let error = read(Body::from(body)).await.unwrap_err();
            assert_eq!(error.status(), StatusCode::BAD_REQUEST, "{body}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
