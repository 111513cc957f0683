//! Secrets that hold a certificate for a gateway.

use std::sync::Arc;

use bytes::Bytes;
use k8s_openapi::api::core::v1 as core;
use mesh_api::snapshot::Credential;

use super::{Fault, Model, Scope};
use crate::manifest::path::FieldPath;

pub(super) fn normalize(secret: &core::Secret, scope: &Scope<'_>) -> Result<Model, Fault> {
    let value = |names: [&str; 2]| names.into_iter().find_map(|name| entry(secret, name));
    let credential = Credential {
        key: scope.meta.key.clone(),
        certificate_chain: value(["tls.crt", "cert"]),
        private_key: value(["tls.key", "key"]),
        ca_certificates: value(["ca.crt", "cacert"]),
        crl: value(["ca.crl", "crl"]),
    };
    check_pair(&credential, scope)?;
    let holds_certificate =
        credential.certificate_chain.is_some() || credential.ca_certificates.is_some();
    Ok(match holds_certificate {
        true => Model::Credential(Arc::new(credential)),
        false => Model::Nothing,
    })
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

/// A half pair, or text that is no certificate, would take down a gateway's listener.
fn check_pair(credential: &Credential, scope: &Scope<'_>) -> Result<(), Fault> {
    let root = FieldPath::ROOT;
    let path = root.field("data");
    if let Some(chain) = &credential.certificate_chain {
        let first = rustls_pki_types::pem::PemObject::pem_slice_iter(chain).next();
        let readable: Option<Result<rustls_pki_types::CertificateDer<'_>, _>> = first;
        let certificate = match readable {
            Some(Ok(certificate)) => certificate,
            _ => return Err(scope.fault(&path.field("tls.crt"), "holds no PEM certificate")),
        };
        if let Err(error) = x509_parser::parse_x509_certificate(&certificate) {
            let message = format!("not an X.509 certificate: {error}");
            return Err(scope.fault(&path.field("tls.crt"), message));
        }
    }
    if let Some(key) = &credential.private_key {
        let parsed: Result<rustls_pki_types::PrivateKeyDer<'_>, _> =
            rustls_pki_types::pem::PemObject::from_pem_slice(key);
        if parsed.is_err() {
            return Err(scope.fault(&path.field("tls.key"), "holds no PEM private key"));
        }
    }
    Ok(())
}
