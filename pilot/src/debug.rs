//! Debug pages: who is connected and what they have.
//!
//! `/debug/syncz` and `/debug/refusedz` feed `meshctl proxy-status`, `/debug/config_dump?proxy=`
//! shows the resources of one proxy as they were generated. Private keys are not shown.
//!
//! Who may see them follows Istio's `allowAuthenticatedOrLocalhost` and `AuthorizeDebugRequest`
//! (pilot/pkg/xds/debug.go): the control plane's namespace everything, another namespace the named pages
//! about its own proxies. Differs from Istio: `syncz` is among those pages, with the namespace's own
//! proxies alone; Istio's `ndsz` and `edsz` are not built. The check itself is the listener's, which leaves
//! a [`scope::Scope`].

pub mod page;
pub mod scope;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use axum::Router;
use axum::extract::{Extension, Query, State};
use axum::http::StatusCode;
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use mesh_api::endpoint::{Endpoint, EndpointAddress};
use mesh_api::service::{Service, ServiceAddress};
use mesh_api::snapshot::ServiceKey;
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use tokio::sync::watch;
use xds::type_url::ResourceType;

use self::page::Pages;
use self::scope::Scope;
use crate::ads::refusals::{Refusal, Refusals};
use crate::ads::registry::Registry;
use crate::world::{ProxyResources, World};

#[derive(Clone)]
struct Sources {
    registry: Registry,
    refusals: Refusals,
    worlds: watch::Receiver<Arc<World>>,
    pages: Pages,
}

/// The router, to be merged into the HTTP port's behind a layer that leaves a [`Scope`].
pub fn router(
    registry: Registry,
    refusals: Refusals,
    worlds: watch::Receiver<Arc<World>>,
    pages: Pages,
) -> Router {
    let of_proxies = Router::new()
        .route("/debug/syncz", get(syncz))
        .route("/debug/config_dump", get(config_dump))
        .route_layer(from_fn(scope::some_scope));
    let of_the_mesh = Router::new()
        .route("/debug/refusedz", get(refusedz))
        .route("/debug/connections", get(connections))
        .route("/debug/endpointz", get(endpointz))
        .route("/debug/registryz", get(registryz))
        .route_layer(from_fn(scope::whole_mesh));
    of_proxies.merge(of_the_mesh).with_state(Sources {
        registry,
        refusals,
        worlds,
        pages,
    })
}

/// A list whose items are looked up while it is written.
struct Lazy<F>(F);

impl<F, I> Serialize for Lazy<F>
where
    F: Fn() -> I,
    I: Iterator<Item: Serialize>,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((self.0)())
    }
}

async fn syncz(State(from): State<Sources>, Extension(scope): Extension<Scope>) -> Response {
    let registry = from.registry;
    from.pages
        .json(Lazy(move || registry.statuses(scope.clone())))
}

/// A caller that was refused lately.
#[derive(Serialize)]
struct RefusedCaller {
    /// `POD.NAMESPACE`, or the address where no pod has it.
    proxy: String,
    ip: String,
    reason: String,
    times: u64,
    /// As RFC 3339.
    last_at: String,
}

async fn refusedz(State(from): State<Sources>) -> Response {
    let world = from.worlds.borrow().clone();
    // As many as are remembered, which is bounded.
    let recent = from.refusals.recent(SystemTime::now());
    from.pages.json(Lazy(move || {
        let workloads = &world.snapshot().workloads;
        let caller = |(ip, refusal): (IpAddr, Refusal)| RefusedCaller {
            proxy: match workloads.get(&ip) {
                Some(workload) => format!("{}.{}", workload.name, workload.namespace),
                None => ip.to_string(),
            },
            ip: ip.to_string(),
            reason: refusal.reason,
            times: refusal.times,
            last_at: rfc3339(refusal.last_at),
        };
        let callers: Vec<_> = recent.clone().into_iter().map(caller).collect();
        callers.into_iter()
    }))
}

/// Empty for times that no calendar has.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    let time = jiff::Timestamp::try_from(time).map(|time| time.to_string());
    time.unwrap_or_default()
}

#[derive(Serialize)]
struct Connections<C> {
    total: usize,
    clients: C,
}

#[derive(Serialize)]
struct Connection {
    id: String,
    connected_at: String,
}

async fn connections(State(from): State<Sources>) -> Response {
    let registry = from.registry;
    let total = registry.len();
    let clients = Lazy(move || {
        let statuses = registry.statuses(Scope::Mesh);
        statuses.map(|proxy| Connection {
            id: proxy.id,
            connected_at: proxy.connected_at,
        })
    });
    from.pages.json(Connections { total, clients })
}

