//! HTTP over TLS with a self-signed certificate: what an application that brings its own TLS looks like.

use std::sync::Arc;

use anyhow::Context;
use rustls::{ServerConfig, crypto::aws_lc_rs};
use rustls_pki_types::PrivatePkcs8KeyDer;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::{Echo, http_service};

/// An acceptor with a fresh certificate for "localhost" and "echo".
pub(super) fn acceptor() -> anyhow::Result<TlsAcceptor> {
    let names = ["localhost".to_owned(), "echo".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).context("cannot make a certificate")?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// One connection.
pub(super) async fn connection(echo: Arc<Echo>, acceptor: TlsAcceptor, stream: TcpStream) {
    if let Ok(stream) = acceptor.accept(stream).await {
        http_service::connection(echo, stream).await;
    }
}
