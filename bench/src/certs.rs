//! A CA and two workload certificates for the mTLS pair, as files.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

/// The host that requests are for; certificates carry it beside the identity, for clients that know no other names.
pub const HOST: &str = "backend.bench";

/// Where the files of one workload are.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The SPIFFE identity.
    pub spiffe_id: String,
    /// The certificate.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Everything the pair needs.
#[derive(Debug, Clone)]
pub struct Certs {
    /// The root that both sides trust.
    pub root: PathBuf,
    /// The client's side.
    pub client: Identity,
    /// The server's side.
    pub server: Identity,
}

/// Makes all files under `dir`.
pub fn make(dir: &Path) -> anyhow::Result<Certs> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    params
        .distinguished_name
        .push(DnType::OrganizationName, "bench");
    let key = KeyPair::generate().context("cannot make a key")?;
    let root = dir.join("root-cert.pem");
    fs::write(&root, params.self_signed(&key)?.pem())?;
    let issuer = Issuer::new(params, key);
    Ok(Certs {
        root,
        client: identity(dir, "client", &issuer)?,
        server: identity(dir, "server", &issuer)?,
    })
}

fn identity(dir: &Path, name: &str, issuer: &Issuer<'_, KeyPair>) -> anyhow::Result<Identity> {
    let spiffe_id = format!("spiffe://cluster.local/ns/bench/sa/{name}");
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![
        SanType::URI(spiffe_id.clone().try_into()?),
        SanType::DnsName(HOST.try_into()?),
    ];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    let key = KeyPair::generate().context("cannot make a key")?;
    let identity = Identity {
        spiffe_id,
        cert: dir.join(format!("{name}-cert.pem")),
        key: dir.join(format!("{name}-key.pem")),
    };
    fs::write(&identity.cert, params.signed_by(&key, issuer)?.pem())?;
    fs::write(&identity.key, key.serialize_pem())?;
    Ok(identity)
}
