//! Every way in which a token can be wrong, and the one in which it is right.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{EncodingKey, Header};
use rcgen::{KeyPair, PublicKeyData};
use rstest::rstest;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

const ISSUER: &str = "https://kubernetes.default.svc";

struct Issuer {
    key: KeyPair,
    kid: &'static str,
}

impl Issuer {
    fn new(kid: &'static str) -> Self {
        Self {
            key: KeyPair::generate().unwrap(),
            kid,
        }
    }

    fn jwk(&self) -> Value {
        let point = self.key.der_bytes();
        json!({
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.kid,
            "x": URL_SAFE_NO_PAD.encode(&point[1..33]),
            "y": URL_SAFE_NO_PAD.encode(&point[33..65]),
        })
    }

    fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.kid.to_owned());
        let key = EncodingKey::from_ec_der(self.key.serialized_der());
        jsonwebtoken::encode(&header, claims, &key).unwrap()
    }
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

fn claims() -> Value {
    json!({
        "iss": ISSUER,
        "aud": ["istio-ca"],
        "sub": "system:serviceaccount:shop:cart",
        "exp": now() + 3600,
        "nbf": now() - 10,
        "kubernetes.io": {
            "namespace": "shop",
            "pod": {"name": "cart-1"},
            "serviceaccount": {"name": "cart", "uid": "1"},
        },
    })
}

fn changed(key: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[key] = value;
    claims
}

fn without(key: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(key);
    claims
}

fn verifier(keys: &[Value]) -> (TempDir, TokenVerifier) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("jwks.json");
    fs::write(&path, json!({ "keys": keys }).to_string()).unwrap();
    let domain = "cluster.local".parse().unwrap();
    let verifier = TokenVerifier::open(&path, ISSUER, domain).unwrap();
    (directory, verifier)
}

fn verify(claims: &Value) -> Result<String, TokenError> {
    let issuer = Issuer::new("k1");
    let (_directory, verifier) = verifier(&[issuer.jwk()]);
    verifier
        .verify(&issuer.sign(claims))
        .map(|identity| identity.to_string())
}

#[rstest]
#[case(claims())]
#[case(without("kubernetes.io"))]
#[case(without("nbf"))]
#[case(changed("aud", json!("istio-ca")))]
#[case(changed("aud", json!(["other", "istio-ca"])))]
fn a_good_token_names_its_service_account(#[case] claims: Value) {
    assert_eq!(
        verify(&claims).unwrap(),
        "spiffe://cluster.local/ns/shop/sa/cart"
    );
}

#[rstest]
#[case(changed("exp", json!(now() - 60)), "the token has expired")]
#[case(
    without("exp"),
    "the claims of the token are not usable: \"exp\" is missing"
)]
#[case(changed("exp", json!("soon")), "the claims of the token are not usable: \"exp\" is missing")]
#[case(changed("nbf", json!(now() + 60)), "the token is not valid yet")]
#[case(changed("aud", json!(["vault"])), "the token is not for the audience \"istio-ca\"")]
#[case(changed("aud", json!([])), "the token is not for the audience \"istio-ca\"")]
#[case(
    without("aud"),
    "the claims of the token are not usable: \"aud\" is missing"
)]
#[case(
    changed("iss", json!("https://elsewhere")),
    "the token was not issued by \"https://kubernetes.default.svc\""
)]
#[case(
    without("iss"),
    "the claims of the token are not usable: \"iss\" is missing"
)]
#[case(
    changed("sub", json!("system:serviceaccount:shop:admin")),
    "the token does not name a service account: \"sub\" and \"kubernetes.io\" disagree"
)]
#[case(
    changed("sub", json!("jason")),
    "the token does not name a service account: \"sub\" is not of the form \
     \"system:serviceaccount:NAMESPACE:NAME\""
)]
fn a_bad_claim_is_named(#[case] claims: Value, #[case] reason: &str) {
    assert_eq!(verify(&claims).unwrap_err().to_string(), reason);
}

