//! What both sides of TLS have in common (`CommonTlsContext`).

use std::fmt;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::{CipherSuite, NamedGroup, SupportedCipherSuite, SupportedProtocolVersion, version};

use super::secret::{Certificate, Validation};
use super::secret_store::Secrets;
use super::verify_spiffe::VerifyFailure;
use crate::config::error::{ConfigError, Within};
use crate::config::secret::SecretRef;
use crate::config::tls as config;
use crate::config::tls::{CommonTls, TlsParameters};

/// Why a TLS connection did not come about. The text goes into logs and `%UPSTREAM_TRANSPORT_FAILURE_REASON%`.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Secrets have not arrived yet, or were taken away.
    #[error("secret is not supplied by SDS: {0}")]
    NotReady(String),
    /// The handshake failed: on our side (the peer's certificate, say) or on the peer's.
    #[error("{0}")]
    Handshake(std::io::Error),
    /// The server name cannot be sent as SNI.
    #[error("\"{0}\" is not a valid server name")]
    ServerName(String),
    /// The time for the handshake was over.
    #[error("handshake timeout")]
    Timeout,
}

impl TlsError {
    /// In which way the peer's certificate was not accepted; `None` if the handshake failed for another reason.
    pub fn verify_failure(&self) -> Option<VerifyFailure> {
        match self {
            Self::Handshake(error) => VerifyFailure::of(error),
            _ => None,
        }
    }
}

/// A certificate or where it comes from.
#[derive(Debug, Clone)]
enum CertificateSource {
    Inline(Arc<Certificate>),
    Sds(SecretRef),
}

/// The parts of a context before secrets are filled in.
#[derive(Debug)]
pub(super) struct Common {
    certificates: Vec<CertificateSource>,
    validation: Option<Validation>,
    validation_sds: Option<SecretRef>,
    pub(super) alpn: Vec<Vec<u8>>,
    pub(super) provider: Arc<CryptoProvider>,
    pub(super) versions: Vec<&'static SupportedProtocolVersion>,
}

/// The secrets of a context, all present.
pub(super) struct Filled {
    pub(super) certificates: Vec<Arc<Certificate>>,
    /// `None` if the context verifies nobody.
    pub(super) validation: Option<Arc<Validation>>,
}

impl Common {
    pub(super) fn new(config: &CommonTls) -> Result<Self, ConfigError> {
        let mut certificates = Vec::new();
        let mut inline = 0;
        for source in &config.certificates {
            certificates.push(match source {
                config::CertificateSource::Sds(name) => CertificateSource::Sds(name.clone()),
                config::CertificateSource::Inline(pem) => {
                    let parsed = Certificate::new(pem);
                    let parsed = parsed.within(format_args!("tls_certificates[{inline}]"))?;
                    inline += 1;
                    CertificateSource::Inline(Arc::new(parsed))
                }
            });
        }
        let validation = config.validation.as_ref().map(Validation::new).transpose();
        let validation = match &config.validation_sds {
            None => validation.within("validation_context")?,
            Some(_) => validation
                .within("default_validation_context")
                .within("combined_validation_context")?,
        };
        Ok(Self {
            certificates,
            validation,
            validation_sds: config.validation_sds.clone(),
            alpn: config.alpn.clone(),
            provider: Arc::new(provider(&config.parameters).within("tls_params")?),
            versions: versions(&config.parameters),
        })
    }

    pub(super) fn has_certificates(&self) -> bool {
        !self.certificates.is_empty()
    }

    pub(super) fn has_validation(&self) -> bool {
        self.validation.is_some() || self.validation_sds.is_some()
    }

    /// The names of secrets that arrive by SDS.
    pub(super) fn secret_refs(&self) -> Vec<SecretRef> {
        let certificates = self.certificates.iter().filter_map(|source| match source {
            CertificateSource::Sds(name) => Some(name.clone()),
            CertificateSource::Inline(_) => None,
        });
        certificates.chain(self.validation_sds.clone()).collect()
    }

