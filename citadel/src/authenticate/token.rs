//! What is true of service-account tokens whoever vouches for them.

use thiserror::Error;

/// The audience that tokens for the mesh's certificate authority carry.
pub const AUDIENCE: &str = "istio-ca";

/// Longest accepted token; Kubernetes' own have about one kilobyte.
pub const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// Why a token gives no identity.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TokenError {
    /// The server was started without keys.
    #[error("this server has no keys to verify tokens with")]
    NotConfigured,
    /// Another authorization scheme.
    #[error("the authorization header is not of the form \"Bearer TOKEN\"")]
    NotBearer,
    /// Longer than any honest one.
    #[error("the token has {0} bytes, more than {TOKEN_BYTES_MAX}")]
    TooLong(usize),
    /// Not a JWT.
    #[error("the token is not a JSON Web Token")]
    Malformed,
    /// No key with this id.
    #[error("the token is signed with key \"{0}\", which is not known here")]
    UnknownKey(String),
    /// No key id, and not exactly one key to try.
    #[error("the token does not name its key")]
    NoKeyId,
    /// The header names an algorithm that its key is not for.
    #[error("the token's algorithm does not fit its key")]
    Algorithm,
    /// Forged or damaged.
    #[error("the token's signature does not verify")]
    Signature,
    /// Past `exp`.
    #[error("the token has expired")]
    Expired,
    /// Before `nbf`.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// From somebody else.
    #[error("the token was not issued by \"{0}\"")]
    Issuer(String),
    /// For somebody else.
    #[error("the token is not for the audience \"{0}\"")]
    Audience(String),
    /// A claim is missing or of the wrong type.
    #[error("the claims of the token are not usable: {0}")]
    Claims(String),
    /// The API server does not accept it.
    #[error("the API server refuses the token: {0}")]
    Refused(String),
    /// The API server cannot be asked, so nothing is known about it.
    #[error("the API server cannot be asked about the token: {0}")]
    Unavailable(String),
    /// It does not name one service account.
    #[error("the token does not name a service account: {0}")]
    Subject(&'static str),
}

impl TokenError {
    /// Whether the same token may be accepted later.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

/// Namespace and name in the user name of a service account.
pub(super) fn service_account(user: &str) -> Result<(&str, &str), TokenError> {
    user.strip_prefix("system:serviceaccount:")
        .and_then(|rest| rest.split_once(':'))
        .filter(|(namespace, account)| {
            !namespace.is_empty() && !account.is_empty() && !account.contains(':')
        })
        .ok_or(TokenError::Subject(
            "\"sub\" is not of the form \"system:serviceaccount:NAMESPACE:NAME\"",
        ))
}
