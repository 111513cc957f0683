//! The TCP proxy as executed (`envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy`).

use std::sync::Arc;
use std::time::Duration;

use crate::ClusterId;
use crate::access_log::AccessLog;
use crate::metadata::Struct;

/// `envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy` as executed.
#[derive(Debug)]
pub struct TcpProxy {
    /// `stat_prefix`.
    pub stat_prefix: Arc<str>,
    /// `cluster` or `weighted_clusters`; never empty.
    pub clusters: Vec<WeightedCluster>,
    /// Sum of the weights.
    pub total_weight: u32,
    /// `idle_timeout`; `None` waits for ever.
    pub idle_timeout: Option<Duration>,
    /// `max_downstream_connection_duration`.
    pub max_duration: Option<Duration>,
    /// `max_connect_attempts`, at least 1.
    pub connect_attempts: u32,
    /// `hash_policy`: by source address.
    pub hash_source_ip: bool,
    /// Written when the connection has ended.
    pub access_logs: Vec<AccessLog>,
}

/// One destination.
#[derive(Debug)]
pub struct WeightedCluster {
    /// Where.
    pub cluster: ClusterId,
    /// Its name, for logs.
    pub name: Arc<str>,
    /// Its share.
    pub weight: u32,
    /// `metadata_match`, filter `envoy.lb`.
    pub metadata_match: Option<Struct>,
}
