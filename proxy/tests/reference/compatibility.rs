//! `compatibility.md`: the fields of Envoy's messages that the data plane refuses.

use serde_json::{Value, json};

use super::page::{Page, table};
use super::refusals::{Place, Probe};

#[test]
fn the_page_lists_the_fields_that_are_refused() {
    let probe = Probe::new();
    let rows = places().into_iter().map(|place| {
        let refused = probe.refused(&place);
        let refused = match refused.is_empty() {
            true => "none".to_owned(),
            false => refused.join(", "),
        };
        vec![place.title.to_owned(), refused]
    });
    let fields = table(&["Message", "Fields"], rows);
    Page::open("compatibility.md").check(&[("fields of Envoy that are refused", fields)]);
}

fn places() -> Vec<Place> {
    let mut places = listener_places();
    places.extend(route_places());
    places.extend(cluster_places());
    places
}

fn place(
    title: &'static str,
    message: &'static str,
    resource: Value,
    pointer: &'static str,
) -> Place {
    Place {
        title,
        message,
        resource,
        pointer,
    }
}

fn any(name: &str, mut fields: Value) -> Value {
    fields["@type"] = json!(format!("type.googleapis.com/{name}"));
    fields
}

const MANAGER: &str =
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
const TCP: &str = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy";
const ROUTER: &str = "envoy.extensions.filters.http.router.v3.Router";

/// A listener with one chain of these network filters.
fn listener(filters: Value) -> Value {
    let address = json!({"socket_address": {"address": "127.0.0.1", "port_value": 1}});
    any(
        "envoy.config.listener.v3.Listener",
        json!({"name": "l", "address": address, "filter_chains": [{
            "filter_chain_match": {}, "filters": filters,
        }]}),
    )
}

fn manager(mut fields: Value, filters: Value) -> Value {
    fields["stat_prefix"] = json!("x");
    fields["http_filters"] = filters;
    fields["route_config"] = json!({"name": "r"});
    listener(json!([{"name": "http", "typed_config": any(MANAGER, fields)}]))
}

fn router() -> Value {
    json!({"name": "router", "typed_config": any(ROUTER, json!({}))})
}

fn filter(name: &str, fields: Value) -> Value {
    let filter = json!({"name": "f", "typed_config": any(name, fields)});
    manager(json!({}), json!([filter, router()]))
}

fn tls(fields: Value) -> Value {
    let name = "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext";
    let mut listener = listener(
        json!([{"name": "tcp", "typed_config": any(TCP, json!({"stat_prefix": "x", "cluster": "c"}))}]),
    );
    listener["filter_chains"][0]["transport_socket"] =
        json!({"name": "tls", "typed_config": any(name, fields)});
    listener
}

