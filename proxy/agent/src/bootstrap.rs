//! The bootstrap that the data plane starts from: who it is, and where its configuration comes from.
//!
//! One description for both data planes, in Envoy's own JSON: ours decodes it in memory, Envoy reads it from a
//! file in which the control plane, the secrets and the agent are reached over local sockets ([`Sockets`]).

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::settings::Settings;
use crate::upstream::mark::socket_mark;

/// `SOL_SOCKET` of Linux.
const SOL_SOCKET: u32 = 1;
/// `SO_MARK` of Linux.
const SO_MARK: u32 = 36;

/// Local sockets between Envoy and the agent.
#[derive(Debug, Clone, Copy)]
pub struct Sockets<'a> {
    /// Relay to the control plane's discovery service.
    pub discovery: &'a Path,
    /// The agent's secret service.
    pub secrets: &'a Path,
}

/// The bootstrap of our own data plane: the agent beside it is the same process.
pub fn weft(settings: &Settings) -> Value {
    let mut node = node(settings);
    node["userAgentName"] = "weft".into();
    node["userAgentVersion"] = mesh_runtime::build_info::VERSION.into();
    json!({
        "node": node,
        "admin": admin(settings),
        "dynamicResources": dynamic_resources(),
        "staticResources": {"clusters": [control_plane(settings)]},
    })
}

/// The control plane over mutual TLS, with the identity that the agent of this process keeps fresh.
fn control_plane(settings: &Settings) -> Value {
    let discovery = &settings.proxy.discovery_address;
    let (host, port) = discovery.rsplit_once(':').unwrap_or((discovery, "15012"));
    let tls = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext";
    let from_agent = |name: &str| {
        json!({"name": name, "sdsConfig": {"apiConfigSource": {
            "apiType": "GRPC",
            "transportApiVersion": "V3",
            "grpcServices": [{"envoyGrpc": {"clusterName": "sds-grpc"}}],
        }}})
    };
    let endpoint = json!({"endpoint": {"address": address(host, port.parse().unwrap_or(15012))}});
    let by_address = host.parse::<std::net::IpAddr>().is_ok();
    let mut context = json!({
        "commonTlsContext": {
            "alpnProtocols": ["h2"],
            "tlsCertificateSdsSecretConfigs": [from_agent("default")],
            "combinedValidationContext": {
                "defaultValidationContext": {},
                "validationContextSdsSecretConfig": from_agent("ROOTCA"),
            },
        },
    });
    if !by_address {
        context["sni"] = host.into();
    }
    context["commonTlsContext"]["combinedValidationContext"]["defaultValidationContext"] = json!({
        "matchTypedSubjectAltNames": [{
            "sanType": if by_address { "IP_ADDRESS" } else { "DNS" },
            "matcher": {"exact": host},
        }],
    });
    context["@type"] = tls.into();
    let mut cluster = http2_cluster("xds-grpc", endpoint);
    cluster["type"] = if by_address { "STATIC" } else { "STRICT_DNS" }.into();
    cluster["connectTimeout"] = "5s".into();
    cluster["transportSocket"] = json!({
        "name": "envoy.transport_sockets.tls",
        "typedConfig": context,
    });
    cluster
}

/// The bootstrap of Envoy: static listeners for health (15021) and metrics (15090) as in Istio.
pub fn envoy(settings: &Settings, sockets: Sockets<'_>) -> Value {
    let status_port = settings.proxy.status_port;
    let mut bootstrap = json!({
        "node": node(settings),
        "admin": admin(settings),
        "dynamicResources": dynamic_resources(),
        "staticResources": {
            "clusters": [
                socket_cluster("xds-grpc", sockets.discovery),
                socket_cluster("sds-grpc", sockets.secrets),
                local_cluster("prometheus_stats", settings.proxy.proxy_admin_port),
                local_cluster("agent", status_port),
            ],
            "listeners": [
                local_listener("prometheus", 15090, "/stats/prometheus", "prometheus_stats"),
                local_listener("health", 15021, "/healthz/ready", "agent"),
            ],
        },
    });
    if let Some(mark) = socket_mark() {
        bootstrap["clusterManager"] = cluster_manager(mark);
    }
    bootstrap
}

/// `Node`: the id that certificates are checked against, and what pilot computes the configuration from.
fn node(settings: &Settings) -> Value {
    let address = settings
        .addresses
        .first()
        .map(ToString::to_string)
        .unwrap_or_default();
    let Settings {
        role,
        pod_name,
        namespace,
        ..
    } = settings;
    let labels = podinfo(&settings.podinfo.join("labels"));
    let cluster = labels
        .get("app")
        .cloned()
        .unwrap_or_else(|| settings.pod_name.clone());
    json!({
        "id": format!("{}~{address}~{pod_name}.{namespace}~{namespace}.svc.cluster.local", role.as_str()),
        "cluster": format!("{cluster}.{namespace}"),
        "metadata": metadata(settings, labels),
    })
}

fn metadata(settings: &Settings, labels: BTreeMap<String, String>) -> Value {
    let mut fields: Map<String, Value> = settings
        .metadata
        .iter()
        .map(|(name, value)| (name.clone(), value.clone().into()))
        .collect();
    let addresses: Vec<_> = settings.addresses.iter().map(ToString::to_string).collect();
    let mut set = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    set("NAME", settings.pod_name.clone().into());
    set("NAMESPACE", settings.namespace.clone().into());
    set("SERVICE_ACCOUNT", settings.service_account.clone().into());
    set("INSTANCE_IPS", addresses.join(",").into());
    set("LABELS", json!(labels));
    set(
        "ANNOTATIONS",
        json!(podinfo(&settings.podinfo.join("annotations"))),
    );
    set("ISTIO_VERSION", mesh_runtime::build_info::VERSION.into());
    Value::Object(fields)
}

