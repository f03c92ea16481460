//! The tokens that a login gives: JWT, HS256, claims `user`, `exp` and `iss`,
//! and of those that are made on the node itself, with `jti` too.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::HeaderValue;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use crate::config::Current;

/// The issuer that every token names.
pub const ISSUER: &str = "coriolis-ovm-exporter";

/// No header value longer than this is looked at, in bytes. Ours have about 250.
const MAX_HEADER_BYTES: usize = 4096;

/// What a token says. Other claims may stand beside these and are ignored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The name that logged in.
    pub user: String,
    /// End of validity, seconds since 1970-01-01 UTC.
    pub exp: u64,
    /// Who made the token: [`ISSUER`].
    pub iss: String,
    /// The token's own id, for the log; only one that was made on the node itself has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
}

/// Why a token was not accepted. A caller learns only that it was not; this is for the log and
/// holds nothing of the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// There is no `Authorization` header.
    #[error("no Authorization header")]
    Missing,
    /// Another scheme than `Bearer`.
    #[error("the Authorization header is not of the Bearer scheme")]
    NotBearer,
    /// The header is longer than any token of ours.
    #[error("the Authorization header has more than {MAX_HEADER_BYTES} bytes")]
    TooLong,
    /// Not a JWT.
    #[error("not a JSON web token")]
    Malformed,
    /// Signed by another method than HS256.
    #[error("signed by another method than HS256")]
    WrongAlgorithm,
    /// The signature does not fit our secret.
    #[error("the signature is not ours: the secret changed, or the token is forged")]
    WrongSignature,
    /// `exp` is past.
    #[error("expired: log in again")]
    Expired,
    /// `iss` is not ours.
    #[error("issued by somebody else")]
    WrongIssuer,
    /// A required claim is missing or of another type.
    #[error("a required claim (user, exp, iss) is missing or of a wrong type")]
    WrongClaims,
    /// The token could not be made: the clock stands before 1970, or the signature failed.
    #[error("cannot make a token: check the clock of this node")]
    CannotIssue,
}

/// Makes and checks tokens. Cheap to check: one HMAC over about 200 bytes.
pub struct TokenIssuer {
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
    time_to_live: Current<Duration>,
}

impl TokenIssuer {
    /// An issuer that signs with `secret`; its tokens are valid for `time_to_live`.
    pub fn new(secret: &[u8], time_to_live: Duration) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = 0;
        validation.validate_nbf = true;
        validation.set_issuer(&[ISSUER]);
        validation.set_required_spec_claims(&["exp", "iss"]);
        Self {
            encoding: EncodingKey::from_secret(secret),
            decoding: DecodingKey::from_secret(secret),
            validation,
            time_to_live: Current::new(time_to_live),
        }
    }

    /// Tokens that are made from now on are valid for this long.
    pub fn take_up(&self, time_to_live: Duration) {
        self.time_to_live.set(time_to_live);
    }

    /// A token for `user`, valid from now on.
    ///
    /// # Errors
    /// [`TokenError::CannotIssue`] when the node's clock is of no use.
    pub fn issue(&self, user: &str) -> Result<String, TokenError> {
        self.sign(user, None)
    }

    /// The same with an id, by which a log can name it.
    ///
    /// # Errors
    /// As [`TokenIssuer::issue`].
    pub fn issue_with_id(&self, user: &str, id: &str) -> Result<String, TokenError> {
        self.sign(user, Some(id.to_owned()))
    }

    fn sign(&self, user: &str, jti: Option<String>) -> Result<String, TokenError> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_err(|_| TokenError::CannotIssue)?;
        let claims = Claims {
            user: user.to_owned(),
            exp: now.saturating_add(*self.time_to_live.get()).as_secs(),
            iss: ISSUER.to_owned(),
            jti,
        };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.encoding)
            .map_err(|_| TokenError::CannotIssue)
    }

    /// Checks the value of an `Authorization` header.
    ///
    /// The scheme's name is compared without case and followed by one or more spaces (RFC 9110,
    /// 11.4); the token itself by the rules of [`TokenIssuer::verify_token`].
    ///
    /// # Errors
    /// Why it is refused.
    pub fn verify(&self, authorization: Option<&HeaderValue>) -> Result<Claims, TokenError> {
        let value = authorization.ok_or(TokenError::Missing)?;
        if value.len() > MAX_HEADER_BYTES {
            return Err(TokenError::TooLong);
        }
        let value = value.to_str().map_err(|_| TokenError::Malformed)?;
        let (scheme, token) = value.split_once(' ').ok_or(TokenError::NotBearer)?;
        if !scheme.eq_ignore_ascii_case("Bearer") {
            return Err(TokenError::NotBearer);
        }
        self.verify_token(token.trim_start_matches(' '))
    }

    /// Checks a token: HS256 with our secret, `exp` not past, `iss` ours, `user` not empty.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn verify_token(&self, token: &str) -> Result<Claims, TokenError> {
        if token.len() > MAX_HEADER_BYTES {
            return Err(TokenError::TooLong);
        }
        let claims = jsonwebtoken::decode::<Claims>(token, &self.decoding, &self.validation)
            .map_err(|e| refusal(e.kind()))?
            .claims;
        if claims.user.is_empty() {
            return Err(TokenError::WrongClaims);
        }
        Ok(claims)
    }
}

impl fmt::Debug for TokenIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenIssuer")
            .field("secret", &"[not shown]")
            .field("time_to_live", &self.time_to_live.get())
            .finish()
    }
}

fn refusal(kind: &ErrorKind) -> TokenError {
    match kind {
        ErrorKind::InvalidSignature => TokenError::WrongSignature,
        ErrorKind::ExpiredSignature => TokenError::Expired,
        ErrorKind::InvalidIssuer => TokenError::WrongIssuer,
        ErrorKind::InvalidAlgorithm
        | ErrorKind::InvalidAlgorithmName
        | ErrorKind::UnsupportedAlgorithm => TokenError::WrongAlgorithm,
        ErrorKind::MissingRequiredClaim(_)
        | ErrorKind::InvalidClaimFormat(_)
        | ErrorKind::InvalidAudience
        | ErrorKind::ImmatureSignature => TokenError::WrongClaims,
        // Whether the header or the claims were no JSON is all the same to the caller.
        _ => TokenError::Malformed,
    }
}

#[cfg(test)]
#[path = "tokens_tests.rs"]
mod tests;