fn listener_places() -> Vec<Place> {
    const CHAIN: &str = "/filter_chains/0";
    const NETWORK: &str = "/filter_chains/0/filters/0/typed_config";
    const HTTP: &str = "/filter_chains/0/filters/0/typed_config/http_filters/0/typed_config";
    const TLS: &str = "/filter_chains/0/transport_socket/typed_config";
    let tcp = || {
        listener(
            json!([{"name": "tcp", "typed_config": any(TCP, json!({"stat_prefix": "x", "cluster": "c"}))}]),
        )
    };
    let http = |fields| manager(fields, json!([router()]));
    let secret = json!({"name": "s", "sds_config": {"ads": {}}});
    let simple_tls = json!({"common_tls_context": {
        "tls_params": {}, "tls_certificate_sds_secret_configs": [secret],
    }});
    vec![
        place("Listener", "envoy.config.listener.v3.Listener", tcp(), ""),
        place(
            "Filter chain",
            "envoy.config.listener.v3.FilterChain",
            tcp(),
            CHAIN,
        ),
        place(
            "Filter chain match",
            "envoy.config.listener.v3.FilterChainMatch",
            tcp(),
            "/filter_chains/0/filter_chain_match",
        ),
        place("TCP proxy", TCP, tcp(), NETWORK),
        place(
            "Network RBAC",
            "envoy.extensions.filters.network.rbac.v3.RBAC",
            listener(json!([
                {"name": "rbac", "typed_config": any("envoy.extensions.filters.network.rbac.v3.RBAC", json!({"stat_prefix": "x"}))},
                {"name": "tcp", "typed_config": any(TCP, json!({"stat_prefix": "x", "cluster": "c"}))},
            ])),
            NETWORK,
        ),
        place("HTTP connection manager", MANAGER, http(json!({})), NETWORK),
        place(
            "HTTP connection manager, common options",
            "envoy.config.core.v3.HttpProtocolOptions",
            http(json!({"common_http_protocol_options": {}})),
            "/filter_chains/0/filters/0/typed_config/common_http_protocol_options",
        ),
        place(
            "HTTP/1 options",
            "envoy.config.core.v3.Http1ProtocolOptions",
            http(json!({"http_protocol_options": {}})),
            "/filter_chains/0/filters/0/typed_config/http_protocol_options",
        ),
        place(
            "HTTP/2 options",
            "envoy.config.core.v3.Http2ProtocolOptions",
            http(json!({"http2_protocol_options": {}})),
            "/filter_chains/0/filters/0/typed_config/http2_protocol_options",
        ),
        place(
            "Client certificate details",
            "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.SetCurrentClientCertDetails",
            http(json!({"set_current_client_cert_details": {}})),
            "/filter_chains/0/filters/0/typed_config/set_current_client_cert_details",
        ),
        place("Router filter", ROUTER, http(json!({})), HTTP),
        place(
            "Fault filter",
            "envoy.extensions.filters.http.fault.v3.HTTPFault",
            filter(
                "envoy.extensions.filters.http.fault.v3.HTTPFault",
                json!({}),
            ),
            HTTP,
        ),
        place(
            "HTTP RBAC",
            "envoy.extensions.filters.http.rbac.v3.RBAC",
            filter("envoy.extensions.filters.http.rbac.v3.RBAC", json!({})),
            HTTP,
        ),
        place(
            "RBAC rules",
            "envoy.config.rbac.v3.RBAC",
            filter(
                "envoy.extensions.filters.http.rbac.v3.RBAC",
                json!({"rules": {}}),
            ),
            "/filter_chains/0/filters/0/typed_config/http_filters/0/typed_config/rules",
        ),
        place(
            "TLS of a server",
            "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            tls(simple_tls.clone()),
            TLS,
        ),
        place(
            "TLS of both sides",
            "envoy.extensions.transport_sockets.tls.v3.CommonTlsContext",
            tls(simple_tls.clone()),
            "/filter_chains/0/transport_socket/typed_config/common_tls_context",
        ),
        place(
            "TLS parameters",
            "envoy.extensions.transport_sockets.tls.v3.TlsParameters",
            tls(simple_tls),
            "/filter_chains/0/transport_socket/typed_config/common_tls_context/tls_params",
        ),
    ]
}

