//! Debug pages: who is connected and what they have.
//!
//! `/debug/syncz` and `/debug/refusedz` feed `meshctl proxy-status`, `/debug/config_dump?proxy=`
//! shows the resources of one proxy as they were generated. Private keys are not shown.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use mesh_api::endpoint::EndpointAddress;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use xds::type_url::ResourceType;

use crate::ads::refusals::{Refusal, Refusals};
use crate::ads::registry::{ProxyStatus, Registry};
use crate::world::World;

#[derive(Clone)]
struct Pages {
    registry: Registry,
    refusals: Refusals,
    worlds: watch::Receiver<Arc<World>>,
}

/// The router, to be merged into the HTTP port's.
pub fn router(
    registry: Registry,
    refusals: Refusals,
    worlds: watch::Receiver<Arc<World>>,
) -> Router {
    Router::new()
        .route("/debug/syncz", get(syncz))
        .route("/debug/refusedz", get(refusedz))
        .route("/debug/connections", get(connections))
        .route("/debug/config_dump", get(config_dump))
        .route("/debug/endpointz", get(endpointz))
        .route("/debug/registryz", get(registryz))
        .with_state(Pages {
            registry,
            refusals,
            worlds,
        })
}

async fn syncz(State(pages): State<Pages>) -> Json<Vec<ProxyStatus>> {
    Json(pages.registry.status())
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

async fn refusedz(State(pages): State<Pages>) -> Json<Vec<RefusedCaller>> {
    let world = pages.worlds.borrow().clone();
    let workloads = &world.snapshot().workloads;
    let recent = pages.refusals.recent(SystemTime::now());
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
    Json(recent.into_iter().map(caller).collect())
}

/// Empty for times that no calendar has.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    let time = jiff::Timestamp::try_from(time).map(|time| time.to_string());
    time.unwrap_or_default()
}

#[derive(Serialize)]
struct Connections {
    total: usize,
    clients: Vec<Connection>,
}

#[derive(Serialize)]
struct Connection {
    id: String,
    connected_at: String,
}

async fn connections(State(pages): State<Pages>) -> Json<Connections> {
    let status = pages.registry.status();
    let clients: Vec<_> = status
        .into_iter()
        .map(|proxy| Connection {
            id: proxy.id,
            connected_at: proxy.connected_at,
        })
        .collect();
    Json(Connections {
        total: clients.len(),
        clients,
    })
}

#[derive(Deserialize)]
struct Proxy {
    /// Node id, `POD.NAMESPACE` or address.
    proxy: String,
}

async fn config_dump(State(pages): State<Pages>, Query(query): Query<Proxy>) -> Response {
    let Some((_, resources)) = pages.registry.resources(&query.proxy) else {
        let message = format!("proxy is not connected: {}", query.proxy);
        return (StatusCode::NOT_FOUND, message).into_response();
    };
    let json = xds::json::Json::load();
    let mut dump: BTreeMap<&str, BTreeMap<String, serde_json::Value>> = BTreeMap::new();
    for resource_type in ResourceType::ALL
        .into_iter()
        .filter(|t| *t != ResourceType::Secret)
    {
        let layers = resources.layers(resource_type);
        let bodies = layers.into_iter().flatten().map(|(name, resource)| {
            let body = &resource.body;
            (
                name.to_string(),
                json.encode_resource(&body.type_url, &body.value),
            )
        });
        dump.insert(resource_type.short_name(), bodies.collect());
    }
    Json(dump).into_response()
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

async fn endpointz(State(pages): State<Pages>) -> Json<Vec<EndpointView>> {
    let world = pages.worlds.borrow().clone();
    let mut views = Vec::new();
    for (key, endpoints) in world.snapshot().endpoints.iter() {
        for (port, endpoints) in &endpoints.by_port {
            views.extend(endpoints.iter().map(|endpoint| EndpointView {
                service: key.hostname.to_string(),
                namespace: key.namespace.to_string(),
                port: *port,
                address: match &endpoint.address {
                    EndpointAddress::Ip(ip) => format!("{ip}:{}", endpoint.port),
                    EndpointAddress::Name(name) => format!("{name}:{}", endpoint.port),
                    EndpointAddress::Unix(path) => path.to_string(),
                },
                workload: endpoint.workload.to_string(),
                health: format!("{:?}", endpoint.health),
                mtls: endpoint.mtls_capable,
            }));
        }
    }
    Json(views)
}

#[derive(Serialize)]
struct ServiceView {
    host: String,
    namespace: String,
    addresses: Vec<String>,
    ports: BTreeMap<u16, String>,
    resolution: String,
}

async fn registryz(State(pages): State<Pages>) -> Json<Vec<ServiceView>> {
    let world = pages.worlds.borrow().clone();
    let view = |service: &Arc<mesh_api::service::Service>| ServiceView {
        host: service.hostname.to_string(),
        namespace: service.meta.namespace().to_owned(),
        addresses: service
            .addresses
            .iter()
            .map(|address| match address {
                mesh_api::service::ServiceAddress::Ip(ip) => ip.to_string(),
                mesh_api::service::ServiceAddress::Cidr(net) => net.to_string(),
            })
            .collect(),
        ports: service
            .ports
            .iter()
            .map(|port| (port.number, port.protocol.to_string()))
            .collect(),
        resolution: format!("{:?}", service.resolution),
    };
    Json(world.snapshot().services.values().map(view).collect())
}
