//! A control plane with one service, and proxies that take their configuration from it.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use xds::envoy::cluster::Cluster;
use xds::envoy::endpoint::ClusterLoadAssignment;
use xds::envoy::route::RouteConfiguration;
use xds::json::Json;
use xds::type_url::ResourceType;

use super::origins::{COUNT, Origins};
use super::policy::Policy;
use crate::control_plane::{ADS, ControlPlane};
use crate::harness::{LIMIT, Proxy};

/// How many requests may run at once without a policy.
const REQUESTS_MAX: usize = 4;

/// The control plane, the servers, and what is in force.
pub(crate) struct Mesh {
    pub(crate) origins: Origins,
    pub(crate) policies: Vec<Policy>,
    control_plane: ControlPlane,
    json: Json,
    version: u32,
}

/// What clients of a proxy see.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Observed {
    /// Responses by status and server.
    responses: BTreeMap<(u16, String), usize>,
    /// Of requests that run at once, how many are refused.
    refused: usize,
}

impl Mesh {
    pub(crate) async fn start() -> Self {
        let mut mesh = Self {
            origins: Origins::start().await,
            policies: Vec::new(),
            control_plane: ControlPlane::start().await,
            json: Json::load(),
            version: 0,
        };
        mesh.publish();
        mesh
    }

    /// A proxy with what is in force.
    pub(crate) async fn proxy(&self) -> Proxy {
        let manager = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
        let filters = "type.googleapis.com/envoy.extensions.filters.http";
        let bootstrap = format!(
            "{{ node: {{ id: p, cluster: p }}, {ADS}, static_resources: {{ clusters: [{}], listeners: [{{ \
               name: in, address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }}, \
               filter_chains: [{{ filters: [{{ name: http, typed_config: {{ \"@type\": {manager}, \
                 stat_prefix: http, rds: {{ route_config_name: r, config_source: {{ ads: {{}} }} }}, \
                 http_filters: [ \
                   {{ name: fault, typed_config: {{ \"@type\": {filters}.fault.v3.HTTPFault }} }}, \
                   {{ name: router, typed_config: {{ \"@type\": {filters}.router.v3.Router }} }}] }} }}] }}] }}] }} }}",
            self.control_plane.cluster()
        );
        let proxy = Proxy::start(&bootstrap).await;
        self.until_in_force(&proxy).await;
        proxy
    }

    /// Sends what the policies make of the configuration.
    pub(crate) fn publish(&mut self) {
        self.version += 1;
        let mut cluster = json!({
            "name": "c", "type": "EDS", "lb_policy": "ROUND_ROBIN",
            "eds_cluster_config": {"eds_config": {"ads": {}}},
            "circuit_breakers": {"thresholds": [{"max_requests": REQUESTS_MAX}]},
            // Or a proxy that has ejected all hosts would use all of them.
            "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        });
        let mut route = json!({"match": {"prefix": "/"}, "route": {"cluster": "c"}});
        let addresses = self.origins.addresses.iter().enumerate();
        let endpoints = addresses.map(|(number, address)| {
            let socket = json!({"address": address.ip(), "port_value": address.port()});
            let mut endpoint = json!({
                "endpoint": {"address": {"socket_address": socket}},
                "metadata": {"filter_metadata": {"envoy.lb": {"version": number.to_string()}}},
            });
            for policy in &self.policies {
                policy.edit_endpoint(number, &mut endpoint);
            }
            endpoint
        });
        let endpoints: Vec<Value> = endpoints.collect();
        for policy in &self.policies {
            policy.edit_cluster(&mut cluster);
            policy.edit_route(&mut route);
        }
        let assignment = json!({"cluster_name": "c", "endpoints": [{"lb_endpoints": endpoints}]});
        let version = json!({
            "match": {"path": "/version"},
            "direct_response": {"status": 200, "body": {"inline_string": self.version.to_string()}},
        });
        let routes = json!({
            "name": "r",
            "virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [version, route]}],
        });
        // In this order: who has the route has the rest.
        let cluster: Cluster = self.json.decode(&cluster).unwrap();
        self.control_plane.set(ResourceType::Cluster, "c", &cluster);
        let assignment: ClusterLoadAssignment = self.json.decode(&assignment).unwrap();
        self.control_plane
            .set(ResourceType::Endpoint, "c", &assignment);
        let routes: RouteConfiguration = self.json.decode(&routes).unwrap();
        self.control_plane.set(ResourceType::Route, "r", &routes);
    }

    /// Waits until a proxy has what was published last.
    pub(crate) async fn until_in_force(&self, proxy: &Proxy) {
        let expected = (200, self.version.to_string());
        let asking = async {
            let mut client = Client::new(proxy).await;
            while client.get("/version").await != expected {
                tokio::task::yield_now().await;
            }
        };
        let in_force = tokio::time::timeout(LIMIT, asking).await;
        let rejections = proxy.data_plane.status.rejections();
        assert!(
            in_force.is_ok() && rejections.is_empty(),
            "version {}, {:?}: {rejections:?}",
            self.version,
            self.policies
        );
    }

    /// What the clients of a proxy see now.
    pub(crate) async fn observe(&self, proxy: &Proxy) -> Observed {
        let mut client = Client::new(proxy).await;
        let mut responses = BTreeMap::new();
        for _ in 0..20 * COUNT {
            *responses.entry(client.get("/").await).or_default() += 1;
        }
        self.origins.released.send_replace(false);
        let mut running = JoinSet::new();
        for _ in 0..2 * REQUESTS_MAX {
            let mut client = Client::new(proxy).await;
            running.spawn(async move { client.get("/hold").await.0 });
        }
        // Those over the limit are refused at once, and the others wait.
        let mut refused = 0;
        while refused < REQUESTS_MAX {
            let ended = tokio::time::timeout(LIMIT, running.join_next()).await;
            let status = ended.expect("a refusal").expect("a request").unwrap();
            assert_eq!(status, 503);
            refused += 1;
        }
        self.origins.released.send_replace(true);
        while let Some(status) = running.join_next().await {
            refused += usize::from(status.unwrap() == 503);
        }
        Observed { responses, refused }
    }
}

/// One connection to a proxy.
pub(crate) struct Client(SendRequest<Empty<Bytes>>);

impl Client {
    pub(crate) async fn new(proxy: &Proxy) -> Self {
        let stream = proxy.connect("in").await;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self(sender)
    }

    /// Status and body.
    pub(crate) async fn get(&mut self, path: &str) -> (u16, String) {
        let request = Request::get(path).header("host", "a");
        let exchange = async {
            self.0.ready().await.unwrap();
            let response = self.0.send_request(request.body(Empty::new()).unwrap());
            let response = response.await.unwrap();
            let status = response.status().as_u16();
            let body = response.into_body().collect().await.unwrap().to_bytes();
            (status, String::from_utf8(body.to_vec()).unwrap())
        };
        tokio::time::timeout(LIMIT, exchange)
            .await
            .expect("a response")
    }
}
