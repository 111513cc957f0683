//! A signing key with its certificate, the chain above it and the roots, checked as a whole.
//!
//! The four texts are the four files of a plugged-in CA as Istio names them: `ca-cert.pem`, `ca-key.pem`,
//! `root-cert.pem`, `cert-chain.pem`. They are accepted only if a certificate signed by this key is accepted
//! by a peer that knows nothing but the roots; a CA that would break every connection is found here, not by
//! the proxies.

use rcgen::{Issuer, KeyPair, PublicKeyData};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::issue::{self, IssueError};
use crate::trust_bundle::{TrustBundle, TrustBundleError, certificates_to_pem};

/// The texts of the four files.
#[derive(Clone, PartialEq, Eq)]
pub struct CaFiles {
    /// `ca-cert.pem`: the certificate of the signing key.
    pub ca_cert: String,
    /// `ca-key.pem`: the signing key.
    pub ca_key: String,
    /// `root-cert.pem`: what peers trust; several while a root is replaced.
    pub root_cert: String,
    /// `cert-chain.pem`: from the signing certificate up to, and maybe with, the root; empty for a root.
    pub cert_chain: String,
}

impl std::fmt::Debug for CaFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CaFiles")
    }
}

/// Why a CA cannot be used.
#[derive(Debug, Error)]
pub enum KeyCertBundleError {
    /// A file is not PEM or lacks what it should hold.
    #[error("\"{file}\" has no valid PEM section of the expected kind")]
    Pem {
        /// The file's name.
        file: &'static str,
        /// What the reader found.
        #[source]
        source: pem::Error,
    },
    /// The key's algorithm is not one we sign with.
    #[error("the key in \"ca-key.pem\" cannot be used")]
    Key(#[source] rcgen::Error),
    /// The signing certificate is not X.509.
    #[error("the certificate in \"ca-cert.pem\" cannot be read: {0}")]
    Certificate(String),
    /// It is a leaf.
    #[error("the certificate in \"ca-cert.pem\" is not a CA certificate")]
    NotACa,
    /// Key and certificate are from different pairs.
    #[error("the key in \"ca-key.pem\" does not belong to the certificate in \"ca-cert.pem\"")]
    KeyMismatch,
    /// Before its time, or after.
    #[error("the certificate in \"ca-cert.pem\" is valid from {not_before} to {not_after} only")]
    NotValidNow {
        /// Begin.
        not_before: OffsetDateTime,
        /// End.
        not_after: OffsetDateTime,
    },
    /// The roots cannot be used.
    #[error("\"root-cert.pem\" cannot be used")]
    Roots(#[from] TrustBundleError),
    /// The trial certificate could not be signed.
    #[error("the CA cannot sign")]
    Sign(#[from] IssueError),
    /// The trial certificate would not be accepted.
    #[error("certificates signed by this CA are not accepted under \"root-cert.pem\"")]
    Chain(#[source] webpki::Error),
}

/// Everything that signs and proves.
pub struct KeyCertBundle {
    issuer: Issuer<'static, KeyPair>,
    chain: Vec<CertificateDer<'static>>,
    trust_bundle: TrustBundle,
    not_after: OffsetDateTime,
    root_not_after: OffsetDateTime,
    self_signed: bool,
}

impl std::fmt::Debug for KeyCertBundle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyCertBundle")
            .field("not_after", &self.not_after)
            .field("self_signed", &self.self_signed)
            .finish_non_exhaustive()
    }
}

impl KeyCertBundle {
    /// Reads and checks the whole.
    pub fn from_files(files: &CaFiles, now: OffsetDateTime) -> Result<Self, KeyCertBundleError> {
        let ca_cert = CertificateDer::from_pem_slice(files.ca_cert.as_bytes())
            .map_err(pem_error("ca-cert.pem"))?;
        let key = PrivateKeyDer::from_pem_slice(files.ca_key.as_bytes())
            .map_err(pem_error("ca-key.pem"))?;
        let key = KeyPair::try_from(&key).map_err(KeyCertBundleError::Key)?;
        let trust_bundle = TrustBundle::from_pem(files.root_cert.as_bytes())?;
        let upper = CertificateDer::pem_slice_iter(files.cert_chain.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(pem_error("cert-chain.pem"))?;

        let view = check_certificate(&ca_cert, &key, now)?;
        let bundle = Self {
            self_signed: trust_bundle.roots().contains(&ca_cert),
            chain: chain_below_roots(&ca_cert, upper, &trust_bundle),
            issuer: Issuer::from_ca_cert_der(&ca_cert, key).map_err(KeyCertBundleError::Key)?,
            not_after: view.not_after,
            root_not_after: end_of(&trust_bundle.roots()[0])?,
            trust_bundle,
        };
        bundle.check_by_trial(now)?;
        Ok(bundle)
    }

    /// The signing key and the name it signs under.
    pub fn issuer(&self) -> &Issuer<'static, KeyPair> {
        &self.issuer
    }

    /// What a leaf must send along: the signing certificate and those above it, without the root.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// What peers trust.
    pub fn trust_bundle(&self) -> &TrustBundle {
        &self.trust_bundle
    }

    /// When the signing certificate ends; no leaf may outlive it.
    pub fn not_after(&self) -> OffsetDateTime {
        self.not_after
    }

    /// When the first root ends.
    pub fn root_not_after(&self) -> OffsetDateTime {
        self.root_not_after
    }

    /// Whether the signing certificate is itself a root.
    pub fn is_self_signed(&self) -> bool {
        self.self_signed
    }

    /// The chain as PEM; empty for a self-signed CA.
    pub fn chain_pem(&self) -> String {
        certificates_to_pem(&self.chain)
    }

    /// Signs a leaf and verifies it exactly as a peer would.
    fn check_by_trial(&self, now: OffsetDateTime) -> Result<(), KeyCertBundleError> {
        let leaf = issue::trial(self, now)?;
        let anchors: Vec<_> = self.trust_bundle.root_store().roots.into_iter().collect();
        let end_entity =
            webpki::EndEntityCert::try_from(&leaf).map_err(KeyCertBundleError::Chain)?;
        let seconds = u64::try_from(now.unix_timestamp()).unwrap_or_default();
        let time =
            rustls_pki_types::UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        end_entity
            .verify_for_usage(
                webpki::ALL_VERIFICATION_ALGS,
                &anchors,
                &self.chain,
                time,
                webpki::KeyUsage::client_auth(),
                None,
                None,
            )
            .map_err(KeyCertBundleError::Chain)?;
        Ok(())
    }
}

struct CertificateView {
    not_after: OffsetDateTime,
}

fn check_certificate(
    certificate: &CertificateDer<'_>,
    key: &KeyPair,
    now: OffsetDateTime,
) -> Result<CertificateView, KeyCertBundleError> {
    let (_, parsed) = X509Certificate::from_der(certificate)
        .map_err(|error| KeyCertBundleError::Certificate(error.to_string()))?;
    if !parsed.is_ca() {
        return Err(KeyCertBundleError::NotACa);
    }
    if parsed.public_key().raw != key.subject_public_key_info() {
        return Err(KeyCertBundleError::KeyMismatch);
    }
    let not_before = parsed.validity().not_before.to_datetime();
    let not_after = parsed.validity().not_after.to_datetime();
    if now < not_before || now > not_after {
        return Err(KeyCertBundleError::NotValidNow {
            not_before,
            not_after,
        });
    }
    Ok(CertificateView { not_after })
}

fn end_of(certificate: &CertificateDer<'_>) -> Result<OffsetDateTime, KeyCertBundleError> {
    let (_, parsed) = X509Certificate::from_der(certificate)
        .map_err(|error| KeyCertBundleError::Certificate(error.to_string()))?;
    Ok(parsed.validity().not_after.to_datetime())
}

/// Signing certificate first, then `cert-chain.pem` without repetitions and roots.
fn chain_below_roots(
    ca_cert: &CertificateDer<'static>,
    upper: Vec<CertificateDer<'static>>,
    roots: &TrustBundle,
) -> Vec<CertificateDer<'static>> {
    let mut chain: Vec<CertificateDer<'static>> = Vec::with_capacity(upper.len() + 1);
    for certificate in std::iter::once(ca_cert.clone()).chain(upper) {
        if !roots.roots().contains(&certificate) && !chain.contains(&certificate) {
            chain.push(certificate);
        }
    }
    chain
}

fn pem_error(file: &'static str) -> impl Fn(pem::Error) -> KeyCertBundleError {
    move |source| KeyCertBundleError::Pem { file, source }
}

#[cfg(test)]
mod tests;
