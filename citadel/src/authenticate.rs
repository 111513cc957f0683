//! Who is calling: by client certificate or by service-account token.
//!
//! The certificate comes first, since it proves possession of a key where a token is merely carried. A caller
//! is refused with every reason that was found, because "unauthenticated" alone has cost people days.

pub mod token;

pub mod jwks;

pub mod token_review;

pub mod mtls;

use std::fmt;
use std::sync::Arc;

use mesh_api::identity::{SpiffeId, TrustDomain};
use thiserror::Error;

use crate::clock::Clock;
use jwks::TokenVerifier;
use mtls::{PeerCertificate, PeerError};
use token::TokenError;
use token_review::TokenReviewer;

/// A caller who has proven an identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Who it is.
    pub identity: SpiffeId,
    /// How that was proven.
    pub method: Method,
}

/// What an identity was proven by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// A certificate of the mesh, in the TLS handshake.
    ClientCertificate,
    /// A service-account token.
    Token,
}

/// Why a caller has no identity.
#[derive(Debug, Error)]
pub struct AuthenticateError {
    /// The certificate's fault, if one was presented.
    pub certificate: Option<PeerError>,
    /// The token's fault, if one was presented.
    pub token: Option<TokenError>,
}

impl fmt::Display for AuthenticateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.certificate, &self.token) {
            (None, None) => {
                f.write_str("neither a client certificate nor a bearer token was presented")
            }
            (Some(certificate), None) => write!(f, "client certificate: {certificate}"),
            (None, Some(token)) => write!(f, "bearer token: {token}"),
            (Some(certificate), Some(token)) => {
                write!(
                    f,
                    "client certificate: {certificate}; bearer token: {token}"
                )
            }
        }
    }
}

impl AuthenticateError {
    /// Whether the same caller may be accepted later: nothing was found against it.
    pub fn is_temporary(&self) -> bool {
        self.token.as_ref().is_some_and(TokenError::is_temporary)
    }
}

/// Who vouches for service-account tokens.
#[derive(Clone, Debug)]
pub enum Tokens {
    /// Nobody: tokens are refused.
    Refused,
    /// A file of keys.
    Keys(Arc<TokenVerifier>),
    /// The API server.
    Reviewed(Arc<TokenReviewer>),
}

/// Decides who is calling.
#[derive(Clone, Debug)]
pub struct Authenticator {
    trust_domain: TrustDomain,
    tokens: Tokens,
    clock: Clock,
}

impl Authenticator {
    /// Accepts certificates of `trust_domain`, and tokens that `tokens` vouches for.
    pub fn new(trust_domain: TrustDomain, tokens: Tokens, clock: Clock) -> Self {
        Self {
            trust_domain,
            tokens,
            clock,
        }
    }

    /// Identifies a caller by the verified certificate of its connection or the `authorization` header.
    pub async fn authenticate(
        &self,
        certificate: Option<&PeerCertificate>,
        authorization: Option<&[u8]>,
    ) -> Result<Caller, AuthenticateError> {
        let certificate = match certificate.map(|peer| self.by_certificate(peer)) {
            Some(Ok(identity)) => {
                return Ok(Caller {
                    identity,
                    method: Method::ClientCertificate,
                });
            }
            Some(Err(error)) => Some(error),
            None => None,
        };
        let token = match authorization {
            Some(header) => match self.by_token(header).await {
                Ok(identity) => {
                    return Ok(Caller {
                        identity,
                        method: Method::Token,
                    });
                }
                Err(error) => Some(error),
            },
            None => None,
        };
        Err(AuthenticateError { certificate, token })
    }

    /// The identity in the verified certificate of a connection.
    pub fn by_certificate(&self, peer: &PeerCertificate) -> Result<SpiffeId, PeerError> {
        peer.identity(&self.trust_domain, self.clock.now())
    }

    /// The identity in the bearer token of an `authorization` header.
    pub async fn by_token(&self, header: &[u8]) -> Result<SpiffeId, TokenError> {
        let token = || bearer(header).ok_or(TokenError::NotBearer);
        match &self.tokens {
            Tokens::Refused => Err(TokenError::NotConfigured),
            Tokens::Keys(keys) => keys.verify(token()?),
            Tokens::Reviewed(reviewer) => reviewer.verify(token()?).await,
        }
    }
}

/// The token of `Bearer TOKEN`; the scheme is compared without case (RFC 9110 section 11.1).
fn bearer(header: &[u8]) -> Option<&str> {
    let header = std::str::from_utf8(header).ok()?;
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_is_bearer_in_any_case() {
        assert_eq!(bearer(b"Bearer a.b.c"), Some("a.b.c"));
        assert_eq!(bearer(b"bearer  a.b.c"), Some("a.b.c"));
        assert_eq!(bearer(b"Basic a.b.c"), None);
        assert_eq!(bearer(b"Bearer"), None);
        assert_eq!(bearer(b"Bearer \xff"), None);
    }

    #[tokio::test]
    async fn a_caller_without_credentials_is_told_so() {
        let domain: TrustDomain = "cluster.local".parse().unwrap();
        let authenticator = Authenticator::new(domain, Tokens::Refused, Clock::system());
        assert_eq!(
            authenticator
                .authenticate(None, None)
                .await
                .unwrap_err()
                .to_string(),
            "neither a client certificate nor a bearer token was presented"
        );
        assert_eq!(
            authenticator
                .authenticate(None, Some(b"Bearer x"))
                .await
                .unwrap_err()
                .to_string(),
            "bearer token: this server has no keys to verify tokens with"
        );
    }
}
