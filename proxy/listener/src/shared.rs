//! What all workers share of a listener: sockets, TLS contexts and the objects behind the filters, beside the
//! configuration that they are built from.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;

use arc_swap::ArcSwap;
use indexmap::IndexMap;

use super::socket::{ListenSocket, Sockets};
use crate::config::error::{ConfigError, Within};
use crate::config::filter_chain::{self, FilterChain};
use crate::config::listener::Listener;
use crate::http::connection_manager::ConnectionManager;
use crate::tcp::proxy::TcpProxy;
use crate::telemetry::access_log::AccessLogs;
use crate::telemetry::log_sink::LogSinks;
use crate::tls::secret_store::SecretStore;
use crate::tls::server::ServerTls;

/// Listeners in force, by name, in the order in which they were added.
pub type Listeners = IndexMap<Arc<str>, Arc<SharedListener>>;

/// Where the listeners are published. Workers look when the runtime is announced.
pub type ListenersHandle = Arc<ArcSwap<Listeners>>;

/// What listeners are built with.
#[derive(Debug, Clone)]
pub struct Builder {
    /// Secrets that TLS contexts are built from.
    pub secrets: SecretStore,
    /// Where listeners bind.
    pub sockets: Sockets,
    /// Files that access logs are written to.
    pub logs: LogSinks,
}

/// A listener with its live parts. Reads as its configuration otherwise.
#[derive(Debug)]
pub struct SharedListener {
    /// What it is built from.
    pub config: Arc<Listener>,
    /// Where it listens, with the port that the kernel chose if the configuration says 0.
    pub address: SocketAddr,
    /// The sockets, in the order of the addresses; empty if `bind_to_port` is false.
    pub sockets: Vec<Arc<ListenSocket>>,
    /// The chains; [`match_chain`](crate::config::match_chain) finds the best one.
    pub filter_chains: Vec<Arc<SharedChain>>,
    /// Used when no other chain matches; without it the connection is closed.
    pub default_filter_chain: Option<Arc<SharedChain>>,
    /// Logs of connections, written also where no filter chain matched.
    pub access_logs: AccessLogs,
}

/// A filter chain with its live parts. Reads as its configuration otherwise.
#[derive(Debug)]
pub struct SharedChain {
    /// What it is built from.
    pub config: Arc<FilterChain>,
    /// TLS termination; `None` for plaintext.
    pub tls: Option<Arc<ServerTls>>,
    /// The last filter: it owns the connection.
    pub terminal: Terminal,
}

/// The filter at the end of a chain.
#[derive(Debug)]
pub enum Terminal {
    /// `envoy.filters.network.http_connection_manager`.
    Http(Arc<ConnectionManager>),
    /// `envoy.filters.network.tcp_proxy`.
    Tcp(Arc<TcpProxy>),
    /// No terminal filter: the connection is closed.
    Close,
}

impl SharedListener {
    /// The live parts of a listener. Filter chains whose configuration is the same `Arc` in `previous` are taken from
    /// it, by which workers tell that their connections may stay.
    ///
    /// # Errors
    /// When a part cannot be executed or an address cannot be bound.
    pub fn new(
        config: Arc<Listener>,
        builder: &Builder,
        previous: Option<&Self>,
    ) -> Result<Self, ConfigError> {
        let known: HashMap<_, _> = previous
            .into_iter()
            .flat_map(Self::chains)
            .map(|chain| (Arc::as_ptr(&chain.config), chain))
            .collect();
        let build = |chain: &Arc<FilterChain>| match known.get(&Arc::as_ptr(chain)) {
            Some(known) => Ok(Arc::clone(known)),
            None => SharedChain::new(chain.clone(), builder).map(Arc::new),
        };
        let mut filter_chains = Vec::with_capacity(config.filter_chains.len());
        for (n, chain) in config.filter_chains.iter().enumerate() {
            filter_chains.push(build(chain).within(format_args!("filter_chains[{n}]"))?);
        }
        let default_filter_chain = config.default_filter_chain.as_ref().map(build).transpose();
        let default_filter_chain = default_filter_chain.within("default_filter_chain")?;
        let access_logs = AccessLogs::new(&config.access_logs, &builder.logs)?;
        // Last: a listener that is refused for another reason must not occupy its address.
        let sockets = bind(&config, &builder.sockets)?;
        Ok(Self {
            address: sockets
                .first()
                .map_or(config.address, |bound| bound.address()),
            sockets,
            filter_chains,
            default_filter_chain,
            access_logs,
            config,
        })
    }

    /// All filter chains.
    pub fn chains(&self) -> impl Iterator<Item = &Arc<SharedChain>> {
        self.filter_chains.iter().chain(&self.default_filter_chain)
    }

    /// Whether all secrets of its TLS contexts have arrived.
    pub fn ready(&self) -> bool {
        self.chains()
            .all(|chain| chain.tls.as_ref().is_none_or(|tls| tls.ready()))
    }
}

impl SharedChain {
    fn new(config: Arc<FilterChain>, builder: &Builder) -> Result<Self, ConfigError> {
        let last = format!("filters[{}].typed_config", config.filters.len());
        let terminal = match &config.terminal {
            filter_chain::Terminal::Http(hcm) => {
                let manager = ConnectionManager::new(hcm.clone(), &builder.logs);
                Terminal::Http(Arc::new(manager.within(last)?))
            }
            filter_chain::Terminal::Tcp(proxy) => {
                let proxy = TcpProxy::new(proxy.clone(), &builder.logs);
                Terminal::Tcp(Arc::new(proxy.within(last)?))
            }
            filter_chain::Terminal::Close => Terminal::Close,
        };
        let tls = config.tls.as_ref();
        let tls = tls.map(|tls| ServerTls::new(tls, &builder.secrets));
        let tls = tls.transpose().within("typed_config");
        Ok(Self {
            tls: tls.within("transport_socket")?,
            terminal,
            config,
        })
    }
}

fn bind(config: &Listener, sockets: &Sockets) -> Result<Vec<Arc<ListenSocket>>, ConfigError> {
    if !config.bind_to_port {
        return Ok(Vec::new());
    }
    let bind = |address: &SocketAddr| {
        let bound = sockets.bind(*address, config.bind);
        bound.map_err(|error: io::Error| {
            ConfigError::new("address", format!("cannot bind '{address}': {error}"))
        })
    };
    std::iter::once(&config.address)
        .chain(&config.additional_addresses)
        .map(bind)
        .collect()
}

impl Deref for SharedListener {
    type Target = Listener;

    fn deref(&self) -> &Listener {
        &self.config
    }
}

impl Deref for SharedChain {
    type Target = FilterChain;

    fn deref(&self) -> &FilterChain {
        &self.config
    }
}
