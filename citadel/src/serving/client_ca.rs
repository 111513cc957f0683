//! Clients that must show a certificate of an authority that is not the mesh's: the API server, to webhooks.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme,
};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, UnixTime};
use thiserror::Error;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Whose certificates are accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCa {
    /// PEM file of the authority's certificates.
    pub file: PathBuf,
    /// Names of which the certificate must have one, as common name, DNS name or URI; any where empty.
    pub names: Vec<String>,
}

/// Why an authority cannot be used.
#[derive(Debug, Error)]
pub enum ClientCaError {
    /// The file cannot be read.
    #[error("cannot read \"{}\"", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is not PEM.
    #[error("\"{}\" is not a list of certificates in PEM", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: pem::Error,
    },
    /// A certificate in it is none of an authority.
    #[error("a certificate cannot be used")]
    Certificate(#[from] rustls::Error),
    /// There is none.
    #[error("clients cannot be verified")]
    Verifier(#[from] VerifierBuilderError),
}

impl ClientCa {
    /// The directory to watch for changes of the file.
    pub(super) fn directory(&self) -> &Path {
        let parent = self.file.parent();
        let parent = parent.filter(|parent| !parent.as_os_str().is_empty());
        parent.unwrap_or(Path::new("."))
    }

    /// Refuses every client without such a certificate.
    pub(super) fn verifier(
        &self,
        provider: Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ClientCertVerifier>, ClientCaError> {
        let path = || self.file.clone();
        let text = fs::read(&self.file).map_err(|source| ClientCaError::Read {
            path: path(),
            source,
        })?;
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(&text) {
            let root = root.map_err(|source| ClientCaError::Pem {
                path: path(),
                source,
            })?;
            roots.add(root)?;
        }
        let of_authority =
            WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build()?;
        Ok(Arc::new(Named {
            of_authority,
            names: self.names.clone(),
        }))
    }
}

/// Looks at the names of a certificate that is the authority's.
#[derive(Debug)]
struct Named {
    of_authority: Arc<dyn ClientCertVerifier>,
    names: Vec<String>,
}

impl ClientCertVerifier for Named {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.of_authority.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self
            .of_authority
            .verify_client_cert(leaf, intermediates, now)?;
        match self.names.is_empty() || has_name(leaf, &self.names) {
            true => Ok(verified),
            false => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.of_authority
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.of_authority
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.of_authority.supported_verify_schemes()
    }
}

fn has_name(leaf: &CertificateDer<'_>, names: &[String]) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(leaf) else {
        return false;
    };
    let is_wanted = |name: &str| names.iter().any(|wanted| wanted == name);
    let mut common_names = certificate.subject().iter_common_name();
    if common_names.any(|name| name.as_str().is_ok_and(is_wanted)) {
        return true;
    }
    let Ok(Some(alternatives)) = certificate.subject_alternative_name() else {
        return false;
    };
    let mut alternatives = alternatives.value.general_names.iter();
    alternatives.any(|name| match name {
        GeneralName::DNSName(name) | GeneralName::URI(name) => is_wanted(name),
        _ => false,
    })
}
