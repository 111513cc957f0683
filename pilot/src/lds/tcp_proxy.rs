//! Network filters of chains that move bytes.

use std::time::Duration;

use xds::envoy::network::tcp_proxy as wire_proxy;
use xds::envoy::{accesslog, listener};
use xds::pb::envoy::r#type::v3::{HashPolicy, hash_policy};
use xds::proto::xds_type_v3::TypedStruct;
use xds::resource::pack;

use wire_proxy::tcp_proxy::{ClusterSpecifier, WeightedCluster, weighted_cluster::ClusterWeight};

use crate::{names, wire};

/// Where bytes go.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Destination {
    /// To one cluster.
    Cluster(String),
    /// To clusters by weight.
    Weighted(Vec<(String, u32)>),
}

/// What a TCP proxy depends on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Options {
    /// The name in statistics.
    pub(crate) stat_prefix: String,
    /// The destination.
    pub(crate) destination: Destination,
    /// How long nothing may happen.
    pub(crate) idle_timeout: Option<Duration>,
    /// How long a connection may live.
    pub(crate) max_duration: Option<Duration>,
    /// Whether clients stick to servers by their address.
    pub(crate) hash_source_ip: bool,
    /// The access logs.
    pub(crate) access_logs: Vec<accesslog::AccessLog>,
}

impl Options {
    /// A proxy to one cluster under the cluster's name, without logs.
    pub(crate) fn to(cluster: &str) -> Self {
        Self {
            stat_prefix: cluster.to_owned(),
            destination: Destination::Cluster(cluster.to_owned()),
            idle_timeout: None,
            max_duration: None,
            hash_source_ip: false,
            access_logs: Vec::new(),
        }
    }

    /// The filter.
    pub(crate) fn build(self) -> listener::Filter {
        let specifier = match self.destination {
            Destination::Cluster(name) => ClusterSpecifier::Cluster(name),
            Destination::Weighted(clusters) => {
                ClusterSpecifier::WeightedClusters(WeightedCluster {
                    clusters: clusters
                        .into_iter()
                        .map(|(name, weight)| ClusterWeight {
                            name,
                            weight,
                            ..Default::default()
                        })
                        .collect(),
                })
            }
        };
        let hash_policy = self.hash_source_ip.then_some(HashPolicy {
            policy_specifier: Some(hash_policy::PolicySpecifier::SourceIp(
                hash_policy::SourceIp {},
            )),
        });
        let proxy = wire_proxy::TcpProxy {
            stat_prefix: self.stat_prefix,
            cluster_specifier: Some(specifier),
            idle_timeout: self.idle_timeout.map(wire::duration),
            max_downstream_connection_duration: self.max_duration.map(wire::duration),
            hash_policy: hash_policy.into_iter().collect(),
            access_log: self.access_logs,
            ..Default::default()
        };
        wire::network_filter("envoy.filters.network.tcp_proxy", &proxy)
    }
}

/// The chain that keeps a proxy from talking to itself: connections to its own capture port go
/// nowhere.
pub(crate) fn black_hole_chain(name: &str, port: u16) -> listener::FilterChain {
    listener::FilterChain {
        name: name.to_owned(),
        filter_chain_match: Some(listener::FilterChainMatch {
            destination_port: Some(wire::number(port.into())),
            ..Default::default()
        }),
        filters: vec![Options::to(names::BLACK_HOLE_CLUSTER).build()],
        ..Default::default()
    }
}

/// The standard metrics of connections, for our own proxy.
pub(crate) fn stats() -> listener::Filter {
    let config = TypedStruct {
        type_url: "type.googleapis.com/stats.PluginConfig".to_owned(),
        value: Some(xds::pb::google::protobuf::Struct::default()),
    };
    wire::packed_network_filter("istio.stats", pack(&config))
}