#[derive(Deserialize)]
struct Proxy {
    /// Node id, `POD.NAMESPACE` or address.
    proxy: String,
}

async fn config_dump(
    State(from): State<Sources>,
    Extension(scope): Extension<Scope>,
    Query(query): Query<Proxy>,
) -> Response {
    // A proxy of another namespace is not told from one that is not connected.
    let missing = format!("proxy is not connected: {}", query.proxy);
    let registry = from.registry;
    let find = move || registry.resources(&query.proxy, &scope);
    match from.pages.look_up(find).await {
        Ok(Some((_, resources))) => from.pages.json(Dump(resources)),
        Ok(None) => (StatusCode::NOT_FOUND, missing).into_response(),
        Err(busy) => busy.into_response(),
    }
}

/// Resources of a proxy by type and name, but for secrets.
struct Dump(Arc<ProxyResources>);

impl Serialize for Dump {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let json = xds::json::Json::load();
        let mut types: Vec<_> = ResourceType::ALL
            .into_iter()
            .filter(|resource_type| *resource_type != ResourceType::Secret)
            .collect();
        types.sort_by_key(|resource_type| resource_type.short_name());
        let mut map = serializer.serialize_map(Some(types.len()))?;
        for resource_type in types {
            let of_type = OfType {
                resources: &self.0,
                resource_type,
                json: &json,
            };
            map.serialize_entry(resource_type.short_name(), &of_type)?;
        }
        map.end()
    }
}

struct OfType<'a> {
    resources: &'a ProxyResources,
    resource_type: ResourceType,
    json: &'a xds::json::Json,
}

impl Serialize for OfType<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let layers = self.resources.layers(self.resource_type);
        // A later layer overrides an earlier one.
        let resources: BTreeMap<_, _> = layers.into_iter().flatten().collect();
        serializer.collect_map(resources.into_iter().map(|(name, resource)| {
            let json = self
                .json
                .encode_resource(self.resource_type.url(), resource.value());
            (name.to_string(), json)
        }))
    }
}

#[derive(Serialize)]
struct EndpointView {
    service: String,
    namespace: String,
    port: u16,
    address: String,
    workload: String,
    health: String,
    mtls: bool,
}

async fn endpointz(State(from): State<Sources>) -> Response {
    let world = from.worlds.borrow().clone();
    from.pages.json(Endpoints(world))
}

struct Endpoints(Arc<World>);

impl Serialize for Endpoints {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let services = self.0.snapshot().endpoints.iter();
        let views = services.flat_map(|(key, endpoints)| {
            let ports = endpoints.by_port.iter();
            ports.flat_map(move |(port, endpoints)| {
                let view = move |endpoint: &Arc<Endpoint>| endpoint_view(key, *port, endpoint);
                endpoints.iter().map(view)
            })
        });
        serializer.collect_seq(views)
    }
}

fn endpoint_view(key: &ServiceKey, port: u16, endpoint: &Endpoint) -> EndpointView {
    EndpointView {
        service: key.hostname.to_string(),
        namespace: key.namespace.to_string(),
        port,
        address: match &endpoint.address {
            EndpointAddress::Ip(ip) => format!("{ip}:{}", endpoint.port),
            EndpointAddress::Name(name) => format!("{name}:{}", endpoint.port),
            EndpointAddress::Unix(path) => path.to_string(),
        },
        workload: endpoint.workload.to_string(),
        health: format!("{:?}", endpoint.health),
        mtls: endpoint.mtls_capable,
    }
}

#[derive(Serialize)]
struct ServiceView {
    host: String,
    namespace: String,
    addresses: Vec<String>,
    ports: BTreeMap<u16, String>,
    resolution: String,
}

async fn registryz(State(from): State<Sources>) -> Response {
    let world = from.worlds.borrow().clone();
    from.pages.json(Services(world))
}

struct Services(Arc<World>);

impl Serialize for Services {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.snapshot().services.values().map(service_view))
    }
}

fn service_view(service: &Arc<Service>) -> ServiceView {
    ServiceView {
        host: service.hostname.to_string(),
        namespace: service.meta.namespace().to_owned(),
        addresses: service
            .addresses
            .iter()
            .map(|address| match address {
                ServiceAddress::Ip(ip) => ip.to_string(),
                ServiceAddress::Cidr(net) => net.to_string(),
            })
            .collect(),
        ports: service
            .ports
            .iter()
            .map(|port| (port.number, port.protocol.to_string()))
            .collect(),
        resolution: format!("{:?}", service.resolution),
    }
}