fn route_places() -> Vec<Place> {
    let routes = |route: Value| {
        any(
            "envoy.config.route.v3.RouteConfiguration",
            json!({"name": "r", "virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [route]}]}),
        )
    };
    let forward = |action: Value| {
        let mut action = action;
        action["cluster"] = json!("c");
        routes(json!({"match": {"prefix": "/"}, "route": action}))
    };
    const ROUTE: &str = "/virtual_hosts/0/routes/0";
    const ACTION: &str = "/virtual_hosts/0/routes/0/route";
    vec![
        place(
            "Route configuration",
            "envoy.config.route.v3.RouteConfiguration",
            forward(json!({})),
            "",
        ),
        place(
            "Virtual host",
            "envoy.config.route.v3.VirtualHost",
            forward(json!({})),
            "/virtual_hosts/0",
        ),
        place(
            "Route",
            "envoy.config.route.v3.Route",
            forward(json!({})),
            ROUTE,
        ),
        place(
            "Route match",
            "envoy.config.route.v3.RouteMatch",
            forward(json!({})),
            "/virtual_hosts/0/routes/0/match",
        ),
        place(
            "Route action",
            "envoy.config.route.v3.RouteAction",
            forward(json!({})),
            ACTION,
        ),
        place(
            "Retry policy",
            "envoy.config.route.v3.RetryPolicy",
            forward(json!({"retry_policy": {"retry_on": "5xx"}})),
            "/virtual_hosts/0/routes/0/route/retry_policy",
        ),
        place(
            "Mirror",
            "envoy.config.route.v3.RouteAction.RequestMirrorPolicy",
            forward(json!({"request_mirror_policies": [{"cluster": "c"}]})),
            "/virtual_hosts/0/routes/0/route/request_mirror_policies/0",
        ),
        place(
            "Hash policy",
            "envoy.config.route.v3.RouteAction.HashPolicy",
            forward(json!({"hash_policy": [{"connection_properties": {"source_ip": true}}]})),
            "/virtual_hosts/0/routes/0/route/hash_policy/0",
        ),
        place(
            "Weighted clusters",
            "envoy.config.route.v3.WeightedCluster",
            routes(
                json!({"match": {"prefix": "/"}, "route": {"weighted_clusters": {"clusters": [{"name": "c", "weight": 1}]}}}),
            ),
            "/virtual_hosts/0/routes/0/route/weighted_clusters",
        ),
        place(
            "Weighted cluster",
            "envoy.config.route.v3.WeightedCluster.ClusterWeight",
            routes(
                json!({"match": {"prefix": "/"}, "route": {"weighted_clusters": {"clusters": [{"name": "c", "weight": 1}]}}}),
            ),
            "/virtual_hosts/0/routes/0/route/weighted_clusters/clusters/0",
        ),
        place(
            "Redirect",
            "envoy.config.route.v3.RedirectAction",
            routes(json!({"match": {"prefix": "/"}, "redirect": {}})),
            "/virtual_hosts/0/routes/0/redirect",
        ),
        place(
            "Direct response",
            "envoy.config.route.v3.DirectResponseAction",
            routes(json!({"match": {"prefix": "/"}, "direct_response": {"status": 200}})),
            "/virtual_hosts/0/routes/0/direct_response",
        ),
    ]
}

fn cluster_places() -> Vec<Place> {
    let cluster = |mut fields: Value| {
        fields["name"] = json!("c");
        any("envoy.config.cluster.v3.Cluster", fields)
    };
    let options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    let http = |fields: Value| {
        cluster(json!({"typed_extension_protocol_options": {options: any(options, fields)}}))
    };
    let assignment = || {
        let address = json!({"socket_address": {"address": "127.0.0.1", "port_value": 1}});
        any(
            "envoy.config.endpoint.v3.ClusterLoadAssignment",
            json!({"cluster_name": "c", "policy": {}, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}]}),
        )
    };
    let upstream_tls = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext";
    vec![
        place(
            "Cluster",
            "envoy.config.cluster.v3.Cluster",
            cluster(json!({"type": "STATIC"})),
            "",
        ),
        place(
            "Load balancing, common options",
            "envoy.config.cluster.v3.Cluster.CommonLbConfig",
            cluster(json!({"common_lb_config": {}})),
            "/common_lb_config",
        ),
        place(
            "Subsets",
            "envoy.config.cluster.v3.Cluster.LbSubsetConfig",
            cluster(json!({"lb_subset_config": {"subset_selectors": [{"keys": ["v"]}]}})),
            "/lb_subset_config",
        ),
        place(
            "Ring hash",
            "envoy.config.cluster.v3.Cluster.RingHashLbConfig",
            cluster(json!({"lb_policy": "RING_HASH", "ring_hash_lb_config": {}})),
            "/ring_hash_lb_config",
        ),
        place(
            "Least request",
            "envoy.config.cluster.v3.Cluster.LeastRequestLbConfig",
            cluster(json!({"lb_policy": "LEAST_REQUEST", "least_request_lb_config": {}})),
            "/least_request_lb_config",
        ),
        place(
            "Circuit breakers",
            "envoy.config.cluster.v3.CircuitBreakers",
            cluster(json!({"circuit_breakers": {}})),
            "/circuit_breakers",
        ),
        place(
            "Circuit breakers, thresholds",
            "envoy.config.cluster.v3.CircuitBreakers.Thresholds",
            cluster(json!({"circuit_breakers": {"thresholds": [{}]}})),
            "/circuit_breakers/thresholds/0",
        ),
        place(
            "Outlier detection",
            "envoy.config.cluster.v3.OutlierDetection",
            cluster(json!({"outlier_detection": {}})),
            "/outlier_detection",
        ),
        place(
            "HTTP options of a cluster",
            options,
            http(json!({"explicit_http_config": {"http_protocol_options": {}}})),
            "/typed_extension_protocol_options/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        ),
        place(
            "HTTP options of a cluster, common",
            "envoy.config.core.v3.HttpProtocolOptions",
            http(
                json!({"common_http_protocol_options": {}, "explicit_http_config": {"http_protocol_options": {}}}),
            ),
            "/typed_extension_protocol_options/envoy.extensions.upstreams.http.v3.HttpProtocolOptions/common_http_protocol_options",
        ),
        place(
            "Bind address",
            "envoy.config.core.v3.BindConfig",
            cluster(json!({"upstream_bind_config": {}})),
            "/upstream_bind_config",
        ),
        place(
            "TLS of a client",
            upstream_tls,
            cluster(
                json!({"transport_socket": {"name": "tls", "typed_config": any(upstream_tls, json!({"sni": "a"}))}}),
            ),
            "/transport_socket/typed_config",
        ),
        place(
            "Endpoints",
            "envoy.config.endpoint.v3.ClusterLoadAssignment",
            assignment(),
            "",
        ),
        place(
            "Endpoints, policy",
            "envoy.config.endpoint.v3.ClusterLoadAssignment.Policy",
            assignment(),
            "/policy",
        ),
        place(
            "Endpoints of a locality",
            "envoy.config.endpoint.v3.LocalityLbEndpoints",
            assignment(),
            "/endpoints/0",
        ),
        place(
            "Endpoint",
            "envoy.config.endpoint.v3.Endpoint",
            assignment(),
            "/endpoints/0/lb_endpoints/0/endpoint",
        ),
    ]
}
