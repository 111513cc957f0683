//! Connections to the control plane: TLS 1.2 or later, its certificate verified against the mesh root, our own
//! workload certificate shown once there is one.

use std::io;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::certificates::WorkloadCertificate;
use crate::upstream::mark::mark;

/// What goes wrong on the way to the control plane.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The roots cannot be read.
    #[error("cannot read the mesh root \"{path}\"")]
    Roots {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The roots are not certificates.
    #[error("the mesh root \"{0}\" holds no certificate")]
    NoRoots(String),
    /// Our certificate does not fit our key, or TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
    /// Not `host:port`.
    #[error("address \"{0}\" is not of the form host:port")]
    Address(String),
    /// The network or the handshake.
    #[error("cannot connect to \"{address}\"")]
    Io {
        /// Where to.
        address: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// How to reach the control plane.
#[derive(Debug, Clone)]
pub struct ControlPlane {
    /// `host:port`.
    pub address: String,
    /// The mesh root, PEM; read for each connection, so that a new root is used at once.
    pub root_path: std::path::PathBuf,
}

impl ControlPlane {
    /// Opens a connection on which HTTP/2 is spoken, with our certificate if there is one.
    pub async fn connect(
        &self,
        certificate: Option<&WorkloadCertificate>,
    ) -> Result<TlsStream<TcpStream>, ConnectError> {
        let (host, _) = self.host_and_port()?;
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| ConnectError::Address(self.address.clone()))?;
        let connector = TlsConnector::from(Arc::new(self.tls(certificate)?));
        let failed = |source| ConnectError::Io {
            address: self.address.clone(),
            source,
        };
        let stream = connect_tcp(&self.address).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        connector.connect(name, stream).await.map_err(failed)
    }

    /// The host to verify and its port.
    pub fn host_and_port(&self) -> Result<(&str, u16), ConnectError> {
        let wrong = || ConnectError::Address(self.address.clone());
        let (host, port) = self.address.rsplit_once(':').ok_or_else(wrong)?;
        Ok((host, port.parse().map_err(|_| wrong())?))
    }

    /// The roots as they are now, PEM.
    pub fn roots_pem(&self) -> Result<Vec<u8>, ConnectError> {
        let path = self.root_path.display().to_string();
        std::fs::read(&self.root_path).map_err(|source| ConnectError::Roots { path, source })
    }

    fn tls(&self, certificate: Option<&WorkloadCertificate>) -> Result<ClientConfig, ConnectError> {
        let mut roots = RootCertStore::empty();
        let pem = self.roots_pem()?;
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).flatten());
        if roots.is_empty() {
            return Err(ConnectError::NoRoots(self.root_path.display().to_string()));
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let mut config = match certificate {
            None => builder.with_no_client_auth(),
            Some(certificate) => {
                let chain = CertificateDer::pem_slice_iter(certificate.chain.as_bytes())
                    .flatten()
                    .collect();
                let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes())
                    .map_err(|error| rustls::Error::General(error.to_string()))?;
                builder.with_client_auth_cert(chain, key)?
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }
}

/// Tries the addresses of a name in turn, like [`TcpStream::connect`], with our mark.
async fn connect_tcp(address: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in tokio::net::lookup_host(address).await? {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        mark(&socket)?;
        match socket.connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}
