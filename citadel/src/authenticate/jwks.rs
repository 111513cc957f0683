//! Service-account tokens, verified with a JWKS file.
//!
//! The key is chosen by `kid`, and the algorithm is a property of the key, never of the token: a token that
//! names another algorithm is refused before any signature is looked at. Symmetric keys are not accepted at
//! all, for whoever can verify with one can also forge. The file is read again when it changes; one that
//! cannot be read leaves the keys in force.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use mesh_api::identity::{SpiffeId, TrustDomain};
use mesh_runtime::file_watch::{FileWatch, WatchError};
use serde::Deserialize;
use thiserror::Error;

use super::token::{self, AUDIENCE, TOKEN_BYTES_MAX, TokenError};

/// How far the clock of the token's issuer may be off.
const LEEWAY_SECONDS: u64 = 10;

/// Why the keys cannot be used.
#[derive(Debug, Error)]
pub enum JwksError {
    /// The file cannot be read.
    #[error("cannot read \"{}\"", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is not a JWK set.
    #[error("\"{}\" is not a JSON Web Key Set", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where it is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// Every key in it is of a kind that is not accepted.
    #[error("\"{}\" has no asymmetric signing key", path.display())]
    NoKeys {
        /// The file.
        path: PathBuf,
    },
    /// Changes would go unnoticed.
    #[error(transparent)]
    Watch(#[from] WatchError),
}

/// Verifies tokens with the keys of one file.
#[derive(Debug)]
pub struct TokenVerifier {
    path: PathBuf,
    issuer: String,
    audience: String,
    trust_domain: TrustDomain,
    keys: ArcSwap<Keys>,
}

/// Keys by id; one without id is under the empty string.
#[derive(Debug)]
struct Keys(HashMap<String, Key>);

#[derive(Clone)]
struct Key {
    decoding: DecodingKey,
    algorithms: Vec<Algorithm>,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Key").field(&self.algorithms).finish()
    }
}

impl TokenVerifier {
    /// Reads the keys of `path`; tokens must be from `issuer` and for [`AUDIENCE`].
    pub fn open(path: &Path, issuer: &str, trust_domain: TrustDomain) -> Result<Self, JwksError> {
        Ok(Self {
            keys: ArcSwap::from_pointee(read_keys(path)?),
            path: path.to_owned(),
            issuer: issuer.to_owned(),
            audience: AUDIENCE.to_owned(),
            trust_domain,
        })
    }

    /// Follows the file until dropped. Ends only with an error.
    pub async fn run(self: Arc<Self>) -> Result<(), JwksError> {
        let parent = self
            .path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        let watch = FileWatch::new(&[parent.unwrap_or(Path::new("."))])?;
        loop {
            if let Err(error) = self.reload() {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the token keys cannot be used, those in force stay"
                );
            }
            watch.changed().await;
        }
    }

    /// Reads the file again; on an error the keys in force stay.
    pub fn reload(&self) -> Result<(), JwksError> {
        self.keys.store(Arc::new(read_keys(&self.path)?));
        Ok(())
    }

    /// The service account that a token speaks for.
    pub fn verify(&self, token: &str) -> Result<SpiffeId, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::TooLong(token.len()));
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Malformed)?;
        let keys = self.keys.load();
        let key = keys.find(header.kid.as_deref())?;
        if !key.algorithms.contains(&header.alg) {
            return Err(TokenError::Algorithm);
        }
        let validation = self.validation(header.alg);
        let claims = jsonwebtoken::decode::<Claims>(token, &key.decoding, &validation)
            .map_err(|error| self.explain(error.kind()))?
            .claims;
        let (namespace, account) = claims.service_account()?;
        SpiffeId::new(self.trust_domain.clone(), namespace, account)
            .map_err(|_| TokenError::Subject("a name is not valid in a SPIFFE id"))
    }

    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[&self.audience]);
        validation.validate_nbf = true;
        validation.leeway = LEEWAY_SECONDS;
        validation
    }

    fn explain(&self, kind: &ErrorKind) -> TokenError {
        match kind {
            ErrorKind::InvalidSignature => TokenError::Signature,
            ErrorKind::InvalidAlgorithm => TokenError::Algorithm,
            ErrorKind::ExpiredSignature => TokenError::Expired,
            ErrorKind::ImmatureSignature => TokenError::NotYetValid,
            ErrorKind::InvalidIssuer => TokenError::Issuer(self.issuer.clone()),
            ErrorKind::InvalidAudience => TokenError::Audience(self.audience.clone()),
            ErrorKind::MissingRequiredClaim(claim) => {
                TokenError::Claims(format!("\"{claim}\" is missing"))
            }
            ErrorKind::InvalidClaimFormat(claim) => {
                TokenError::Claims(format!("\"{claim}\" is of the wrong type"))
            }
            ErrorKind::Json(error) => TokenError::Claims(error.to_string()),
            _ => TokenError::Malformed,
        }
    }
}

