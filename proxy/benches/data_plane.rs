//! What a request and an update cost, step by step: `cargo bench -p proxy --bench data_plane`.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderValue, Method, Version};
use proxy::config::ClusterId;
use proxy::config::access_log::DEFAULT_FORMAT;
use proxy::config::listener::Direction;
use proxy::config::rbac::{Action, Input, Permission, Policies, Policy, Principal};
use proxy::config::request::{RequestHead, Scheme};
use proxy::config::route::RouteConfig;
use proxy::executor::{Executor, InForce};
use proxy::http::route::matcher;
use proxy::listener::shared::Builder;
use proxy::listener::socket::Sockets;
use proxy::telemetry::WorkerTelemetry;
use proxy::telemetry::access_log::Captures;
use proxy::telemetry::log_format::{self, LogFormat};
use proxy::telemetry::log_sink::LogSinks;
use proxy::telemetry::stream_info::{ConnectionInfo, DynamicMetadata, StreamInfo};
use proxy::tls::secret_store::SecretStore;
use proxy::upstream::PickContext;
use proxy::upstream::worker::Worker;
use proxy_xds::apply::{Applier, Received, Translators};
use proxy_xds::{lds, rds};
use serde_json::json;
use xds::envoy::cluster::Cluster;
use xds::envoy::endpoint::ClusterLoadAssignment;
use xds::envoy::route::RouteConfiguration;
use xds::json::Json;
use xds::prost::{Message, Name};
use xds::type_url::ResourceType;

/// Virtual hosts, as in a mesh of some size; each has this many routes.
const HOSTS: usize = 500;
const ROUTES: usize = 20;

/// Endpoints of a service.
const ENDPOINTS: usize = 100;

fn connection() -> ConnectionInfo {
    let address = SocketAddr::from(([10, 0, 0, 1], 4000));
    ConnectionInfo {
        id: 1,
        direction: Direction::Outbound,
        remote: address,
        direct_remote: address,
        local: SocketAddr::from(([10, 96, 0, 1], 9080)),
        original_destination: None,
        server_name: None,
        tls: None,
        start: Instant::now(),
        filter_chain: "chain".into(),
        buffer_limit_bytes: 1 << 20,
    }
}

fn request(authority: &str, path: &str) -> RequestHead {
    let mut headers = HeaderMap::new();
    let authority = HeaderValue::from_str(authority).expect("a host is a header value");
    headers.insert("host", authority);
    headers.insert("user-agent", HeaderValue::from_static("curl/8"));
    RequestHead {
        method: Method::GET,
        scheme: Scheme::Http,
        path: path.parse().expect("a path"),
        headers,
        version: Version::HTTP_11,
        extensions: Default::default(),
        upgrade: None,
    }
}

fn applier(in_force: &InForce) -> Applier<Executor> {
    let translators = Translators {
        listener: lds::listener,
        route: rds::route_config,
    };
    let builder = Builder {
        secrets: SecretStore::new(),
        sockets: Sockets::new(0),
        logs: LogSinks::new(),
    };
    Applier::new(
        Executor::new(in_force.clone(), builder),
        Arc::default(),
        translators,
        Arc::default(),
    )
}

fn received<M: Message + Name + Default>(name: &str, resource: &serde_json::Value) -> Received {
    let message: M = Json::load()
        .decode(resource)
        .expect("the resource is valid");
    Received {
        name: name.into(),
        version: "1".into(),
        bytes: message.encode_to_vec().into(),
    }
}

fn apply(applier: &mut Applier<Executor>, kind: ResourceType, resource: &Received) {
    let refused = applier.apply(kind, std::slice::from_ref(resource), &[], Instant::now());
    assert_eq!(refused, []);
    applier.flush();
}

fn routes() -> Arc<RouteConfig> {
    let host = |host: usize| {
        let routes = (0..ROUTES).map(|route| {
            json!({"match": {"prefix": format!("/api/{route}/")}, "route": {"cluster": "c"}})
        });
        json!({
            "name": format!("{host}"),
            "domains": [format!("service-{host}.default.svc.cluster.local")],
            "routes": routes.collect::<Vec<_>>(),
        })
    };
    let hosts: Vec<_> = (0..HOSTS).map(host).collect();
    let table = json!({"name": "9080", "virtual_hosts": hosts});
    let in_force = InForce::default();
    let received = received::<RouteConfiguration>("9080", &table);
    let mut applier = applier(&in_force);
    // No listener names it, so that a flush would drop it.
    let refused = applier.apply(ResourceType::Route, &[received], &[], Instant::now());
    assert_eq!(refused, []);
    applier
        .config()
        .routes
        .iter()
        .flatten()
        .next()
        .expect("one table")
        .clone()
}

