//! Secrets as executed (`envoy.extensions.transport_sockets.tls.v3.Secret`): parsed once, when they arrive.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, TrustAnchor};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::config::error::{ConfigError, Within};
use crate::config::tls as config;
use crate::config::tls::san::SanMatcher;
use crate::config::tls::{CertificatePem, RootsPem};

/// One secret.
#[derive(Debug, Clone)]
pub enum Secret {
    /// A certificate chain with its key.
    Certificate(Arc<Certificate>),
    /// What peers are verified against.
    Validation(Arc<Validation>),
}

/// A certificate chain with its private key.
#[derive(Debug)]
pub struct Certificate {
    /// Chain and key as rustls signs with them.
    pub key: Arc<CertifiedKey>,
    /// What the leaf says, for choosing by SNI and for the admin pages.
    pub leaf: CertificateDetails,
    /// The same of the other certificates of the chain.
    pub issuers: Vec<CertificateDetails>,
}

/// `CertificateValidationContext`.
#[derive(Debug, Clone, Default)]
pub struct Validation {
    /// `trusted_ca`; `None` verifies no chain.
    pub roots: Option<Arc<Roots>>,
    /// `match_typed_subject_alt_names`: one must match; empty for any.
    pub sans: Vec<SanMatcher>,
    /// `verify_certificate_spki`: SHA-256 of public keys, one must match.
    pub spki_sha256: Vec<[u8; 32]>,
    /// `verify_certificate_hash`: SHA-256 of certificates, one must match.
    pub certificate_sha256: Vec<[u8; 32]>,
    /// `crl`.
    pub crls: Vec<CertificateRevocationListDer<'static>>,
    /// `only_verify_leaf_cert_crl`.
    pub only_leaf_crl: bool,
    /// `allow_expired_certificate`.
    pub allow_expired: bool,
    /// `trust_chain_verification: ACCEPT_UNTRUSTED`: whoever presents a certificate is let in unverified.
    pub accept_untrusted: bool,
}

/// Trust anchors.
#[derive(Debug)]
pub struct Roots {
    /// As webpki verifies with them.
    pub anchors: Vec<TrustAnchor<'static>>,
    /// What they say, for the admin pages.
    pub details: Vec<CertificateDetails>,
    /// The certificates themselves, for the admin pages and for Envoy's secret service.
    pub certificates: Vec<CertificateDer<'static>>,
}

/// What a certificate says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateDetails {
    /// Serial number, lower-case hex.
    pub serial: String,
    /// Subject, RFC 2253.
    pub subject: String,
    /// URI SANs.
    pub uri_sans: Vec<String>,
    /// DNS SANs.
    pub dns_sans: Vec<String>,
    /// Begin of validity.
    pub not_before: SystemTime,
    /// End of validity.
    pub not_after: SystemTime,
}

impl Secret {
    /// A secret as SDS or a bootstrap has it.
    pub fn new(secret: &config::Secret) -> Result<Self, ConfigError> {
        match secret {
            config::Secret::Certificate(pem) => {
                let certificate = Certificate::new(pem).within("tls_certificate")?;
                Ok(Self::Certificate(Arc::new(certificate)))
            }
            config::Secret::Validation(context) => {
                let context = Validation::new(context).within("validation_context")?;
                Ok(Self::Validation(Arc::new(context)))
            }
        }
    }

    /// The roots of a PEM bundle, as the agent serves `ROOTCA`.
    pub fn roots_from_pem(pem: &[u8]) -> Result<Self, ConfigError> {
        let roots = Roots::from_pem(pem)?;
        Ok(Self::Validation(Arc::new(Validation {
            roots: Some(Arc::new(roots)),
            ..Validation::default()
        })))
    }

    /// A certificate with its key, as the agent serves `default`.
    pub fn certificate_from_pem(chain: &[u8], key: &[u8]) -> Result<Self, ConfigError> {
        Ok(Self::Certificate(Arc::new(Certificate::from_pem(
            chain, key,
        )?)))
    }
}

impl Certificate {
    /// A chain, leaf first, and the key of the leaf.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, ConfigError> {
        let chain = certificates(chain).within("certificate_chain")?;
        let details = chain
            .iter()
            .map(|der| CertificateDetails::from_der(der))
            .collect::<Result<Vec<_>, _>>()
            .within("certificate_chain")?;
        let (leaf, issuers) = details
            .split_first()
            .ok_or_else(|| ConfigError::new("certificate_chain", "holds no certificate"))?;
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|error| ConfigError::new("private_key", format!("is not PEM: {error}")))?;
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key)
            .map_err(|error| ConfigError::new("private_key", error.to_string()))?;
        let (leaf, issuers) = (leaf.clone(), issuers.to_vec());
        let key = CertifiedKey::new(chain, key);
        key.keys_match()
            .map_err(|_| ConfigError::new("private_key", "does not belong to the certificate"))?;
        Ok(Self {
            key: Arc::new(key),
            leaf,
            issuers,
        })
    }

    pub(super) fn new(pem: &CertificatePem) -> Result<Self, ConfigError> {
        let mut certificate = Self::from_pem(&pem.chain, &pem.key)?;
        if let Some(staple) = &pem.ocsp_staple {
            let mut key = (*certificate.key).clone();
            key.ocsp = Some(staple.to_vec());
            certificate.key = Arc::new(key);
        }
        Ok(certificate)
    }
}

