//! A user's credentials as one HTTP Basic header.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::header::HeaderValue;

/// Longer credentials are refused: no real ones are, and the header must fit into what servers
/// take (8 KiB in many).
const LONGEST: usize = 4096;

/// The value of an `Authorization` header. Has no `Debug`: it is the password.
pub(super) struct Authorization(HeaderValue);

impl Authorization {
    /// Credentials as RFC 7617 has them, in UTF-8. `None` when it cannot carry them: the user
    /// name ends at the first colon, and control characters are not allowed in either part.
    pub(super) fn basic(user: &str, password: &str) -> Option<Self> {
        let carried = !user.is_empty()
            && !user.contains(':')
            && !user.chars().chain(password.chars()).any(char::is_control)
            && user.len() + password.len() <= LONGEST;
        if !carried {
            return None;
        }
        let header = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        let mut value = HeaderValue::from_str(&header).ok()?;
        // Marks the value so that hyper and `http` never print it.
        value.set_sensitive(true);
        Some(Self(value))
    }

    /// The header's value, which prints as `Sensitive`.
    pub(super) fn into_header(self) -> HeaderValue {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_that_of_rfc_7617() {
        // The examples of RFC 7617, sections 2 and 2.1.
        for (user, password, value) in [
            (
                "Aladdin",
                "open sesame",
                "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
            ),
            ("test", "123£", "Basic dGVzdDoxMjPCow=="),
        ] {
            let header = Authorization::basic(user, password).unwrap().into_header();
            assert_eq!(header.to_str().unwrap(), value);
            assert!(!format!("{header:?}").contains("QWxh"));
        }
    }

    #[test]
    fn what_basic_cannot_carry_is_refused() {
        for (user, password) in [
            ("", "p"),
            ("a:b", "p"),
            ("a\n", "p"),
            ("a", "p\r\nHost: x"),
            ("a", "p\0"),
            ("a", "\u{85}"),
            ("a", "x".repeat(5000).as_str()),
        ] {
            assert!(Authorization::basic(user, password).is_none(), "{user:?}");
        }
        assert!(Authorization::basic("a", "with:colon").is_some());
        assert!(Authorization::basic("a", "").is_some());
    }
}