fn route_match(criterion: &mut Criterion) {
    let table = routes();
    let connection = connection();
    let path = format!("/api/{}/x", ROUTES - 1);
    let request = request("service-321.default.svc.cluster.local", &path);
    let metadata = DynamicMetadata::default();
    criterion.bench_function("route match", |bencher| {
        bencher.iter(|| {
            let host = matcher::virtual_host(&table, request.authority())?;
            let host = &table.virtual_hosts[host as usize];
            matcher::route(host, &request, &connection, &metadata)
        });
    });
}

fn rbac(criterion: &mut Criterion) {
    let policies = (0..50).map(|number| Policy {
        name: format!("policy-{number}").into(),
        permissions: vec![Permission::DestinationPort(number..number + 1)],
        principals: vec![Principal::Any(true)],
    });
    let policies = Policies {
        action: Action::Deny,
        policies: policies.collect(),
    };
    let connection = connection();
    let request = request("a", "/");
    let input = Input {
        request: Some(&request),
        ..Input::connection(&connection)
    };
    criterion.bench_function("rbac", |bencher| {
        bencher.iter(|| policies.evaluate(&input).allowed);
    });
}

fn log_line(criterion: &mut Criterion) {
    let pieces = log_format::parse(DEFAULT_FORMAT, &mut Captures::default());
    let format = LogFormat::Text {
        pieces: pieces.expect("the default format"),
        omit_empty: false,
    };
    let info = StreamInfo::new(Rc::new(connection()));
    let mut line = Vec::new();
    criterion.bench_function("log format", |bencher| {
        bencher.iter(|| {
            line.clear();
            format.write(&info, &mut line);
            line.len()
        });
    });
}

fn balancer_pick(criterion: &mut Criterion) {
    let in_force = InForce::default();
    let mut applier = applier(&in_force);
    apply(&mut applier, ResourceType::Cluster, &eds_cluster());
    apply(&mut applier, ResourceType::Endpoint, &endpoints(1));
    let worker = Worker::new(0, &in_force.runtime, WorkerTelemetry::default());
    let cluster = worker.upstreams.get(&worker, &worker.view(), ClusterId(0));
    let cluster = cluster.expect("the first cluster has the first slot");
    assert_eq!(cluster.hosts().len(), ENDPOINTS);
    criterion.bench_function("balancer pick", |bencher| {
        bencher.iter(|| cluster.pick(&PickContext::default()).is_ok());
    });
}

fn eds_cluster() -> Received {
    let cluster = json!({
        "name": "c",
        "type": "EDS",
        "lb_policy": "LEAST_REQUEST",
        "eds_cluster_config": {"eds_config": {"ads": {}}},
    });
    received::<Cluster>("c", &cluster)
}

/// Addresses from this one on.
fn endpoints(first: usize) -> Received {
    let endpoints = (first..first + ENDPOINTS).map(|number| {
        let address = json!({"address": format!("10.0.0.{number}"), "port_value": 80});
        json!({"endpoint": {"address": {"socket_address": address}}})
    });
    let endpoints: Vec<_> = endpoints.collect();
    let set = json!({"cluster_name": "c", "endpoints": [{"lb_endpoints": endpoints}]});
    received::<ClusterLoadAssignment>("c", &set)
}

fn eds_apply(criterion: &mut Criterion) {
    let in_force = InForce::default();
    let mut applier = applier(&in_force);
    apply(&mut applier, ResourceType::Cluster, &eds_cluster());
    // Two sets in turn, as the same again would change nothing.
    let sets = [endpoints(1), endpoints(2)];
    let mut turn = 0;
    criterion.bench_function("eds apply", |bencher| {
        bencher.iter(|| {
            turn += 1;
            apply(&mut applier, ResourceType::Endpoint, &sets[turn % 2]);
        });
    });
}

criterion_group!(
    benches,
    route_match,
    balancer_pick,
    rbac,
    log_line,
    eds_apply
);
criterion_main!(benches);
