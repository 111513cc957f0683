//! The keys of a CA's Secret: Istio's, or those of a Secret of type `kubernetes.io/tls`.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::ObjectMeta;
use thiserror::Error;

use crate::ca::key_cert_bundle::CaFiles;
use crate::ca::plugged_in::{CA_CERT, CA_KEY, CERT_CHAIN, ROOT_CERT};

/// The type of the Secret that citadel makes, as Istio has it.
const TYPE: &str = "istio.io/ca-root";

/// A key that a CA's Secret must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("key \"{0}\" is missing or not text")]
pub struct MissingKey(&'static str);

/// The CA in a Secret. A self-signed CA of Istio's has no roots of its own: the signing certificate is one.
pub(super) fn from_secret(secret: &Secret) -> Result<CaFiles, MissingKey> {
    if text(secret, CA_CERT).is_none() && text(secret, "tls.crt").is_some() {
        return from_tls_secret(secret);
    }
    let required = |key| text(secret, key).ok_or(MissingKey(key));
    let ca_cert = required(CA_CERT)?;
    Ok(CaFiles {
        ca_key: required(CA_KEY)?,
        root_cert: text(secret, ROOT_CERT).unwrap_or_else(|| ca_cert.clone()),
        cert_chain: text(secret, CERT_CHAIN).unwrap_or_default(),
        ca_cert,
    })
}

/// As cert-manager writes it: `tls.crt` begins with the signing certificate, `ca.crt` has the roots.
fn from_tls_secret(secret: &Secret) -> Result<CaFiles, MissingKey> {
    let required = |key| text(secret, key).ok_or(MissingKey(key));
    let chain = required("tls.crt")?;
    Ok(CaFiles {
        ca_key: required("tls.key")?,
        root_cert: required("ca.crt")?,
        ca_cert: chain.clone(),
        cert_chain: chain,
    })
}

/// The Secret of a CA, complete.
pub(super) fn to_secret(name: &str, files: &CaFiles) -> Secret {
    let data = [
        (CA_CERT, &files.ca_cert),
        (CA_KEY, &files.ca_key),
        (CERT_CHAIN, &files.cert_chain),
        (ROOT_CERT, &files.root_cert),
    ];
    let data: BTreeMap<String, ByteString> = data
        .into_iter()
        .map(|(key, text)| (key.to_owned(), ByteString(text.clone().into_bytes())))
        .collect();
    Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        data: Some(data),
        type_: Some(TYPE.to_owned()),
        ..Secret::default()
    }
}

/// The text under a key; Istio leaves some keys empty, which says nothing.
fn text(secret: &Secret, key: &str) -> Option<String> {
    let bytes = &secret.data.as_ref()?.get(key)?.0;
    let text = String::from_utf8(bytes.clone()).ok()?;
    (!text.trim().is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(entries: &[(&str, &str)]) -> Secret {
        let data = entries.iter();
        let data = data.map(|(key, text)| ((*key).to_owned(), ByteString((*text).into())));
        Secret {
            data: Some(data.collect()),
            ..Secret::default()
        }
    }

    fn read(entries: &[(&str, &str)]) -> Result<[String; 4], MissingKey> {
        let files = from_secret(&secret(entries))?;
        Ok([
            files.ca_cert,
            files.ca_key,
            files.root_cert,
            files.cert_chain,
        ])
    }

    #[test]
    fn istios_keys_and_those_of_tls_secrets_are_read() {
        let plugged = [
            (CA_CERT, "cert"),
            (CA_KEY, "key"),
            (ROOT_CERT, "root"),
            (CERT_CHAIN, "chain"),
        ];
        assert_eq!(
            read(&plugged).unwrap(),
            ["cert", "key", "root", "chain"].map(str::to_owned)
        );
        let of_istio = [(CA_CERT, "cert"), (CA_KEY, "key"), (ROOT_CERT, "")];
        assert_eq!(
            read(&of_istio).unwrap(),
            ["cert", "key", "cert", ""].map(str::to_owned)
        );
        let tls = [("tls.crt", "certs"), ("tls.key", "key"), ("ca.crt", "root")];
        assert_eq!(
            read(&tls).unwrap(),
            ["certs", "key", "root", "certs"].map(str::to_owned)
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(read(&[]), Err(MissingKey(CA_CERT)));
        assert_eq!(read(&[(CA_CERT, "cert")]), Err(MissingKey(CA_KEY)));
        assert_eq!(read(&[("tls.crt", "certs")]), Err(MissingKey("tls.key")));
    }

    #[test]
    fn what_is_written_is_read() {
        let files = CaFiles {
            ca_cert: "cert".into(),
            ca_key: "key".into(),
            root_cert: "root".into(),
            cert_chain: String::new(),
        };
        assert!(from_secret(&to_secret("any", &files)) == Ok(files));
    }
}
