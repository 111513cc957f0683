//! Certificates as users bring them: a root, and what is signed under it.

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};

/// A certificate authority that nobody knows but who is given its root.
pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in PEM.
pub(super) struct KeyCertPair {
    cert: String,
    key: String,
}

impl Authority {
    /// A new one.
    pub(super) fn new() -> Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        Ok(Self(issuer))
    }

    /// Its root, in PEM.
    pub(super) fn root(&self) -> String {
        self.0.pem()
    }

    /// A certificate for `host`.
    pub(super) fn sign(&self, host: &str) -> Result<KeyCertPair> {
        let key = KeyPair::generate()?;
        let cert = CertificateParams::new([host.to_owned()])?.signed_by(&key, &self.0)?;
        Ok(KeyCertPair {
            cert: cert.pem(),
            key: key.serialize_pem(),
        })
    }
}

impl KeyCertPair {
    /// Both in one text.
    pub(super) fn pem(&self) -> String {
        format!("{}{}", self.cert, self.key)
    }

    /// A Secret for a gateway's `credentialName`; with `root`, for clients that show certificates under it.
    pub(super) fn secret(&self, name: &str, root: Option<&str>) -> Value {
        let mut data = json!({"tls.crt": self.cert, "tls.key": self.key});
        if let Some(root) = root {
            data["ca.crt"] = json!(root);
        }
        json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": super::SYSTEM},
            "stringData": data,
        })
    }
}