    /// The context with its secrets, or the names of those that are missing.
    pub(super) fn fill(&self, secrets: &Secrets<'_>) -> Result<Filled, Missing> {
        let mut missing = Vec::new();
        let mut certificates = Vec::new();
        for source in &self.certificates {
            match source {
                CertificateSource::Inline(certificate) => certificates.push(certificate.clone()),
                CertificateSource::Sds(name) => match secrets.certificate(name) {
                    Some(certificate) => certificates.push(certificate),
                    None => missing.push(name.clone()),
                },
            }
        }
        let mut validation = self.validation.clone();
        if let Some(name) = &self.validation_sds {
            match secrets.validation(name) {
                Some(dynamic) => {
                    validation = Some(validation.unwrap_or_default().merged(&dynamic));
                }
                None => missing.push(name.clone()),
            }
        }
        if !missing.is_empty() {
            return Err(Missing(missing));
        }
        Ok(Filled {
            certificates,
            validation: validation.map(Arc::new),
        })
    }
}

/// Names of secrets that a context waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Missing(pub(super) Vec<SecretRef>);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.0.iter().map(|secret| &*secret.name).collect();
        f.write_str(&names.join(", "))
    }
}

fn versions(parameters: &TlsParameters) -> Vec<&'static SupportedProtocolVersion> {
    let mut versions = Vec::new();
    if parameters.tls13 {
        versions.push(&version::TLS13);
    }
    if parameters.tls12 {
        versions.push(&version::TLS12);
    }
    versions
}

/// Cipher suites and key exchange groups.
///
/// Differs from Envoy: suites without forward secrecy and with CBC do not exist here; a list loses them and is
/// an error only if nothing is left of it.
fn provider(params: &TlsParameters) -> Result<CryptoProvider, ConfigError> {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    // AES-128 costs less than AES-256 and is what Envoy prefers as well.
    provider
        .cipher_suites
        .sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    if !params.cipher_suites.is_empty() {
        let wanted: Vec<CipherSuite> = params
            .cipher_suites
            .iter()
            .flat_map(|entry| entry.split(['[', ']', '|']))
            .filter_map(cipher_suite)
            .collect();
        // The list is about TLS 1.2; TLS 1.3 has only good suites, and Envoy does not let them be chosen.
        provider.cipher_suites.retain(|suite| {
            matches!(suite, SupportedCipherSuite::Tls13(_)) || wanted.contains(&suite.suite())
        });
        if wanted.is_empty() {
            return Err(ConfigError::new(
                "cipher_suites",
                "holds no suite that is supported",
            ));
        }
    }
    if !params.ecdh_curves.is_empty() {
        let wanted: Vec<NamedGroup> = params.ecdh_curves.iter().filter_map(|c| group(c)).collect();
        if wanted.is_empty() {
            return Err(ConfigError::new(
                "ecdh_curves",
                "holds no group that is supported",
            ));
        }
        let all = rustls::crypto::aws_lc_rs::ALL_KX_GROUPS;
        provider.kx_groups = wanted
            .iter()
            .filter_map(|name| all.iter().find(|group| group.name() == *name))
            .copied()
            .collect();
    }
    Ok(provider)
}

/// A suite by OpenSSL's name.
fn cipher_suite(name: &str) -> Option<CipherSuite> {
    Some(match name {
        "ECDHE-ECDSA-AES128-GCM-SHA256" => CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        "ECDHE-ECDSA-AES256-GCM-SHA384" => CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        "ECDHE-ECDSA-CHACHA20-POLY1305" => {
            CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
        }
        "ECDHE-RSA-AES128-GCM-SHA256" => CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        "ECDHE-RSA-AES256-GCM-SHA384" => CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        "ECDHE-RSA-CHACHA20-POLY1305" => CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        _ => return None,
    })
}

fn group(name: &str) -> Option<NamedGroup> {
    Some(match name {
        "X25519" => NamedGroup::X25519,
        "P-256" => NamedGroup::secp256r1,
        "P-384" => NamedGroup::secp384r1,
        "X25519MLKEM768" => NamedGroup::X25519MLKEM768,
        _ => return None,
    })
}
