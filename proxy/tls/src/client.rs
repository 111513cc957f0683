//! Client side of TLS (`UpstreamTlsContext`).

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::ClientConfig;
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::MaybeTls;
use super::context::{Common, Filled, TlsError};
use super::peer::tls_info;
use super::secret::Validation;
use super::secret_store::{Dependent, SecretStore, Secrets};
use super::verify_spiffe::PeerVerifier;
use crate::config::connection::TlsInfo;
use crate::config::error::{ConfigError, Within};
use crate::config::secret::SecretRef;
use crate::config::tls as config;

/// TLS origination of a cluster or of one of its transport socket matches, rebuilt whenever one of its secrets
/// changes.
#[derive(Debug)]
pub struct ClientTls {
    sni: Option<Box<str>>,
    auto_host_sni: bool,
    auto_sni_san_validation: bool,
    common: Common,
    /// `None` until all secrets are there.
    current: ArcSwapOption<Built>,
}

#[derive(Debug)]
struct Built {
    with_sni: Arc<ClientConfig>,
    without_sni: Arc<ClientConfig>,
    local_uri_sans: Vec<Box<str>>,
}

/// The bytes of an upstream connection.
pub type UpstreamIo = MaybeTls<TcpStream, TlsStream<TcpStream>>;

impl UpstreamIo {
    /// The socket underneath.
    pub fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(tls) => tls.get_ref().0,
        }
    }
}

/// What one connection wants other than the context says.
#[derive(Debug, Default, Clone, Copy)]
pub struct TlsOverrides<'a> {
    /// SNI (`auto_sni`, original SNI); wins over the context's `sni`.
    pub server_name: Option<&'a str>,
    /// ALPN protocols, most wanted first; an empty list sends none.
    pub alpn: Option<&'a [&'a [u8]]>,
}

impl ClientTls {
    /// A context over the secrets of a store. It may not be [`ready`](Self::ready) yet.
    pub fn new(
        config: &config::ClientTls,
        secrets: &SecretStore,
    ) -> Result<Arc<Self>, ConfigError> {
        let common = Common::new(&config.common).within("common_tls_context")?;
        if let Some(sni) = &config.sni {
            server_name(sni).map_err(|error| ConfigError::new("sni", error.to_string()))?;
        }
        let context = Arc::new(Self {
            sni: config.sni.clone(),
            auto_host_sni: config.auto_host_sni,
            auto_sni_san_validation: config.auto_sni_san_validation,
            common,
            current: ArcSwapOption::empty(),
        });
        secrets.register(&context.common.secret_refs(), &context);
        Ok(context)
    }

    /// Whether all secrets have arrived. Without them every connection fails.
    pub fn ready(&self) -> bool {
        self.current.load().is_some()
    }

    /// The secrets that the context names.
    pub fn secret_refs(&self) -> Vec<SecretRef> {
        self.common.secret_refs()
    }

    /// Whether SNI is the endpoint's host name (`auto_host_sni`); the caller knows it.
    pub fn auto_host_sni(&self) -> bool {
        self.auto_host_sni
    }

    /// The context's own SNI.
    pub fn sni(&self) -> Option<&str> {
        self.sni.as_deref()
    }

    /// The context's own ALPN protocols.
    pub fn alpn(&self) -> &[Vec<u8>] {
        &self.common.alpn
    }

    /// Performs the handshake on a connected socket.
    pub async fn connect(
        &self,
        socket: TcpStream,
        overrides: TlsOverrides<'_>,
    ) -> Result<(Box<TlsStream<TcpStream>>, TlsInfo), TlsError> {
        let Some(built) = self.current.load_full() else {
            let names = self.common.secret_refs();
            let names: Vec<&str> = names.iter().map(|secret| &*secret.name).collect();
            return Err(TlsError::NotReady(names.join(", ")));
        };
        let (config, name) = match overrides.server_name.or(self.sni.as_deref()) {
            Some(name) => (&built.with_sni, server_name(name)?),
            // rustls wants a name in any case; an address is never sent.
            None => (&built.without_sni, ServerName::from(peer_ip(&socket))),
        };
        let connector = TlsConnector::from(config.clone());
        let stream = match overrides.alpn {
            None => connector.connect(name, socket).await,
            Some(alpn) => {
                let alpn = alpn.iter().map(|protocol| protocol.to_vec()).collect();
                connector.with_alpn(alpn).connect(name, socket).await
            }
        };
        let stream = stream.map_err(TlsError::Handshake)?;
        let info = tls_info(stream.get_ref().1, built.local_uri_sans.clone());
        Ok((Box::new(stream), info))
    }

    fn build(&self, filled: &Filled) -> Result<Built, rustls::Error> {
        let provider = &self.common.provider;
        // No validation context: whoever answers is accepted, as Envoy does; Istio always sends one.
        let validation = filled
            .validation
            .clone()
            .unwrap_or_else(|| Arc::new(Validation::default()));
        let verifier = PeerVerifier::for_servers(
            validation,
            provider.signature_verification_algorithms,
            self.auto_sni_san_validation,
        );
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&self.common.versions)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match filled.certificates.first() {
            None => builder.with_no_client_auth(),
            Some(certificate) => {
                let key = SingleCertAndKey::from((*certificate.key).clone());
                let resolver: Arc<dyn ResolvesClientCert> = Arc::new(key);
                builder.with_client_cert_resolver(resolver)
            }
        };
        config.resumption = Resumption::disabled();
        config.alpn_protocols.clone_from(&self.common.alpn);
        let mut without_sni = config.clone();
        without_sni.enable_sni = false;
        let local_uri_sans = filled.certificates.first().map(|certificate| {
            let sans = &certificate.leaf.uri_sans;
            sans.iter().map(|san| san.as_str().into()).collect()
        });
        Ok(Built {
            with_sni: Arc::new(config),
            without_sni: Arc::new(without_sni),
            local_uri_sans: local_uri_sans.unwrap_or_default(),
        })
    }
}

impl Dependent for ClientTls {
    fn rebuild(&self, secrets: &Secrets<'_>) {
        let built = match self.common.fill(secrets) {
            Ok(filled) => self.build(&filled).map_err(|error| error.to_string()),
            Err(missing) => Err(format!("waiting for {missing}")),
        };
        match built {
            Ok(built) => self.current.store(Some(Arc::new(built))),
            Err(reason) => {
                tracing::debug!(reason, "TLS context cannot connect");
                self.current.store(None);
            }
        }
    }
}

fn server_name(name: &str) -> Result<ServerName<'static>, TlsError> {
    ServerName::try_from(name.to_owned()).map_err(|_| TlsError::ServerName(name.to_owned()))
}

fn peer_ip(socket: &TcpStream) -> std::net::IpAddr {
    socket
        .peer_addr()
        .map_or(std::net::Ipv4Addr::UNSPECIFIED.into(), |peer| peer.ip())
}
