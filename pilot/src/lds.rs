//! Listeners: which connections a proxy takes and through which filters they go.

pub(crate) mod filter_chain;
pub(crate) mod gateway;
pub(crate) mod http_connection_manager;
pub(crate) mod http_filters;
pub(crate) mod inbound;
pub(crate) mod jwt;
pub(crate) mod listener_filters;
pub(crate) mod outbound;
pub(crate) mod outbound_ports;
pub(crate) mod rbac;
pub(crate) mod tcp_proxy;

use mesh_api::mesh_config::{MeshConfig, PathNormalization as MeshNormalization};
use xds::envoy::network::http_connection_manager as hcm;

use self::http_connection_manager::{PathNormalization, Position, Routes};
use crate::access_log::AccessLog;
use crate::names;

/// What all HTTP and TCP chains of a listener depend on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Common {
    /// Whether the proxy is ours.
    pub(crate) weft: bool,
    /// The access log.
    pub(crate) access_log: Option<AccessLog>,
    /// Path normalisation.
    pub(crate) normalization: PathNormalization,
    /// Whether HTTP/1.0 is accepted.
    pub(crate) http10: bool,
    /// Whether the kernel keeps the client's address (TPROXY).
    pub(crate) transparent: bool,
    /// Trusted proxies before a gateway.
    pub(crate) trusted_hops: u32,
}

impl Common {
    /// The HTTP connection manager of a chain.
    pub(crate) fn http(
        &self,
        position: Position,
        stat_prefix: &str,
        routes: Routes,
        policy: Vec<hcm::HttpFilter>,
    ) -> xds::envoy::listener::Filter {
        http_connection_manager::Options {
            position,
            stat_prefix: names::stat_prefix(stat_prefix),
            routes,
            filters: http_filters::Options {
                position,
                weft: self.weft,
                policy,
            }
            .build(),
            normalization: self.normalization,
            access_logs: self.access_log.iter().map(AccessLog::of_filter).collect(),
            http10: self.http10,
            trusted_hops: self.trusted_hops,
        }
        .build()
    }

    /// The network filters of a chain that moves bytes.
    pub(crate) fn tcp(&self, proxy: tcp_proxy::Options) -> Vec<xds::envoy::listener::Filter> {
        let access_logs = self.access_log.iter().map(AccessLog::of_filter).collect();
        let proxy = tcp_proxy::Options {
            access_logs,
            ..proxy
        }
        .build();
        self.weft
            .then(tcp_proxy::stats)
            .into_iter()
            .chain([proxy])
            .collect()
    }
}

/// Path normalisation as the mesh says.
pub(crate) fn normalization(mesh: &MeshConfig) -> PathNormalization {
    match mesh.path_normalization {
        MeshNormalization::None => PathNormalization::None,
        MeshNormalization::Base => PathNormalization::Base,
        MeshNormalization::MergeSlashes => PathNormalization::MergeSlashes,
        MeshNormalization::DecodeAndMergeSlashes => PathNormalization::DecodeAndMergeSlashes,
    }
}
