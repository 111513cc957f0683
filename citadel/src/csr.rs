//! Certificate signing requests: the public key, and the proof that the caller holds its private half.
//!
//! Nothing else of a request is used. Names, usages, the CA flag and all other extensions that a client may
//! ask for are not even looked at; [`crate::issue`] writes them from the authenticated identity. A request
//! with an extension that we do not know is therefore no error.

use rcgen::{PublicKeyData, SubjectPublicKeyInfo};
use rustls_pki_types::CertificateSigningRequestDer;
use rustls_pki_types::pem::{self, PemObject};
use thiserror::Error;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::oid_registry::{OID_PKCS1_SHA1WITHRSA, OID_SHA1_WITH_RSA};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;

/// Longest accepted request; one with an RSA 8192 key takes half of it.
pub const REQUEST_BYTES_MAX: usize = 8 * 1024;

/// Shortest accepted RSA key.
const RSA_BITS_MIN: usize = 2048;

/// What is wrong with a request.
#[derive(Debug, Error)]
pub enum CsrError {
    /// Longer than any honest one.
    #[error("the request has {0} bytes, more than {REQUEST_BYTES_MAX}")]
    TooLong(usize),
    /// Not PEM.
    #[error("the request is not valid PEM")]
    Pem(#[source] pem::Error),
    /// Not PKCS #10.
    #[error("the request is not a PKCS #10 certificate signing request")]
    Malformed,
    /// Signed with a broken or unknown algorithm, or by another key.
    #[error("the signature of the request does not verify")]
    Signature,
    /// The key is too weak or of a kind that we do not sign.
    #[error("the public key of the request is not accepted: {0}")]
    PublicKey(&'static str),
}

/// A public key whose owner has proven to hold the private key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenKey(SubjectPublicKeyInfo);

impl PublicKeyData for ProvenKey {
    fn der_bytes(&self) -> &[u8] {
        self.0.der_bytes()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        self.0.algorithm()
    }
}

/// Reads a PEM request and verifies its signature.
pub fn parse(text: &str) -> Result<ProvenKey, CsrError> {
    if text.len() > REQUEST_BYTES_MAX {
        return Err(CsrError::TooLong(text.len()));
    }
    let der =
        CertificateSigningRequestDer::from_pem_slice(text.as_bytes()).map_err(CsrError::Pem)?;
    parse_der(&der)
}

/// Reads a DER request and verifies its signature.
pub fn parse_der(der: &[u8]) -> Result<ProvenKey, CsrError> {
    if der.len() > REQUEST_BYTES_MAX {
        return Err(CsrError::TooLong(der.len()));
    }
    let (rest, request) =
        X509CertificationRequest::from_der(der).map_err(|_| CsrError::Malformed)?;
    if !rest.is_empty() {
        return Err(CsrError::Malformed);
    }
    // The parser verifies SHA-1 signatures "for legacy use"; a new request has no such excuse.
    let algorithm = &request.signature_algorithm.algorithm;
    if *algorithm == OID_PKCS1_SHA1WITHRSA || *algorithm == OID_SHA1_WITH_RSA {
        return Err(CsrError::Signature);
    }
    request
        .verify_signature()
        .map_err(|_| CsrError::Signature)?;

    let public_key = &request.certification_request_info.subject_pki;
    if let Ok(PublicKey::RSA(key)) = public_key.parsed()
        && key.key_size() < RSA_BITS_MIN
    {
        return Err(CsrError::PublicKey("RSA below 2048 bits"));
    }
    SubjectPublicKeyInfo::from_der(public_key.raw)
        .map(ProvenKey)
        .map_err(|_| CsrError::PublicKey("unknown algorithm"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};

    use super::*;

    fn request(key: &KeyPair) -> rcgen::CertificateSigningRequest {
        CertificateParams::new(["a.example".to_owned()])
            .unwrap()
            .serialize_request(key)
            .unwrap()
    }

    #[test]
    fn the_key_of_a_signed_request_is_taken() {
        for key in [
            KeyPair::generate().unwrap(),
            KeyPair::generate_for(&PKCS_ED25519).unwrap(),
        ] {
            let proven = parse(&request(&key).pem().unwrap()).unwrap();
            assert_eq!(
                proven.subject_public_key_info(),
                key.subject_public_key_info()
            );
        }
    }

    #[test]
    fn a_request_over_somebody_elses_key_is_refused() {
        let mut der = request(&KeyPair::generate().unwrap()).der().to_vec();
        let last = der.len() - 1;
        der[last] ^= 1;
        assert!(matches!(parse_der(&der), Err(CsrError::Signature)));
    }

    #[test]
    fn trailing_bytes_are_refused() {
        let mut der = request(&KeyPair::generate().unwrap()).der().to_vec();
        der.push(0);
        assert!(matches!(parse_der(&der), Err(CsrError::Malformed)));
    }

    #[test]
    fn bad_pem_and_long_texts_are_refused() {
        assert!(matches!(parse("hello"), Err(CsrError::Pem(_))));
        assert!(matches!(parse(""), Err(CsrError::Pem(_))));
        let certificate = request(&KeyPair::generate().unwrap())
            .pem()
            .unwrap()
            .replace("CERTIFICATE REQUEST", "CERTIFICATE");
        assert!(matches!(parse(&certificate), Err(CsrError::Pem(_))));
        let long = "x".repeat(REQUEST_BYTES_MAX + 1);
        assert!(matches!(parse(&long), Err(CsrError::TooLong(_))));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            prop_assert!(parse_der(&bytes).is_err());
        }

        #[test]
        fn a_damaged_request_never_panics_and_never_passes(at in 0_usize..220, bit in 0_u8..8) {
            let key = KeyPair::generate().unwrap();
            let mut der = request(&key).der().to_vec();
            let at = at % der.len();
            der[at] ^= 1 << bit;
            // A flipped bit is either refused or, where it is not signed, leaves the key alone.
            if let Ok(proven) = parse_der(&der) {
                prop_assert_eq!(proven.subject_public_key_info(), key.subject_public_key_info());
            }
        }
    }
}
