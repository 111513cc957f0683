//! The roots that everyone in the mesh verifies against.
//!
//! There may be several at once: while a root is replaced, certificates under the old and under the new one
//! must both be accepted, so the bundle holds both for as long as either is in use.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::{self, PemObject};
use thiserror::Error;

/// Why a bundle cannot be used.
#[derive(Debug, Error)]
pub enum TrustBundleError {
    /// Not PEM, or PEM that is cut off.
    #[error("the root certificates are not valid PEM")]
    Pem(#[source] pem::Error),
    /// Nothing to trust.
    #[error("there is no root certificate")]
    Empty,
    /// One of the certificates cannot be a trust anchor.
    #[error("root certificate {index} is not valid")]
    Root {
        /// Its place in the file, from 0.
        index: usize,
        /// What is wrong with it.
        #[source]
        source: rustls::Error,
    },
}

/// An ordered set of root certificates; the first is the one new certificates chain to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustBundle {
    roots: Vec<CertificateDer<'static>>,
}

impl TrustBundle {
    /// Checks that every certificate can be a trust anchor; drops repeated ones.
    pub fn new(roots: Vec<CertificateDer<'static>>) -> Result<Self, TrustBundleError> {
        let mut unique: Vec<CertificateDer<'static>> = Vec::with_capacity(roots.len());
        for (index, root) in roots.into_iter().enumerate() {
            if unique.contains(&root) {
                continue;
            }
            RootCertStore::empty()
                .add(root.clone())
                .map_err(|source| TrustBundleError::Root { index, source })?;
            unique.push(root);
        }
        if unique.is_empty() {
            return Err(TrustBundleError::Empty);
        }
        Ok(Self { roots: unique })
    }

    /// Reads concatenated PEM.
    pub fn from_pem(text: &[u8]) -> Result<Self, TrustBundleError> {
        let roots = CertificateDer::pem_slice_iter(text)
            .collect::<Result<Vec<_>, _>>()
            .map_err(TrustBundleError::Pem)?;
        Self::new(roots)
    }

    /// The certificates.
    pub fn roots(&self) -> &[CertificateDer<'static>] {
        &self.roots
    }

    /// These roots and then those of `other`, each once.
    pub fn united(&self, other: &Self) -> Self {
        let mut roots = self.roots.clone();
        roots.extend(
            other
                .roots
                .iter()
                .filter(|root| !self.roots.contains(root))
                .cloned(),
        );
        Self { roots }
    }

    /// Concatenated PEM, as `root-cert.pem` has it.
    pub fn to_pem(&self) -> String {
        certificates_to_pem(&self.roots)
    }

    /// For rustls.
    pub fn root_store(&self) -> RootCertStore {
        let mut store = RootCertStore::empty();
        for root in &self.roots {
            store
                .add(root.clone())
                .expect("every root was accepted as an anchor in `new`");
        }
        store
    }
}

/// Concatenated PEM of `certificates`.
pub fn certificates_to_pem(certificates: &[CertificateDer<'_>]) -> String {
    let mut text = String::new();
    for certificate in certificates {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        let encoded = STANDARD.encode(certificate);
        for line in encoded.as_bytes().chunks(64) {
            let line = std::str::from_utf8(line).expect("base64 is ASCII");
            writeln!(text, "{line}").expect("writing to a string does not fail");
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ca::self_signed;
    use crate::clock::Clock;

    fn root() -> CertificateDer<'static> {
        let files = self_signed::create("cluster.local", Clock::system().now()).unwrap();
        TrustBundle::from_pem(files.root_cert.as_bytes())
            .unwrap()
            .roots()[0]
            .clone()
    }

    #[test]
    fn several_roots_survive_a_round_trip_through_pem_and_doubles_are_dropped() {
        let (one, two) = (root(), root());
        let bundle = TrustBundle::new(vec![one.clone(), two.clone(), one.clone()]).unwrap();
        assert_eq!(bundle.roots(), [one, two]);
        assert_eq!(
            TrustBundle::from_pem(bundle.to_pem().as_bytes()).unwrap(),
            bundle
        );
        assert_eq!(bundle.root_store().len(), 2);
    }

    #[test]
    fn nothing_or_nonsense_is_refused() {
        let message = |text: &str| {
            TrustBundle::from_pem(text.as_bytes())
                .unwrap_err()
                .to_string()
        };
        assert_eq!(message(""), "there is no root certificate");
        assert_eq!(message("hello"), "there is no root certificate");
        assert_eq!(
            message("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
            "root certificate 0 is not valid"
        );
        assert_eq!(
            message("-----BEGIN CERTIFICATE-----\nAAAA\n"),
            "the root certificates are not valid PEM"
        );
    }
}