impl Validation {
    pub(super) fn new(config: &config::Validation) -> Result<Self, ConfigError> {
        let roots = match &config.roots {
            Some(RootsPem::Pem(pem)) => Some(Arc::new(Roots::from_pem(pem).within("trusted_ca")?)),
            Some(RootsPem::System) => Some(Arc::new(Roots::of_system()?)),
            None => None,
        };
        let crls = config.crl.as_ref().map(|pem| crls(pem)).transpose();
        Ok(Self {
            roots,
            sans: config.sans.clone(),
            spki_sha256: config.spki_sha256.clone(),
            certificate_sha256: config.certificate_sha256.clone(),
            crls: crls.within("crl")?.unwrap_or_default(),
            only_leaf_crl: config.only_leaf_crl,
            allow_expired: config.allow_expired,
            accept_untrusted: config.accept_untrusted,
        })
    }

    /// `other` merged over `self`, as Envoy merges a combined validation context: single values of the
    /// dynamic one win, lists are concatenated.
    #[must_use]
    pub fn merged(&self, other: &Self) -> Self {
        let join = |a: &[[u8; 32]], b: &[[u8; 32]]| [a, b].concat();
        Self {
            roots: other.roots.clone().or_else(|| self.roots.clone()),
            sans: [self.sans.as_slice(), &other.sans].concat(),
            spki_sha256: join(&self.spki_sha256, &other.spki_sha256),
            certificate_sha256: join(&self.certificate_sha256, &other.certificate_sha256),
            crls: if other.crls.is_empty() {
                self.crls.clone()
            } else {
                other.crls.clone()
            },
            only_leaf_crl: self.only_leaf_crl || other.only_leaf_crl,
            allow_expired: self.allow_expired || other.allow_expired,
            accept_untrusted: self.accept_untrusted || other.accept_untrusted,
        }
    }
}

impl Roots {
    /// The certificates of a PEM bundle; at least one.
    pub fn from_pem(pem: &[u8]) -> Result<Self, ConfigError> {
        let certificates = certificates(pem)?;
        if certificates.is_empty() {
            return Err(ConfigError::new("", "holds no certificate"));
        }
        let mut roots = Self {
            anchors: Vec::new(),
            details: Vec::new(),
            certificates: certificates.clone(),
        };
        for der in &certificates {
            let anchor = webpki::anchor_from_trusted_cert(der)
                .map_err(|error| ConfigError::new("", format!("bad root certificate: {error}")))?;
            roots.anchors.push(anchor.to_owned());
            roots.details.push(CertificateDetails::from_der(der)?);
        }
        Ok(roots)
    }

    /// The roots of the machine, where distributions keep their bundle.
    fn of_system() -> Result<Self, ConfigError> {
        const BUNDLES: [&str; 3] = [
            "/etc/ssl/certs/ca-certificates.crt",
            "/etc/pki/tls/certs/ca-bundle.crt",
            "/etc/ssl/cert.pem",
        ];
        let bundle = BUNDLES.iter().find(|path| Path::new(path).exists());
        let bundle = bundle.ok_or_else(|| {
            ConfigError::new("system_root_certs", "this machine has no root certificates")
        })?;
        Self::from_pem(&read_file(bundle).within("system_root_certs")?).within("system_root_certs")
    }
}

impl CertificateDetails {
    /// Reads a certificate.
    pub fn from_der(der: &[u8]) -> Result<Self, ConfigError> {
        let (_, certificate) = X509Certificate::from_der(der)
            .map_err(|error| ConfigError::new("", format!("bad certificate: {error}")))?;
        let names = super::san::names(&certificate);
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Ok(Self {
            serial: super::peer::hex(certificate.raw_serial()),
            subject: super::peer::rfc2253(certificate.subject()),
            uri_sans: owned(&names.uris),
            dns_sans: owned(&names.dns),
            not_before: certificate.validity().not_before.to_datetime().into(),
            not_after: certificate.validity().not_after.to_datetime().into(),
        })
    }
}

fn read_file(path: &str) -> Result<Vec<u8>, ConfigError> {
    std::fs::read(path).map_err(|error| ConfigError::new("filename", format!("{path}: {error}")))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| ConfigError::new("", format!("is not PEM: {error}")))
}

fn crls(pem: &[u8]) -> Result<Vec<CertificateRevocationListDer<'static>>, ConfigError> {
    CertificateRevocationListDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| ConfigError::new("", format!("is not PEM: {error}")))
}