#[test]
fn a_foreign_key_is_refused_under_its_own_name_and_under_ours() {
    let ours = Issuer::new("k1");
    let (_directory, verifier) = verifier(&[ours.jwk()]);
    assert_eq!(
        verifier.verify(&Issuer::new("k2").sign(&claims())),
        Err(TokenError::UnknownKey("k2".to_owned()))
    );
    assert_eq!(
        verifier.verify(&Issuer::new("k1").sign(&claims())),
        Err(TokenError::Signature)
    );
}

#[test]
fn the_algorithm_is_the_keys_and_not_the_tokens() {
    let ours = Issuer::new("k1");
    let (_directory, verifier) = verifier(&[ours.jwk()]);
    // The old trick: the public key as an HMAC secret.
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some("k1".to_owned());
    let secret = EncodingKey::from_secret(ours.key.der_bytes());
    let forged = jsonwebtoken::encode(&header, &claims(), &secret).unwrap();
    assert_eq!(verifier.verify(&forged), Err(TokenError::Algorithm));

    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let unsigned = format!(
        "{}.{}.",
        part(json!({"alg": "none", "kid": "k1"})),
        part(claims())
    );
    assert_eq!(verifier.verify(&unsigned), Err(TokenError::Malformed));
}

#[test]
fn a_damaged_or_endless_token_is_refused() {
    let ours = Issuer::new("k1");
    let (_directory, verifier) = verifier(&[ours.jwk()]);
    let token = ours.sign(&claims());
    let (head, signature) = token.rsplit_once('.').unwrap();
    let (header, _) = head.split_once('.').unwrap();
    let admin = changed("sub", json!("system:serviceaccount:kube-system:admin"));
    let body = URL_SAFE_NO_PAD.encode(admin.to_string());
    assert_eq!(
        verifier.verify(&format!("{header}.{body}.{signature}")),
        Err(TokenError::Signature)
    );
    assert_eq!(verifier.verify("a.b.c"), Err(TokenError::Malformed));
    assert_eq!(verifier.verify(""), Err(TokenError::Malformed));
    let long = "a".repeat(TOKEN_BYTES_MAX + 1);
    assert!(matches!(
        verifier.verify(&long),
        Err(TokenError::TooLong(_))
    ));
}

#[test]
fn keys_rotate_with_the_file_and_survive_a_broken_one() {
    let (old, new) = (Issuer::new("old"), Issuer::new("new"));
    let (directory, verifier) = verifier(&[old.jwk()]);
    let path = directory.path().join("jwks.json");
    fs::write(&path, json!({"keys": [old.jwk(), new.jwk()]}).to_string()).unwrap();
    verifier.reload().unwrap();
    verifier.verify(&old.sign(&claims())).unwrap();
    verifier.verify(&new.sign(&claims())).unwrap();
    fs::write(&path, "{\"keys\": [").unwrap();
    assert!(matches!(verifier.reload(), Err(JwksError::Syntax { .. })));
    verifier.verify(&new.sign(&claims())).unwrap();
}

#[test]
fn symmetric_keys_are_not_keys() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("jwks.json");
    let oct = json!({"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "k1", "alg": "HS256"}]});
    fs::write(&path, oct.to_string()).unwrap();
    let error = TokenVerifier::open(&path, ISSUER, "cluster.local".parse().unwrap()).unwrap_err();
    assert!(matches!(error, JwksError::NoKeys { .. }), "{error}");
}

proptest::proptest! {
    #[test]
    fn arbitrary_tokens_never_panic_and_never_pass(token in "[A-Za-z0-9_.=-]{0,200}|\\PC{0,60}") {
        let (_directory, verifier) = verifier(&[Issuer::new("k1").jwk()]);
        proptest::prop_assert!(verifier.verify(&token).is_err());
    }
}