/// Envoy marks its connections where ours would be marked.
fn cluster_manager(mark: u32) -> Value {
    json!({"upstreamBindConfig": {"socketOptions": [{
        "description": "SO_MARK",
        "level": SOL_SOCKET,
        "name": SO_MARK,
        "intValue": mark,
    }]}})
}

fn admin(settings: &Settings) -> Value {
    json!({"address": address("127.0.0.1", settings.proxy.proxy_admin_port)})
}

fn dynamic_resources() -> Value {
    let over_ads = json!({"ads": {}, "initialFetchTimeout": "0s", "resourceApiVersion": "V3"});
    json!({
        "ldsConfig": over_ads,
        "cdsConfig": over_ads,
        "adsConfig": {
            "apiType": "DELTA_GRPC",
            "transportApiVersion": "V3",
            "setNodeOnFirstMessageOnly": true,
            "grpcServices": [{"envoyGrpc": {"clusterName": "xds-grpc"}}],
        },
    })
}

fn address(host: &str, port: u16) -> Value {
    json!({"socketAddress": {"address": host, "portValue": port}})
}

fn socket_cluster(name: &str, path: &Path) -> Value {
    let endpoint = json!({"endpoint": {"address": {"pipe": {"path": path.display().to_string()}}}});
    http2_cluster(name, endpoint)
}

fn http2_cluster(name: &str, endpoint: Value) -> Value {
    let http = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    json!({
        "name": name,
        "type": "STATIC",
        "connectTimeout": "1s",
        "typedExtensionProtocolOptions": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": http,
                "explicitHttpConfig": {"http2ProtocolOptions": {}},
            },
        },
        "loadAssignment": {"clusterName": name, "endpoints": [{"lbEndpoints": [endpoint]}]},
    })
}

fn local_cluster(name: &str, port: u16) -> Value {
    let endpoint = json!({"endpoint": {"address": address("127.0.0.1", port)}});
    json!({
        "name": name,
        "type": "STATIC",
        "connectTimeout": "0.25s",
        "loadAssignment": {"clusterName": name, "endpoints": [{"lbEndpoints": [endpoint]}]},
    })
}

/// A listener that forwards one path to one cluster.
fn local_listener(name: &str, port: u16, path: &str, cluster: &str) -> Value {
    let manager = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
    let router = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
    json!({
        "name": name,
        "address": address("0.0.0.0", port),
        "filterChains": [{"filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typedConfig": {
                "@type": manager,
                "statPrefix": name,
                "httpFilters": [{"name": "envoy.filters.http.router", "typedConfig": {"@type": router}}],
                "routeConfig": {"virtualHosts": [{
                    "name": "backend",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": path}, "route": {"cluster": cluster}}],
                }]},
            },
        }]}],
    })
}

/// Reads a downward API file of lines `key="value"`, the value with Go's escapes (a subset of JSON's).
fn podinfo(path: &Path) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let line = |line: &str| {
        let (key, value) = line.split_once('=')?;
        Some((key.to_owned(), serde_json::from_str(value).ok()?))
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::super::settings::Role;
    use super::*;

    fn settings(podinfo: &Path) -> Settings {
        let vars = [
            ("POD_NAME", "reviews-v1-abc"),
            ("POD_NAMESPACE", "default"),
            ("INSTANCE_IP", "10.244.0.7"),
            ("SERVICE_ACCOUNT", "bookinfo-reviews"),
            ("ISTIO_META_WORKLOAD_NAME", "reviews-v1"),
            ("WEFT_PODINFO_DIR", podinfo.to_str().expect("a plain path")),
        ];
        let vars = vars.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Settings::from_vars(Role::Sidecar, vars).expect("complete")
    }

    #[test]
    fn the_node_introduces_the_workload() {
        let podinfo = tempfile::tempdir().expect("a directory");
        std::fs::write(
            podinfo.path().join("labels"),
            "app=\"reviews\"\nversion=\"v1\"\n",
        )
        .expect("written");
        let bootstrap = weft(&settings(podinfo.path()));
        let expected = json!({
            "id": "sidecar~10.244.0.7~reviews-v1-abc.default~default.svc.cluster.local",
            "cluster": "reviews.default",
            "userAgentName": "weft",
            "userAgentVersion": mesh_runtime::build_info::VERSION,
            "metadata": {
                "NAME": "reviews-v1-abc",
                "NAMESPACE": "default",
                "SERVICE_ACCOUNT": "bookinfo-reviews",
                "INSTANCE_IPS": "10.244.0.7",
                "LABELS": {"app": "reviews", "version": "v1"},
                "ANNOTATIONS": {},
                "ISTIO_VERSION": mesh_runtime::build_info::VERSION,
                "WORKLOAD_NAME": "reviews-v1",
            },
        });
        assert_eq!(bootstrap["node"], expected);
    }

    #[test]
    fn both_are_bootstraps_of_envoys_schema() {
        let podinfo = tempfile::tempdir().expect("a directory");
        let settings = settings(podinfo.path());
        let sockets = Sockets {
            discovery: Path::new("/run/x"),
            secrets: Path::new("/run/s"),
        };
        for json in [weft(&settings), envoy(&settings, sockets)] {
            let decoded = xds::json::Json::load().decode::<xds::envoy::bootstrap::Bootstrap>(&json);
            decoded.expect("a bootstrap");
        }
    }
}
