//! The key of the workload and the request to certify it (PKCS #10).

use rcgen::string::Ia5String;
use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256, SanType};

/// A fresh key with its signing request.
pub struct Request {
    /// The request, PEM.
    pub csr: String,
    /// The private key, PKCS #8 PEM.
    pub key: String,
}

impl std::fmt::Debug for Request {
    /// The key is not printed.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request").finish_non_exhaustive()
    }
}

/// Makes an ECDSA P-256 key and asks for `identity`, the SPIFFE id of the workload. What is certified in the end
/// is what citadel knows of the token's owner, not what is written here.
pub fn request(identity: &str) -> Result<Request, rcgen::Error> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.distinguished_name.remove(DnType::CommonName);
    params.subject_alt_names = vec![SanType::URI(Ia5String::try_from(identity)?)];
    let csr = params.serialize_request(&key)?.pem()?;
    Ok(Request {
        csr,
        key: key.serialize_pem(),
    })
}