impl Keys {
    fn find(&self, id: Option<&str>) -> Result<&Key, TokenError> {
        match id {
            Some(id) => self
                .0
                .get(id)
                .ok_or_else(|| TokenError::UnknownKey(id.chars().take(64).collect())),
            None if self.0.len() == 1 => self.0.values().next().ok_or(TokenError::NoKeyId),
            None => Err(TokenError::NoKeyId),
        }
    }
}

/// The claims of a Kubernetes service-account token.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    #[serde(rename = "kubernetes.io")]
    kubernetes: Option<KubernetesClaims>,
}

#[derive(Deserialize)]
struct KubernetesClaims {
    namespace: String,
    serviceaccount: ServiceAccountClaims,
}

#[derive(Deserialize)]
struct ServiceAccountClaims {
    name: String,
}

impl Claims {
    /// Namespace and name. The private claims and the subject must not disagree.
    fn service_account(&self) -> Result<(&str, &str), TokenError> {
        let subject = token::service_account(&self.sub)?;
        if let Some(claims) = &self.kubernetes
            && (
                claims.namespace.as_str(),
                claims.serviceaccount.name.as_str(),
            ) != subject
        {
            return Err(TokenError::Subject(
                "\"sub\" and \"kubernetes.io\" disagree",
            ));
        }
        Ok(subject)
    }
}

fn read_keys(path: &Path) -> Result<Keys, JwksError> {
    let text = std::fs::read(path).map_err(|source| JwksError::Read {
        path: path.to_owned(),
        source,
    })?;
    let set: JwkSet = serde_json::from_slice(&text).map_err(|source| JwksError::Syntax {
        path: path.to_owned(),
        source,
    })?;
    let keys: HashMap<String, Key> = set.keys.iter().filter_map(usable).collect();
    if keys.is_empty() {
        return Err(JwksError::NoKeys {
            path: path.to_owned(),
        });
    }
    Ok(Keys(keys))
}

fn usable(jwk: &Jwk) -> Option<(String, Key)> {
    let id = jwk.common.key_id.clone().unwrap_or_default();
    let for_signatures = matches!(
        jwk.common.public_key_use,
        None | Some(PublicKeyUse::Signature)
    );
    let algorithms = algorithms(jwk);
    let decoding = DecodingKey::from_jwk(jwk);
    match decoding {
        Ok(decoding) if for_signatures && !algorithms.is_empty() => Some((
            id,
            Key {
                decoding,
                algorithms,
            },
        )),
        _ => {
            tracing::warn!(kid = id, "a key of the JWKS file is not usable for tokens");
            None
        }
    }
}

/// What a key may sign with: its kind, narrowed by its `alg`.
fn algorithms(jwk: &Jwk) -> Vec<Algorithm> {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    let by_kind: &[Algorithm] = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => &[RS256, RS384, RS512, PS256, PS384, PS512],
        AlgorithmParameters::EllipticCurve(key) => match key.curve {
            EllipticCurve::P256 => &[ES256],
            EllipticCurve::P384 => &[ES384],
            _ => &[],
        },
        AlgorithmParameters::OctetKeyPair(_) => &[EdDSA],
        _ => &[],
    };
    let Some(named) = jwk.common.key_algorithm else {
        return by_kind.to_vec();
    };
    let named = Algorithm::try_from(named).ok();
    by_kind
        .iter()
        .copied()
        .filter(|algorithm| Some(*algorithm) == named)
        .collect()
}

#[cfg(test)]
mod tests;
