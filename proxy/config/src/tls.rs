//! TLS as executed (`envoy.extensions.transport_sockets.tls.v3`): what a context is made of, before its secrets are
//! there. The contexts themselves, with keys that sign, are built by the TLS layer.

use std::fmt;

use bytes::Bytes;

use crate::secret::SecretRef;

pub mod san;

use san::SanMatcher;

/// `UpstreamTlsContext`: TLS origination.
#[derive(Debug, Clone)]
pub struct ClientTls {
    /// `sni`; a valid server name.
    pub sni: Option<Box<str>>,
    /// SNI is the endpoint's host name.
    pub auto_host_sni: bool,
    /// The certificate must be for the SNI that was sent.
    pub auto_sni_san_validation: bool,
    /// What both sides have.
    pub common: CommonTls,
}

/// `DownstreamTlsContext`: TLS termination.
#[derive(Debug, Clone)]
pub struct ServerTls {
    /// `require_client_certificate`.
    pub require_client_certificate: bool,
    /// `require_sni`.
    pub require_sni: bool,
    /// What both sides have.
    pub common: CommonTls,
}

/// `CommonTlsContext`.
#[derive(Debug, Clone, Default)]
pub struct CommonTls {
    /// Our certificates, in the order of preference.
    pub certificates: Vec<CertificateSource>,
    /// What peers are verified against; merged under `validation_sds` if both are there.
    pub validation: Option<Validation>,
    /// The same, by SDS.
    pub validation_sds: Option<SecretRef>,
    /// `alpn_protocols`.
    pub alpn: Vec<Vec<u8>>,
    /// `tls_params`.
    pub parameters: TlsParameters,
}

/// `TlsParameters`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsParameters {
    /// TLS 1.2 is spoken.
    pub tls12: bool,
    /// TLS 1.3 is spoken.
    pub tls13: bool,
    /// `cipher_suites` by OpenSSL's names; empty for the defaults.
    pub cipher_suites: Vec<Box<str>>,
    /// `ecdh_curves`; empty for the defaults.
    pub ecdh_curves: Vec<Box<str>>,
}

impl Default for TlsParameters {
    fn default() -> Self {
        Self {
            tls12: true,
            tls13: true,
            cipher_suites: Vec::new(),
            ecdh_curves: Vec::new(),
        }
    }
}

/// A certificate or where it comes from.
#[derive(Debug, Clone)]
pub enum CertificateSource {
    /// In the context itself.
    Inline(CertificatePem),
    /// By SDS.
    Sds(SecretRef),
}

/// A secret as SDS or a bootstrap has it.
#[derive(Debug, Clone)]
pub enum Secret {
    /// `tls_certificate`.
    Certificate(CertificatePem),
    /// `validation_context`.
    Validation(Validation),
}

/// A certificate chain with its key, as PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct CertificatePem {
    /// `certificate_chain`, leaf first.
    pub chain: Bytes,
    /// `private_key`.
    pub key: Bytes,
    /// `ocsp_staple`, as DER.
    pub ocsp_staple: Option<Bytes>,
}

impl fmt::Debug for CertificatePem {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificatePem").finish_non_exhaustive()
    }
}

/// `CertificateValidationContext`.
#[derive(Debug, Clone, Default)]
pub struct Validation {
    /// `trusted_ca` or `system_root_certs`, as PEM; `None` verifies no chain.
    pub roots: Option<RootsPem>,
    /// `match_typed_subject_alt_names`: one must match; empty for any.
    pub sans: Vec<SanMatcher>,
    /// `verify_certificate_spki`: SHA-256 of public keys, one must match.
    pub spki_sha256: Vec<[u8; 32]>,
    /// `verify_certificate_hash`: SHA-256 of certificates, one must match.
    pub certificate_sha256: Vec<[u8; 32]>,
    /// `crl`, as PEM.
    pub crl: Option<Bytes>,
    /// `only_verify_leaf_cert_crl`.
    pub only_leaf_crl: bool,
    /// `allow_expired_certificate`.
    pub allow_expired: bool,
    /// `trust_chain_verification: ACCEPT_UNTRUSTED`: whoever presents a certificate is let in unverified.
    pub accept_untrusted: bool,
}

/// Trust anchors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootsPem {
    /// `trusted_ca`.
    Pem(Bytes),
    /// `system_root_certs`: those of the machine.
    System,
}
