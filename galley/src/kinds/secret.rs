//! `Secret`, as far as it holds a certificate for a gateway.

use std::sync::Arc;

use bytes::Bytes;
use k8s_openapi::api::core::v1 as core;
use mesh_api::snapshot::Credential;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::descriptor::Descriptor;
use super::findings::Findings;
use super::read::Read;
use super::scope::Scope;
use crate::manifest::path::FieldPath;

impl Read for core::Secret {
    const KIND: Descriptor = Descriptor::kubernetes("", "Secret");

    /// Nothing for all other Secrets.
    type Model = Option<Arc<Credential>>;

    fn read(
        &self,
        scope: &Scope<'_>,
        findings: &mut Findings<'_>,
    ) -> Option<Option<Arc<Credential>>> {
        let credential = credential(self, scope);
        check_pair(&credential, findings)?;
        let holds_certificate =
            credential.certificate_chain.is_some() || credential.ca_certificates.is_some();
        Some(holds_certificate.then(|| Arc::new(credential)))
    }
}

fn credential(secret: &core::Secret, scope: &Scope<'_>) -> Credential {
    let value = |names: [&str; 2]| names.into_iter().find_map(|name| entry(secret, name));
    Credential {
        key: scope.meta.key.clone(),
        certificate_chain: value(["tls.crt", "cert"]),
        private_key: value(["tls.key", "key"]),
        ca_certificates: value(["ca.crt", "cacert"]),
        crl: value(["ca.crl", "crl"]),
    }
}

/// `stringData` goes before `data`, as in the API server.
fn entry(secret: &core::Secret, name: &str) -> Option<Bytes> {
    let text = secret.string_data.as_ref().and_then(|data| data.get(name));
    let bytes = secret.data.as_ref().and_then(|data| data.get(name));
    let value = match (text, bytes) {
        (Some(text), _) => Bytes::copy_from_slice(text.as_bytes()),
        (None, Some(bytes)) => Bytes::copy_from_slice(&bytes.0),
        (None, None) => return None,
    };
    (!value.is_empty()).then_some(value)
}

/// A half pair, or text that is no certificate, would take down a gateway's listener. Nothing of a broken
/// certificate is worth a second finding about its key.
fn check_pair(credential: &Credential, findings: &mut Findings<'_>) -> Option<()> {
    let root = FieldPath::ROOT;
    let path = root.field("data");
    if let Some(chain) = &credential.certificate_chain {
        let first = CertificateDer::pem_slice_iter(chain).next();
        let at = path.field("tls.crt");
        let Some(Ok(certificate)) = first else {
            findings.error(&at, "holds no PEM certificate");
            return None;
        };
        if let Err(error) = x509_parser::parse_x509_certificate(&certificate) {
            findings.error(&at, format!("not an X.509 certificate: {error}"));
            return None;
        }
    }
    if let Some(key) = &credential.private_key
        && PrivateKeyDer::from_pem_slice(key).is_err()
    {
        findings.error(&path.field("tls.key"), "holds no PEM private key");
        return None;
    }
    Some(())
}
