//! The control plane's own TLS: a certificate from our own CA, renewed before it ends.
//!
//! A renewal or a change of roots makes a new [`rustls::ServerConfig`], which new connections get; so there
//! is never a session store older than the roots. Resumption is off altogether: it would skip verification
//! of the client and bring back an identity that may have ended since.

mod client_ca;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use mesh_runtime::backoff::Backoff;
use mesh_runtime::file_watch::{FileWatch, WatchError};
use rcgen::KeyPair;
use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use thiserror::Error;
use time::OffsetDateTime;

use crate::ca::Ca;
use crate::issue::IssueError;
pub use client_ca::{ClientCa, ClientCaError};

/// First and longest pause after a renewal that failed.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// The part of the half life by which renewals are spread.
const JITTER: f64 = 0.05;

/// Whether clients show certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// Clients are not asked.
    None,
    /// Clients may show one; if they do it must verify against the trust bundle.
    Optional,
    /// Clients must show one of another authority; the handshake of others fails.
    Required(ClientCa),
}

/// What to serve.
#[derive(Clone, Debug)]
pub struct ServingOptions {
    /// DNS names and addresses of the server.
    pub names: Vec<String>,
    /// Whether clients show certificates.
    pub client_auth: ClientAuth,
    /// Protocols offered by ALPN, best first.
    pub alpn: Vec<Vec<u8>>,
}

/// Why there is no configuration to serve with.
#[derive(Debug, Error)]
pub enum ServingError {
    /// No key could be made.
    #[error("no key could be made")]
    Key(#[source] rcgen::Error),
    /// The CA refused.
    #[error("no serving certificate could be issued")]
    Issue(#[from] IssueError),
    /// rustls refused certificate or key.
    #[error("the serving certificate cannot be used")]
    Tls(#[from] rustls::Error),
    /// The trust bundle cannot verify clients.
    #[error("clients cannot be verified")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
    /// The authority of clients cannot be used.
    #[error("the authority of clients cannot be used")]
    ClientCa(#[from] ClientCaError),
    /// Changes of the authority of clients would go unnoticed.
    #[error(transparent)]
    Watch(#[from] WatchError),
}

/// A server configuration that stays valid.
#[derive(Debug)]
pub struct ServingTls {
    ca: Arc<Ca>,
    options: ServingOptions,
    current: ArcSwap<Current>,
}

#[derive(Debug)]
struct Current {
    config: Arc<ServerConfig>,
    not_after: OffsetDateTime,
}

impl ServingTls {
    /// Issues the first certificate.
    pub fn new(ca: Arc<Ca>, options: ServingOptions) -> Result<Self, ServingError> {
        let current = ArcSwap::from_pointee(build(&ca, &options)?);
        Ok(Self {
            ca,
            options,
            current,
        })
    }

    /// The configuration for the next connection.
    pub fn current(&self) -> Arc<ServerConfig> {
        self.current.load().config.clone()
    }

    /// Issues a new certificate now.
    pub fn renew(&self) -> Result<(), ServingError> {
        self.current
            .store(Arc::new(build(&self.ca, &self.options)?));
        Ok(())
    }

    /// Renews at half life and whenever the CA or the authority of clients changes, until dropped. What cannot be
    /// used leaves in force what is.
    pub async fn run(self: Arc<Self>) -> Result<(), ServingError> {
        let mut roots = self.ca.trust_bundles();
        let clients = match &self.options.client_auth {
            ClientAuth::Required(authority) => Some(FileWatch::new(&[authority.directory()])?),
            ClientAuth::None | ClientAuth::Optional => None,
        };
        let mut retry = Backoff::new(RETRY.0, RETRY.1);
        let mut pause = self.until_half_life();
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                // The sender lives in `self.ca`, so this only ever reports a change.
                _ = roots.changed() => {}
                Some(()) = changed(clients.as_ref()) => {}
            }
            pause = match self.renew() {
                Ok(()) => {
                    retry.reset();
                    self.until_half_life()
                }
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "the serving certificate was not renewed"
                    );
                    retry.next_delay()
                }
            };
        }
    }

    fn until_half_life(&self) -> Duration {
        let left = self.current.load().not_after - self.ca.clock().now();
        let left = Duration::try_from(left).unwrap_or(Duration::ZERO);
        let spread = 1.0 + JITTER * (fastrand::f64() * 2.0 - 1.0);
        (left / 2).mul_f64(spread).max(RETRY.0)
    }
}

async fn changed(files: Option<&FileWatch>) -> Option<()> {
    files?.changed().await;
    Some(())
}

fn build(ca: &Ca, options: &ServingOptions) -> Result<Current, ServingError> {
    let key = KeyPair::generate().map_err(ServingError::Key)?;
    let issued = ca.issue_server(&options.names, &key)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?;
    let builder = match &options.client_auth {
        ClientAuth::None => builder.with_no_client_auth(),
        ClientAuth::Required(authority) => {
            builder.with_client_cert_verifier(authority.verifier(provider)?)
        }
        ClientAuth::Optional => {
            let roots = Arc::new(ca.trust_bundle().root_store());
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider)
                .allow_unauthenticated()
                .build()?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let private_key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut config = builder.with_single_cert(issued.full_chain(), private_key)?;
    config.alpn_protocols = options.alpn.clone();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Current {
        config: Arc::new(config),
        not_after: issued.not_after,
    })
}

#[cfg(test)]
mod tests;
