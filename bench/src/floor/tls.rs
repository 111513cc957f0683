//! TLS with certificates on both sides.

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::args::Identity;

/// The server's side.
pub(super) fn acceptor(identity: Identity<'_>) -> anyhow::Result<TlsAcceptor> {
    let roots = Arc::new(roots(identity)?);
    let clients = WebPkiClientVerifier::builder_with_provider(roots, provider()).build()?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(clients)
        .with_single_cert(chain(identity)?, key(identity)?)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config).into())
}

/// The client's side.
pub(super) fn connector(identity: Identity<'_>) -> anyhow::Result<TlsConnector> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots(identity)?)
        .with_client_auth_cert(chain(identity)?, key(identity)?)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config).into())
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn roots(identity: Identity<'_>) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_file_iter(identity.root)? {
        roots.add(root?)?;
    }
    Ok(roots)
}

fn chain(identity: Identity<'_>) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let chain: Result<_, _> = CertificateDer::pem_file_iter(identity.cert)?.collect();
    Ok(chain?)
}

fn key(identity: Identity<'_>) -> anyhow::Result<PrivateKeyDer<'static>> {
    Ok(PrivateKeyDer::from_pem_file(identity.key)?)
}
