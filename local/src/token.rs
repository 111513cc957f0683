//! Service-account tokens: signed here, verified by the control plane against a key set.
//!
//! The key is made when the mesh starts and lives in memory only; the public half is written as
//! JWKS. Claims are those of Kubernetes' projected tokens, so citadel needs no second code path.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Issuer of all local tokens.
pub const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// Key id in headers and key set.
const KEY_ID: &str = "local";

/// Length of an uncompressed P-256 point: a tag and two coordinates.
const POINT_BYTES: usize = 65;

/// A token could not be made.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// No key.
    #[error("cannot make the token signing key")]
    Key,
    /// No signature.
    #[error("cannot sign a token")]
    Sign(#[from] jsonwebtoken::errors::Error),
}

/// Whom a token speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Namespace of the pod and its account.
    pub namespace: String,
    /// Service account.
    pub service_account: String,
    /// Pod name.
    pub pod: String,
    /// Pod uid.
    pub pod_uid: String,
}

/// Claims of a projected service-account token.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Issuer.
    pub iss: String,
    /// `system:serviceaccount:NAMESPACE:NAME`
    pub sub: String,
    /// Audiences.
    pub aud: Vec<String>,
    /// Issued at, seconds since the epoch.
    pub iat: u64,
    /// Not before.
    pub nbf: u64,
    /// Expires.
    pub exp: u64,
    /// What the token is bound to.
    #[serde(rename = "kubernetes.io")]
    pub bound: serde_json::Value,
}

/// Signs tokens with one key.
pub struct TokenSigner {
    key: EncodingKey,
    jwks: String,
}

impl TokenSigner {
    /// Makes a new key.
    pub fn generate() -> Result<Self, TokenError> {
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new())
            .map_err(|_| TokenError::Key)?;
        let pair =
            EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref()).map_err(|_| TokenError::Key)?;
        let point = pair.public_key().as_ref();
        if point.len() != POINT_BYTES {
            return Err(TokenError::Key);
        }
        let (x, y) = point[1..].split_at(POINT_BYTES / 2);
        let jwks = json!({"keys": [{
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": KEY_ID,
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        }]});
        Ok(Self {
            key: EncodingKey::from_ec_der(document.as_ref()),
            jwks: jwks.to_string(),
        })
    }

    /// The public half, as JWKS.
    pub fn jwks(&self) -> &str {
        &self.jwks
    }

    /// A token for `subject`, valid from `now`.
    pub fn sign(
        &self,
        subject: &Subject,
        audience: &str,
        lifetime: Duration,
        now: SystemTime,
    ) -> Result<String, TokenError> {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let header = Header {
            kid: Some(KEY_ID.to_owned()),
            ..Header::new(Algorithm::ES256)
        };
        let Subject {
            namespace,
            service_account,
            pod,
            pod_uid,
        } = subject;
        let claims = Claims {
            iss: ISSUER.to_owned(),
            sub: format!("system:serviceaccount:{namespace}:{service_account}"),
            aud: vec![audience.to_owned()],
            iat: now,
            nbf: now,
            exp: now + lifetime.as_secs(),
            bound: json!({
                "namespace": namespace,
                "pod": {"name": pod, "uid": pod_uid},
                "serviceaccount": {"name": service_account, "uid": format!("{namespace}-{service_account}")},
            }),
        };
        Ok(jsonwebtoken::encode(&header, &claims, &self.key)?)
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{DecodingKey, Validation, jwk::JwkSet};

    use super::*;

    #[test]
    fn a_token_verifies_against_the_published_keys() {
        let signer = TokenSigner::generate().unwrap();
        let subject = Subject {
            namespace: "default".into(),
            service_account: "bookinfo-reviews".into(),
            pod: "reviews-v1-abc".into(),
            pod_uid: "u-1".into(),
        };
        let now = SystemTime::now();
        let token = signer
            .sign(&subject, "istio-ca", Duration::from_secs(3600), now)
            .unwrap();
        let keys: JwkSet = serde_json::from_str(signer.jwks()).unwrap();
        let key = DecodingKey::from_jwk(keys.find(KEY_ID).unwrap()).unwrap();
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_audience(&["istio-ca"]);
        validation.set_issuer(&[ISSUER]);
        let claims = jsonwebtoken::decode::<Claims>(&token, &key, &validation)
            .unwrap()
            .claims;
        let issued = now.duration_since(UNIX_EPOCH).unwrap().as_secs();
        assert_eq!(claims.sub, "system:serviceaccount:default:bookinfo-reviews");
        assert_eq!((claims.iat, claims.exp), (issued, issued + 3600));
        assert_eq!(claims.bound["pod"]["name"], "reviews-v1-abc");
        validation.set_audience(&["vault"]);
        assert!(jsonwebtoken::decode::<Claims>(&token, &key, &validation).is_err());
    }
}
