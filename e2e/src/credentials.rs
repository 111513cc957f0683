//! Certificates as users bring them: an authority, and what is signed under it. All in PEM.

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose,
    SerialNumber,
};
use serde_json::{Value, json};

use crate::cluster::SYSTEM;

/// A certificate authority that nobody knows but who is given its root.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
pub struct KeyCertPair {
    cert: String,
    key: String,
}

impl Authority {
    /// A new one.
    pub fn new() -> Result<Self> {
        let params = of_authority("root");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        Ok(Self(issuer))
    }

    /// Its root.
    pub fn root(&self) -> String {
        self.0.pem()
    }

    /// A certificate for `host`.
    pub fn sign(&self, host: &str) -> Result<KeyCertPair> {
        self.issue(CertificateParams::new([host.to_owned()])?)
    }

    /// A certificate that signs others, with this serial number.
    pub fn intermediate(&self, serial: u64) -> Result<KeyCertPair> {
        let mut params = of_authority("intermediate");
        params.serial_number = Some(SerialNumber::from(serial));
        self.issue(params)
    }

    fn issue(&self, params: CertificateParams) -> Result<KeyCertPair> {
        let key = KeyPair::generate()?;
        let cert = params.signed_by(&key, &self.0)?;
        Ok(KeyCertPair {
            cert: cert.pem(),
            key: key.serialize_pem(),
        })
    }
}

fn of_authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let names = &mut params.distinguished_name;
    names.push(rcgen::DnType::CommonName, name);
    params
}

impl KeyCertPair {
    /// Both in one text.
    pub fn pem(&self) -> String {
        format!("{}{}", self.cert, self.key)
    }

    /// A Secret for a gateway's `credentialName`; with `root`, for clients that show certificates under it.
    pub fn for_gateway(&self, name: &str, root: Option<&str>) -> Value {
        let mut data = json!({"tls.crt": self.cert, "tls.key": self.key});
        if let Some(root) = root {
            data["ca.crt"] = json!(root);
        }
        secret(name, data)
    }

    /// The Secret by which a mesh signs under `authority` with this intermediate.
    pub fn for_mesh(&self, authority: &Authority) -> Value {
        let data = json!({
            "ca-cert.pem": self.cert,
            "ca-key.pem": self.key,
            "root-cert.pem": authority.root(),
            "cert-chain.pem": format!("{}{}", self.cert, authority.root()),
        });
        secret("cacerts", data)
    }
}

fn secret(name: &str, data: Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": SYSTEM},
        "stringData": data,
    })
}
