//! `envoy.filters.network.tcp_proxy` from protobuf.

use std::time::Duration;

use xds::envoy::core::Metadata;
use xds::envoy::network::tcp_proxy as proto;
use xds::envoy::network::tcp_proxy::tcp_proxy::ClusterSpecifier;
use xds::envoy::types::hash_policy::PolicySpecifier;

use super::any;
use super::context::ApplyContext;
use crate::config::error::ConfigError;
use crate::config::metadata::Struct;
use crate::config::tcp_proxy::{TcpProxy, WeightedCluster};

/// Envoy's default.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);

/// Translates the filter.
pub fn tcp_proxy(
    proto: &proto::TcpProxy,
    ctx: &mut ApplyContext<'_>,
) -> Result<TcpProxy, ConfigError> {
    refuse_unsupported(proto)?;
    let clusters = clusters(proto, ctx)?;
    let total = clusters
        .iter()
        .try_fold(0_u32, |sum, cluster| sum.checked_add(cluster.weight));
    let total_weight = total.filter(|&total| total > 0).ok_or_else(|| {
        ConfigError::new("weighted_clusters", "the weights sum up to nothing usable")
    })?;
    let attempts = any::u32_or(proto.max_connect_attempts.as_ref(), 1);
    if attempts == 0 {
        return Err(ConfigError::new(
            "max_connect_attempts",
            "must be at least 1",
        ));
    }
    Ok(TcpProxy {
        stat_prefix: proto.stat_prefix.as_str().into(),
        clusters,
        total_weight,
        idle_timeout: any::timeout_or(
            "idle_timeout",
            proto.idle_timeout.as_ref(),
            Some(IDLE_TIMEOUT),
        )?,
        max_duration: any::timeout_or(
            "max_downstream_connection_duration",
            proto.max_downstream_connection_duration.as_ref(),
            None,
        )?,
        connect_attempts: attempts,
        hash_source_ip: hash_source_ip(proto)?,
        access_logs: super::access_log::access_logs(&proto.access_log)?,
    })
}

fn clusters(
    proto: &proto::TcpProxy,
    ctx: &mut ApplyContext<'_>,
) -> Result<Vec<WeightedCluster>, ConfigError> {
    let common = proto.metadata_match.as_ref();
    let mut cluster = |name: &str, weight, own: Option<&Metadata>| WeightedCluster {
        cluster: ctx.names.cluster(name),
        name: name.into(),
        weight,
        metadata_match: subset(common, own),
    };
    match &proto.cluster_specifier {
        Some(ClusterSpecifier::Cluster(name)) => Ok(vec![cluster(name, 1, None)]),
        Some(ClusterSpecifier::WeightedClusters(weighted)) => Ok(weighted
            .clusters
            .iter()
            .map(|entry| cluster(&entry.name, entry.weight, entry.metadata_match.as_ref()))
            .collect()),
        None => Err(ConfigError::new("cluster_specifier", "is missing")),
    }
}

/// The fields that choose a subset: those of the cluster win over the common ones.
fn subset(common: Option<&Metadata>, own: Option<&Metadata>) -> Option<Struct> {
    let fields = |metadata: Option<&Metadata>| {
        crate::metadata::metadata(metadata)
            .filter("envoy.lb")
            .clone()
    };
    let merged = fields(common);
    let merged = fields(own).over(&merged);
    (!merged.is_empty()).then_some(merged)
}

fn hash_source_ip(proto: &proto::TcpProxy) -> Result<bool, ConfigError> {
    match proto.hash_policy.as_slice() {
        [] => Ok(false),
        [policy] => match &policy.policy_specifier {
            Some(PolicySpecifier::SourceIp(_)) => Ok(true),
            _ => Err(ConfigError::unsupported(
                "hash_policy",
                "a policy other than source_ip",
            )),
        },
        _ => Err(ConfigError::new("hash_policy", "more than one policy")),
    }
}

fn refuse_unsupported(proto: &proto::TcpProxy) -> Result<(), ConfigError> {
    let unsupported = [
        (proto.on_demand.is_some(), "on_demand"),
        (proto.tunneling_config.is_some(), "tunneling_config"),
        (
            proto
                .max_downstream_connection_duration_jitter_percentage
                .is_some(),
            "max_downstream_connection_duration_jitter_percentage",
        ),
        (!proto.proxy_protocol_tlvs.is_empty(), "proxy_protocol_tlvs"),
        (proto.backoff_options.is_some(), "backoff_options"),
        (
            proto.downstream_idle_timeout.is_some(),
            "downstream_idle_timeout",
        ),
        (
            proto.upstream_idle_timeout.is_some(),
            "upstream_idle_timeout",
        ),
        (proto.upstream_connect_mode != 0, "upstream_connect_mode"),
    ];
    match unsupported.iter().find(|(set, _)| *set) {
        Some((_, field)) => Err(ConfigError::unsupported(*field, "this field")),
        None => Ok(()),
    }
}
