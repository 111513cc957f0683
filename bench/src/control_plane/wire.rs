//! The parts of the discovery protocol's messages that a simulated sidecar looks at; the rest is skipped unread, so
//! that a thousand of them fit on one core.

use bytes::Bytes;

/// A type of resources, by its URL.
pub(super) type TypeUrl = &'static str;

pub(super) const CLUSTER: TypeUrl = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
pub(super) const ENDPOINT: TypeUrl =
    "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";
pub(super) const LISTENER: TypeUrl = "type.googleapis.com/envoy.config.listener.v3.Listener";
pub(super) const ROUTE: TypeUrl = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";

/// `DeltaAggregatedResources`.
pub(super) const PATH: &str =
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";

/// `DeltaDiscoveryRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct DeltaRequest {
    #[prost(message, optional, tag = "1")]
    pub(super) node: Option<Node>,
    #[prost(string, tag = "2")]
    pub(super) type_url: String,
    #[prost(string, repeated, tag = "3")]
    pub(super) subscribe: Vec<String>,
    #[prost(string, repeated, tag = "4")]
    pub(super) unsubscribe: Vec<String>,
    #[prost(string, tag = "6")]
    pub(super) nonce: String,
}

/// `core.v3.Node`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Node {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(string, tag = "2")]
    pub(super) cluster: String,
    #[prost(message, optional, tag = "3")]
    pub(super) metadata: Option<prost_types::Struct>,
    #[prost(string, tag = "6")]
    pub(super) user_agent_name: String,
}

/// `DeltaDiscoveryResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct DeltaResponse {
    #[prost(message, repeated, tag = "2")]
    pub(super) resources: Vec<Resource>,
    #[prost(string, tag = "4")]
    pub(super) type_url: String,
    #[prost(string, tag = "5")]
    pub(super) nonce: String,
    #[prost(string, repeated, tag = "6")]
    pub(super) removed: Vec<String>,
}

/// `discovery.v3.Resource`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Resource {
    #[prost(message, optional, tag = "2")]
    pub(super) body: Option<Any>,
    #[prost(string, tag = "3")]
    pub(super) name: String,
}

/// `google.protobuf.Any`, its value a slice of the response.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Any {
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) value: Bytes,
}

/// `cluster.v3.Cluster`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Cluster {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(int32, tag = "2")]
    pub(super) discovery: i32,
    #[prost(message, optional, tag = "3")]
    pub(super) eds: Option<EdsConfig>,
}

/// `Cluster.EdsClusterConfig`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct EdsConfig {
    #[prost(string, tag = "2")]
    pub(super) service_name: String,
}

/// `Cluster.DiscoveryType.EDS`.
const EDS: i32 = 3;

impl Cluster {
    /// The name of its endpoints, if they are discovered.
    pub(super) fn endpoints(self) -> Option<String> {
        let named = self.eds.map(|eds| eds.service_name);
        let named = named.filter(|name| !name.is_empty());
        (self.discovery == EDS).then(|| named.unwrap_or(self.name))
    }
}

/// `listener.v3.Listener`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Listener {
    #[prost(message, repeated, tag = "3")]
    pub(super) chains: Vec<FilterChain>,
    #[prost(message, optional, tag = "25")]
    pub(super) default_chain: Option<FilterChain>,
}

/// `listener.v3.FilterChain`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct FilterChain {
    #[prost(message, repeated, tag = "3")]
    pub(super) filters: Vec<Filter>,
}

/// `listener.v3.Filter`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Filter {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(message, optional, tag = "4")]
    pub(super) config: Option<Any>,
}

/// `HttpConnectionManager`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct HttpConnectionManager {
    #[prost(message, optional, tag = "3")]
    pub(super) rds: Option<Rds>,
}

/// `Rds`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Rds {
    #[prost(string, tag = "2")]
    pub(super) route: String,
}

const HTTP_CONNECTION_MANAGER: &str = "envoy.filters.network.http_connection_manager";

impl Listener {
    /// The names of the route configurations that it refers to.
    pub(super) fn routes(self) -> impl Iterator<Item = Result<String, prost::DecodeError>> {
        let chains = self.chains.into_iter().chain(self.default_chain);
        let filters = chains.flat_map(|chain| chain.filters);
        let configs = filters
            .filter(|filter| filter.name == HTTP_CONNECTION_MANAGER)
            .filter_map(|filter| filter.config);
        configs.filter_map(|config| {
            match <HttpConnectionManager as prost::Message>::decode(config.value) {
                Ok(manager) => manager.rds.map(|rds| Ok(rds.route)),
                Err(error) => Some(Err(error)),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    #[test]
    fn references_are_found() {
        let cluster = |discovery, service_name: &str| Cluster {
            name: "a".into(),
            discovery,
            eds: Some(EdsConfig {
                service_name: service_name.into(),
            }),
        };
        assert_eq!(cluster(EDS, "b").endpoints(), Some("b".into()));
        assert_eq!(cluster(EDS, "").endpoints(), Some("a".into()));
        assert_eq!(cluster(0, "b").endpoints(), None);

        let manager = |route: Option<&str>| {
            let rds = route.map(|route| Rds {
                route: route.into(),
            });
            HttpConnectionManager { rds }.encode_to_vec()
        };
        let chain = |name: &str, config: Vec<u8>| FilterChain {
            filters: vec![Filter {
                name: name.into(),
                config: Some(Any {
                    value: config.into(),
                }),
            }],
        };
        let listener = Listener {
            chains: vec![
                chain("envoy.filters.network.tcp_proxy", b"\xff".to_vec()),
                chain(HTTP_CONNECTION_MANAGER, manager(None)),
                chain(HTTP_CONNECTION_MANAGER, manager(Some("80"))),
            ],
            default_chain: Some(chain(HTTP_CONNECTION_MANAGER, manager(Some("any")))),
        };
        let routes: Result<Vec<_>, _> = listener.routes().collect();
        assert_eq!(routes, Ok(vec!["80".to_owned(), "any".to_owned()]));
    }
}
