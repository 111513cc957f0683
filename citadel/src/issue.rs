//! Writes certificates: everything in them comes from the authenticated identity and our own rules.
//!
//! Workload certificates carry exactly one name, the SPIFFE URI, in a critical SAN under an empty subject
//! (SPIFFE X509-SVID §2 and §4), and never outlive the certificate that signs them.

use aws_lc_rs::rand;
use mesh_api::identity::SpiffeId;
use rcgen::{
    CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    PublicKeyData, SanType, SerialNumber,
};
use rustls_pki_types::CertificateDer;
use thiserror::Error;
use time::{Duration, OffsetDateTime};

use crate::ca::key_cert_bundle::KeyCertBundle;
use crate::trust_bundle::{TrustBundle, certificates_to_pem};

/// How far into the past a certificate begins, for peers whose clocks are behind.
pub const CLOCK_SKEW: Duration = Duration::minutes(2);

/// How long certificates live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// Granted when the caller names none.
    pub default: Duration,
    /// Granted at most, whatever the caller asks for.
    pub max: Duration,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self {
            default: Duration::hours(24),
            max: Duration::days(90),
        }
    }
}

impl Lifetimes {
    /// What a request for `wanted` gets.
    ///
    /// Differs from Istio, which refuses a request above the maximum: a shorter certificate is what the
    /// client has to renew anyway.
    pub fn grant(&self, wanted: Option<Duration>) -> Duration {
        wanted
            .filter(|wanted| wanted.is_positive())
            .unwrap_or(self.default)
            .min(self.max)
    }
}

/// Why no certificate was written.
#[derive(Debug, Error)]
pub enum IssueError {
    /// A name cannot stand in a certificate.
    #[error("\"{name}\" cannot stand in a certificate")]
    Name {
        /// The name.
        name: String,
        /// Why.
        #[source]
        source: rcgen::Error,
    },
    /// The signing certificate is past its end.
    #[error("the signing certificate ended at {0}")]
    CaExpired(OffsetDateTime),
    /// The signature could not be made.
    #[error("signing failed")]
    Sign(#[source] rcgen::Error),
}

/// A signed certificate with what its holder needs besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// The leaf.
    pub certificate: CertificateDer<'static>,
    /// What stands between leaf and root.
    pub chain: Vec<CertificateDer<'static>>,
    /// What the holder verifies its peers against.
    pub trust_bundle: TrustBundle,
    /// When it ends.
    pub not_after: OffsetDateTime,
}

impl Issued {
    /// Leaf and chain, as TLS sends them.
    pub fn full_chain(&self) -> Vec<CertificateDer<'static>> {
        let mut chain = vec![self.certificate.clone()];
        chain.extend(self.chain.iter().cloned());
        chain
    }

    /// One PEM text per certificate from leaf to the last below the root, then all roots as one text: the
    /// list that `CreateCertificate` answers, whose last element clients take for the roots.
    pub fn to_pem_list(&self) -> Vec<String> {
        let mut list: Vec<String> = self
            .full_chain()
            .iter()
            .map(|certificate| certificates_to_pem(std::slice::from_ref(certificate)))
            .collect();
        list.push(self.trust_bundle.to_pem());
        list
    }
}

/// A certificate for a workload.
pub fn workload(
    bundle: &KeyCertBundle,
    identity: &SpiffeId,
    public_key: &impl PublicKeyData,
    lifetime: Duration,
    now: OffsetDateTime,
) -> Result<Issued, IssueError> {
    let uri = identity.to_string();
    let name = uri.as_str().try_into().map_err(|source| IssueError::Name {
        name: uri.clone(),
        source,
    })?;
    sign(bundle, vec![SanType::URI(name)], public_key, lifetime, now)
}

/// A certificate for a server of the control plane.
pub fn server(
    bundle: &KeyCertBundle,
    names: &[String],
    public_key: &impl PublicKeyData,
    lifetime: Duration,
    now: OffsetDateTime,
) -> Result<Issued, IssueError> {
    let names = names
        .iter()
        .map(|name| server_name(name))
        .collect::<Result<_, _>>()?;
    sign(bundle, names, public_key, lifetime, now)
}

/// A leaf over a throw-away key, to find out whether peers would accept this CA.
pub(crate) fn trial(
    bundle: &KeyCertBundle,
    now: OffsetDateTime,
) -> Result<CertificateDer<'static>, IssueError> {
    let key = KeyPair::generate().map_err(IssueError::Sign)?;
    let names = vec![server_name("trial.invalid")?];
    let issued = sign(bundle, names, &key, Duration::minutes(1), now)?;
    Ok(issued.certificate)
}

/// Twenty random bytes with the highest bit clear (RFC 5280 section 4.1.2.2).
///
/// rcgen would derive the serial from the public key, which gives a renewed certificate the old serial.
pub(crate) fn random_serial() -> SerialNumber {
    let mut bytes = [0_u8; 20];
    rand::fill(&mut bytes).expect("the system's random source works");
    bytes[0] = (bytes[0] & 0x7f) | 0x40;
    SerialNumber::from_slice(&bytes)
}

fn server_name(name: &str) -> Result<SanType, IssueError> {
    if let Ok(address) = name.parse() {
        return Ok(SanType::IpAddress(address));
    }
    name.try_into()
        .map(SanType::DnsName)
        .map_err(|source| IssueError::Name {
            name: name.to_owned(),
            source,
        })
}

fn sign(
    bundle: &KeyCertBundle,
    names: Vec<SanType>,
    public_key: &impl PublicKeyData,
    lifetime: Duration,
    now: OffsetDateTime,
) -> Result<Issued, IssueError> {
    if now >= bundle.not_after() {
        return Err(IssueError::CaExpired(bundle.not_after()));
    }
    let not_after = (now + lifetime).min(bundle.not_after());
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = names;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyEncipherment,
    ];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params.not_before = now - CLOCK_SKEW;
    params.not_after = not_after;
    params.serial_number = Some(random_serial());
    params.use_authority_key_identifier_extension = true;
    let certificate = params
        .signed_by(public_key, bundle.issuer())
        .map_err(IssueError::Sign)?;
    Ok(Issued {
        certificate: certificate.into(),
        chain: bundle.chain().to_vec(),
        trust_bundle: bundle.trust_bundle().clone(),
        not_after,
    })
}

#[cfg(test)]
mod tests;
