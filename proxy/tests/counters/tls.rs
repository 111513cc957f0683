//! Clients over TLS.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::LIMIT;
use crate::pki::Leaf;

/// A handshake, a few bytes, and the end; whether the server takes part is not the question.
pub(crate) async fn shake_hands(stream: TcpStream, root: &str, leaf: Option<&Leaf>) {
    let mut roots = rustls::RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(root.as_bytes()).unwrap();
    roots.add(root).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match leaf {
        None => config.with_no_client_auth(),
        Some(leaf) => {
            let chain = CertificateDer::pem_slice_iter(leaf.chain.as_bytes());
            let key = PrivateKeyDer::from_pem_slice(leaf.key.as_bytes()).unwrap();
            let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
            config.with_client_auth_cert(chain, key).unwrap()
        }
    };
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let exchange = async {
        let mut stream = connector.connect("a".try_into().unwrap(), stream).await?;
        stream.write_all(b"x").await?;
        stream.shutdown().await?;
        stream.read_to_end(&mut Vec::new()).await
    };
    let ended = tokio::time::timeout(LIMIT, exchange).await;
    let _ = ended.expect("an end");
}
