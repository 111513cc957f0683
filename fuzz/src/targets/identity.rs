//! What callers of the certificate authority bring.

use std::fs;
use std::sync::LazyLock;

use citadel::authenticate::jwks::TokenVerifier;
use citadel::csr;
use mesh_api::identity::TrustDomain;
use tempfile::TempDir;

use crate::target::{Outcome, Target, kind_of, outcome};

const ISSUER: &str = "https://kubernetes.default.svc";

/// The public key of the token among the seeds.
const JWKS: &str = include_str!("../../corpus/jwks/es256.json");

/// That token.
const TOKEN: &str = include_str!("../../corpus/jwt/service-account");

pub(super) static TARGETS: &[Target] = &[
    Target::new("csr", certificate_request).dictionary(&[
        "-----BEGIN CERTIFICATE REQUEST-----\n",
        "\n-----END CERTIFICATE REQUEST-----\n",
        "\u{30}\u{2}\u{5}\u{0}",
        "\u{6}\u{1}\u{0}",
    ]),
    Target::new("jwks", jwks).dictionary(&[
        "\"kty\":\"RSA\"",
        "\"oct\"",
        "\"n\":\"",
        "\"e\":\"AQAB\"",
        "\"kid\"",
        "\"use\":\"enc\"",
        "\"alg\":\"HS256\"",
        "\"crv\":\"P-384\"",
        "{}",
        "[]",
        "null",
        ",",
    ]),
    Target::new("jwt", jwt).dictionary(&[
        ".",
        "eyJhbGciOiJub25lIn0.",
        "eyJhbGciOiJIUzI1NiJ9.",
        "=",
        "Bearer ",
    ]),
];

/// A request is accepted in both encodings or in none.
fn certificate_request(input: &[u8]) -> Outcome {
    let der = csr::parse_der(input);
    let pem = csr::parse(&String::from_utf8_lossy(input));
    assert!(der.is_err() || pem.is_err());
    let kind = |result: &Result<_, csr::CsrError>| match result {
        Ok(_) => outcome("accepted"),
        Err(error) => kind_of(&error.to_string()),
    };
    outcome((kind(&der), kind(&pem)))
}

/// The verifier reads a file; this is the folder for it.
static FOLDER: LazyLock<TempDir> = LazyLock::new(|| {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .expect("a folder")
});

fn verifier(jwks: &[u8]) -> Result<TokenVerifier, Outcome> {
    let path = FOLDER.path().join("jwks.json");
    fs::write(&path, jwks).expect("the folder can be written to");
    TokenVerifier::open(&path, ISSUER, TrustDomain::default())
        .map_err(|error| kind_of(&error.to_string()))
}

/// No other key than the seed's own verifies the seed's token.
fn jwks(input: &[u8]) -> Outcome {
    let verifier = match verifier(input) {
        Ok(verifier) => verifier,
        Err(kind) => return kind,
    };
    match verifier.verify(TOKEN.trim()) {
        Ok(_) => outcome("verified"),
        Err(error) => kind_of(&error.to_string()),
    }
}

/// No other claims than the seed's are believed.
fn jwt(input: &[u8]) -> Outcome {
    static VERIFIER: LazyLock<TokenVerifier> =
        LazyLock::new(|| verifier(JWKS.as_bytes()).expect("the seed is a key set"));
    let text = String::from_utf8_lossy(input);
    let signed = |token: &str| token.rsplit_once('.').map(|(signed, _)| signed.to_owned());
    match VERIFIER.verify(&text) {
        Ok(_) => {
            assert_eq!(
                signed(&text),
                signed(TOKEN.trim()),
                "a forged token verifies"
            );
            outcome("verified")
        }
        Err(error) => kind_of(&error.to_string()),
    }
}
