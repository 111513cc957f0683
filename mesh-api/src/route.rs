//! Routes: what a VirtualService means.

use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::IpNet;

use crate::hostname::Hostname;
use crate::labels::Labels;
use crate::resource::{Meta, Origin, Visibility};

pub mod cors;
pub mod fault;
pub mod headers;
pub mod matcher;
pub mod mirror;
pub mod redirect;
pub mod retry;
pub mod rewrite;
pub mod timeout;

use cors::CorsPolicy;
use fault::Fault;
use headers::HeaderOperations;
use matcher::HttpMatch;
use mirror::Mirror;
use redirect::{DirectResponse, Redirect};
use retry::RetryPolicy;
use rewrite::Rewrite;
use timeout::Timeout;

/// One VirtualService object.
#[derive(Debug, Clone, PartialEq)]
pub struct VirtualService {
    /// The object.
    pub meta: Meta,
    /// The names whose traffic it decides; empty for a delegate. Short names are already expanded.
    pub hosts: Vec<Hostname>,
    /// Where it applies.
    pub gateways: Vec<GatewayRef>,
    /// Who may see it.
    pub visibility: Visibility,
    /// HTTP rules; the first match wins.
    pub http: Vec<HttpRoute>,
    /// TLS rules by SNI.
    pub tls: Vec<TlsRoute>,
    /// TCP rules.
    pub tcp: Vec<TcpRoute>,
}

impl VirtualService {
    /// True if some rule may apply to sidecars.
    pub fn applies_to_mesh(&self) -> bool {
        self.gateways.contains(&GatewayRef::Mesh)
    }
}

/// Where rules apply.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum GatewayRef {
    /// All sidecars (`mesh`).
    Mesh,
    /// A Gateway object.
    Gateway {
        /// Its namespace.
        namespace: Arc<str>,
        /// Its name.
        name: Arc<str>,
    },
}

/// One `http[]` entry.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpRoute {
    /// `name`; empty if it has none.
    pub name: Arc<str>,
    /// Where the entry stands, for explanations.
    pub origin: Origin,
    /// Alternatives; empty matches everything.
    pub matches: Vec<HttpMatch>,
    /// What happens.
    pub action: HttpAction,
    /// Path and authority changes before forwarding.
    pub rewrite: Option<Rewrite>,
    /// Whole-request limit.
    pub timeout: Timeout,
    /// Retries; `None` for the mesh's default.
    pub retries: Option<RetryPolicy>,
    /// Injected faults.
    pub fault: Option<Fault>,
    /// Shadow destinations.
    pub mirrors: Vec<Mirror>,
    /// CORS handling.
    pub cors: Option<CorsPolicy>,
    /// Header edits for all destinations.
    pub headers: HeaderOperations,
}

/// What an HTTP rule does.
#[derive(Debug, Clone, PartialEq)]
pub enum HttpAction {
    /// Forwards to one of these by weight. A destination of weight 0 among others gets nothing.
    Route(Vec<WeightedDestination>),
    /// Redirects.
    Redirect(Redirect),
    /// Answers.
    DirectResponse(DirectResponse),
    /// Goes on with the HTTP rules of another VirtualService.
    Delegate {
        /// Its namespace.
        namespace: Arc<str>,
        /// Its name.
        name: Arc<str>,
    },
}

/// `HTTPRouteDestination`, `RouteDestination`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightedDestination {
    /// Where to.
    pub destination: Destination,
    /// Relative share.
    pub weight: u32,
    /// Header edits for this destination (HTTP only).
    pub headers: HeaderOperations,
}

/// `Destination`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Destination {
    /// Fully qualified.
    pub host: Hostname,
    /// A subset of its DestinationRule.
    pub subset: Option<Arc<str>>,
    /// The service port; `None`: the only one, else the listener's.
    pub port: Option<u16>,
}

impl Destination {
    /// A reference that leads nowhere: requests for it get 500, connections are closed.
    /// The host is that of Istio, which no service can have.
    pub fn nowhere() -> Self {
        let host = "internal.cluster.local".parse();
        Self {
            host: host.expect("it is a host"),
            subset: None,
            port: Some(u16::MAX),
        }
    }

    /// True for [`Self::nowhere`].
    pub fn is_nowhere(&self) -> bool {
        self.host.as_str() == "internal.cluster.local"
    }
}

/// One `tls[]` entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsRoute {
    /// Where the entry stands.
    pub origin: Origin,
    /// Alternatives.
    pub matches: Vec<TlsMatch>,
    /// By weight.
    pub route: Vec<WeightedDestination>,
}

/// One `tls[].match[]` entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsMatch {
    /// SNI names.
    pub sni_hosts: Vec<Hostname>,
    /// The rest.
    pub l4: L4Match,
}

/// One `tcp[]` entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpRoute {
    /// Where the entry stands.
    pub origin: Origin,
    /// Alternatives; empty matches everything.
    pub matches: Vec<L4Match>,
    /// By weight.
    pub route: Vec<WeightedDestination>,
}

/// What TLS and TCP matches have in common.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct L4Match {
    /// Destination ranges; empty for any.
    pub destination_subnets: Vec<IpNet>,
    /// Service port.
    pub port: Option<u16>,
    /// Labels of the client, decided when the configuration is made.
    pub source_labels: Labels,
    /// Namespace of the client, likewise.
    pub source_namespace: Option<Arc<str>>,
    /// Overrides the object's gateways; empty: not.
    pub gateways: Vec<GatewayRef>,
}

/// A map of names to matchers in order of names.
pub type Matchers = BTreeMap<Arc<str>, matcher::StringMatch>;
