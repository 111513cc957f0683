//! Identity from the client certificate of a TLS connection.
//!
//! rustls has verified the chain against the trust bundle in the handshake. What is left is to find the one
//! SPIFFE URI (SPIFFE X509-SVID section 2: exactly one URI SAN), to check the trust domain, and, since
//! connections outlive handshakes, to look at the end of the certificate again at every request.

use mesh_api::identity::{SpiffeId, TrustDomain};
use rustls_pki_types::CertificateDer;
use thiserror::Error;
use time::OffsetDateTime;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Why a certificate gives no identity.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PeerError {
    /// Not X.509.
    #[error("the certificate cannot be read")]
    Malformed,
    /// None or several.
    #[error("the certificate has {0} URI names instead of one")]
    UriNames(usize),
    /// Not a workload's SPIFFE id.
    #[error("\"{0}\" is not a SPIFFE id of a workload")]
    NotSpiffe(String),
    /// From another mesh.
    #[error("the identity is of trust domain \"{actual}\" instead of \"{expected}\"")]
    TrustDomain {
        /// What the certificate says.
        actual: String,
        /// Ours.
        expected: String,
    },
    /// It ended while the connection was open.
    #[error("the certificate ended at {0}")]
    Expired(OffsetDateTime),
}

/// What a verified client certificate says; made once per connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate {
    uri: Result<String, PeerError>,
    not_after: OffsetDateTime,
}

impl PeerCertificate {
    /// Reads a leaf that TLS has verified. A leaf that cannot be understood yields no identity later.
    pub fn from_verified(leaf: &CertificateDer<'_>) -> Self {
        match X509Certificate::from_der(leaf) {
            Ok((_, certificate)) => Self {
                uri: only_uri(&certificate),
                not_after: certificate.validity().not_after.to_datetime(),
            },
            Err(_) => Self {
                uri: Err(PeerError::Malformed),
                not_after: OffsetDateTime::UNIX_EPOCH,
            },
        }
    }

    /// The workload, if the certificate is of `trust_domain` and still valid.
    pub fn identity(
        &self,
        trust_domain: &TrustDomain,
        now: OffsetDateTime,
    ) -> Result<SpiffeId, PeerError> {
        let uri = self.uri.clone()?;
        if now > self.not_after {
            return Err(PeerError::Expired(self.not_after));
        }
        let identity: SpiffeId = match uri.parse() {
            Ok(identity) => identity,
            Err(_) => return Err(PeerError::NotSpiffe(uri)),
        };
        if identity.trust_domain != *trust_domain {
            return Err(PeerError::TrustDomain {
                actual: identity.trust_domain.to_string(),
                expected: trust_domain.to_string(),
            });
        }
        Ok(identity)
    }
}

fn only_uri(certificate: &X509Certificate<'_>) -> Result<String, PeerError> {
    let extension = certificate
        .subject_alternative_name()
        .map_err(|_| PeerError::Malformed)?;
    let names = extension.map_or(&[][..], |extension| &extension.value.general_names);
    let mut uris = names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    match (uris.next(), uris.count()) {
        (Some(uri), 0) => Ok(uri.to_owned()),
        (None, _) => Err(PeerError::UriNames(0)),
        (Some(_), more) => Err(PeerError::UriNames(more + 1)),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType};
    use time::Duration;

    use super::*;

    fn identity(uris: &[&str]) -> Result<String, PeerError> {
        let now = OffsetDateTime::now_utc();
        let mut params = CertificateParams::default();
        params.not_after = now + Duration::hours(1);
        params.subject_alt_names = uris
            .iter()
            .map(|uri| SanType::URI((*uri).try_into().unwrap()))
            .collect();
        let leaf = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        PeerCertificate::from_verified(leaf.der())
            .identity(&"cluster.local".parse().unwrap(), now)
            .map(|identity| identity.to_string())
    }

    #[test]
    fn exactly_one_spiffe_uri_of_our_trust_domain() {
        let ours = "spiffe://cluster.local/ns/shop/sa/cart";
        assert_eq!(identity(&[ours]).unwrap(), ours);
        assert_eq!(identity(&[]), Err(PeerError::UriNames(0)));
        assert_eq!(identity(&[ours, ours]), Err(PeerError::UriNames(2)));
        assert_eq!(
            identity(&["https://cluster.local/"]),
            Err(PeerError::NotSpiffe("https://cluster.local/".to_owned()))
        );
        assert_eq!(
            identity(&["spiffe://elsewhere/ns/shop/sa/cart"]),
            Err(PeerError::TrustDomain {
                actual: "elsewhere".to_owned(),
                expected: "cluster.local".to_owned()
            })
        );
    }

    #[test]
    fn a_certificate_that_ended_after_the_handshake_is_refused() {
        let now = OffsetDateTime::now_utc();
        let peer = PeerCertificate {
            uri: Ok("spiffe://cluster.local/ns/shop/sa/cart".to_owned()),
            not_after: now,
        };
        let domain = "cluster.local".parse().unwrap();
        assert!(peer.identity(&domain, now).is_ok());
        assert_eq!(
            peer.identity(&domain, now + Duration::seconds(1)),
            Err(PeerError::Expired(now))
        );
    }

    #[test]
    fn bytes_that_are_no_certificate_give_no_identity() {
        let peer = PeerCertificate::from_verified(&CertificateDer::from(vec![1, 2, 3]));
        let domain = "cluster.local".parse().unwrap();
        assert_eq!(
            peer.identity(&domain, OffsetDateTime::UNIX_EPOCH),
            Err(PeerError::Malformed)
        );
    }
}
