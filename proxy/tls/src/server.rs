//! Server side of TLS (`DownstreamTlsContext`).

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::ServerConfig;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, StartHandshake};

use super::context::{Common, Filled, TlsError};
use super::downstream::Prefixed;
use super::peer::tls_info;
use super::secret::Certificate;
use super::secret_store::{Dependent, SecretStore, Secrets};
use super::verify_spiffe::PeerVerifier;
use crate::config::connection::TlsInfo;
use crate::config::error::{ConfigError, Within};
use crate::config::secret::SecretRef;
use crate::config::tls as config;
use crate::config::tls::san::covers;

/// TLS termination of a filter chain, rebuilt whenever one of its secrets changes.
#[derive(Debug)]
pub struct ServerTls {
    /// `require_client_certificate`.
    pub require_client_certificate: bool,
    require_sni: bool,
    common: Common,
    /// `None` until all secrets are there.
    current: ArcSwapOption<Built>,
}

/// What a handshake needs.
#[derive(Debug)]
struct Built {
    with_alpn: Arc<ServerConfig>,
    /// For clients that share no protocol with us: BoringSSL goes on without ALPN where rustls would refuse.
    without_alpn: Arc<ServerConfig>,
    local_uri_sans: Vec<Box<str>>,
}

impl ServerTls {
    /// A context over the secrets of a store. It may not be [`ready`](Self::ready) yet.
    pub fn new(
        config: &config::ServerTls,
        secrets: &SecretStore,
    ) -> Result<Arc<Self>, ConfigError> {
        let common = Common::new(&config.common).within("common_tls_context")?;
        if !common.has_certificates() {
            return Err(ConfigError::new("common_tls_context", "has no certificate"));
        }
        if config.require_client_certificate && !common.has_validation() {
            return Err(ConfigError::new(
                "require_client_certificate",
                "needs a validation context",
            ));
        }
        let context = Arc::new(Self {
            require_client_certificate: config.require_client_certificate,
            require_sni: config.require_sni,
            common,
            current: ArcSwapOption::empty(),
        });
        secrets.register(&context.common.secret_refs(), &context);
        Ok(context)
    }

    /// Whether all secrets have arrived. Without them every connection is refused.
    pub fn ready(&self) -> bool {
        self.current.load().is_some()
    }

    /// The secrets that the context names.
    pub fn secret_refs(&self) -> Vec<SecretRef> {
        self.common.secret_refs()
    }

    /// Performs the handshake.
    pub async fn accept(
        &self,
        io: Prefixed,
    ) -> Result<(Box<TlsStream<Prefixed>>, TlsInfo), TlsError> {
        let acceptor = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), io);
        self.resume(acceptor.await.map_err(TlsError::Handshake)?)
            .await
    }

    /// Performs the handshake from a ClientHello that was read already.
    pub async fn resume(
        &self,
        start: StartHandshake<Prefixed>,
    ) -> Result<(Box<TlsStream<Prefixed>>, TlsInfo), TlsError> {
        let Some(built) = self.current.load_full() else {
            return Err(self.not_ready());
        };
        let config = if self.shares_protocol(&start.client_hello()) {
            &built.with_alpn
        } else {
            &built.without_alpn
        };
        let stream = start
            .into_stream(config.clone())
            .await
            .map_err(TlsError::Handshake)?;
        let info = tls_info(stream.get_ref().1, built.local_uri_sans.clone());
        Ok((Box::new(stream), info))
    }

    fn shares_protocol(&self, hello: &ClientHello<'_>) -> bool {
        hello.alpn().is_some_and(|mut offered| {
            offered.any(|protocol| self.common.alpn.iter().any(|ours| ours == protocol))
        })
    }

    fn not_ready(&self) -> TlsError {
        let names: Vec<String> = self
            .common
            .secret_refs()
            .iter()
            .map(|secret| secret.name.to_string())
            .collect();
        TlsError::NotReady(names.join(", "))
    }

    fn build(&self, filled: Filled) -> Result<Built, rustls::Error> {
        let provider = &self.common.provider;
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&self.common.versions)?;
        let verifier = match filled.validation {
            None => WebPkiClientVerifier::no_client_auth(),
            Some(validation) => Arc::new(PeerVerifier::for_clients(
                validation,
                provider.signature_verification_algorithms,
                self.require_client_certificate,
            )),
        };
        let local_uri_sans = filled
            .certificates
            .first()
            .map(uri_sans)
            .unwrap_or_default();
        let mut config = builder
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(BySni {
                certificates: filled.certificates,
                require_sni: self.require_sni,
            }));
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        let without_alpn = Arc::new(config.clone());
        config.alpn_protocols.clone_from(&self.common.alpn);
        Ok(Built {
            with_alpn: Arc::new(config),
            without_alpn,
            local_uri_sans,
        })
    }
}

impl Dependent for ServerTls {
    fn rebuild(&self, secrets: &Secrets<'_>) {
        let built = match self.common.fill(secrets) {
            Ok(filled) => self.build(filled).map_err(|error| error.to_string()),
            Err(missing) => Err(format!("waiting for {missing}")),
        };
        match built {
            Ok(built) => self.current.store(Some(Arc::new(built))),
            Err(reason) => {
                tracing::debug!(reason, "TLS context cannot serve");
                self.current.store(None);
            }
        }
    }
}

fn uri_sans(certificate: &Arc<Certificate>) -> Vec<Box<str>> {
    let sans = &certificate.leaf.uri_sans;
    sans.iter().map(|san| san.as_str().into()).collect()
}

/// Chooses among certificates by SNI, then by what the client can verify; the first one is the default.
#[derive(Debug)]
struct BySni {
    certificates: Vec<Arc<Certificate>>,
    require_sni: bool,
}

impl ResolvesServerCert for BySni {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if self.require_sni && hello.server_name().is_none() {
            return None;
        }
        if let [only] = self.certificates.as_slice() {
            return Some(only.key.clone());
        }
        let schemes = hello.signature_schemes();
        let usable =
            |certificate: &&Arc<Certificate>| certificate.key.key.choose_scheme(schemes).is_some();
        let named = hello.server_name().and_then(|name| {
            self.certificates
                .iter()
                .filter(usable)
                .find(|certificate| covers_any(&certificate.leaf.dns_sans, name))
        });
        named
            .or_else(|| self.certificates.iter().find(usable))
            .map(|certificate| certificate.key.clone())
    }
}

fn covers_any(names: &[String], host: &str) -> bool {
    names.iter().any(|name| covers(name, host))
}
