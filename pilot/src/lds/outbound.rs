//! Listeners for what the application sends.
//!
//! Only `virtualOutbound` has a socket; it hands a connection to the listener of its original
//! destination: `VIP_port` if there is one, else `0.0.0.0_port`, else its own catch-all.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use ipnet::IpNet;
use mesh_api::mesh_config::OutboundPolicy;
use xds::envoy::core;
use xds::envoy::listener::{FilterChain, FilterChainMatch, Listener};

use super::http_connection_manager::{Position, Routes};
use super::{Common, listener_filters, tcp_proxy};
use crate::{names, wire};

/// All that an outbound listener is made from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Inputs {
    /// The address; unspecified for all.
    pub(crate) ip: IpAddr,
    /// The port.
    pub(crate) port: u16,
    /// The chains, the more specific first.
    pub(crate) chains: Vec<Chain>,
    /// What happens to connections that no chain takes.
    pub(crate) fallback: tcp_proxy::Options,
    /// How long to wait for the first bytes; for ever if `None`.
    pub(crate) detection_timeout: Option<Duration>,
    /// The rest.
    pub(crate) common: Common,
}

/// One way to treat connections.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Chain {
    /// HTTP in plaintext, found by its first bytes, routed by the named configuration.
    Http {
        /// The route configuration.
        routes: String,
    },
    /// TLS with one of these server names, or of any; passed on as it is.
    Tls {
        /// Server names.
        server_names: Vec<String>,
        /// Destination ranges.
        ranges: Vec<IpNet>,
        /// Where to.
        proxy: tcp_proxy::Options,
    },
    /// Bytes to some of the addresses.
    Tcp {
        /// Destination ranges.
        ranges: Vec<IpNet>,
        /// Where to.
        proxy: tcp_proxy::Options,
    },
}

impl Inputs {
    /// `0.0.0.0_9080`.
    pub(crate) fn name(&self) -> String {
        format!("{}_{}", self.ip, self.port)
    }
}

/// Makes the listener.
pub(crate) fn generate(inputs: &Inputs) -> Listener {
    let name = inputs.name();
    let common = &inputs.common;
    let chains: Vec<_> = inputs
        .chains
        .iter()
        .map(|chain| filter_chain(chain, &name, common))
        .collect();
    let http = inputs
        .chains
        .iter()
        .any(|chain| matches!(chain, Chain::Http { .. }));
    let tls = http
        || inputs
            .chains
            .iter()
            .any(|chain| matches!(chain, Chain::Tls { .. }));
    let default = FilterChain {
        name: names::PASSTHROUGH_CHAIN.to_owned(),
        filters: common.tcp(inputs.fallback.clone()),
        ..Default::default()
    };
    let inspectors = [
        tls.then(listener_filters::tls_inspector),
        http.then(listener_filters::http_inspector),
    ];
    Listener {
        name,
        address: Some(wire::address(inputs.ip, inputs.port)),
        filter_chains: chains,
        default_filter_chain: Some(default),
        listener_filters: inspectors.into_iter().flatten().collect(),
        listener_filters_timeout: Some(wire::duration(
            inputs.detection_timeout.unwrap_or_default(),
        )),
        continue_on_listener_filters_timeout: true,
        bind_to_port: Some(wire::boolean(false)),
        traffic_direction: core::TrafficDirection::Outbound.into(),
        access_log: common
            .access_log
            .iter()
            .map(|log| log.of_listener())
            .collect(),
        ..Default::default()
    }
}

fn filter_chain(chain: &Chain, listener: &str, common: &Common) -> FilterChain {
    match chain {
        Chain::Http { routes } => FilterChain {
            filter_chain_match: Some(FilterChainMatch {
                transport_protocol: "raw_buffer".to_owned(),
                application_protocols: vec!["http/1.1".to_owned(), "h2c".to_owned()],
                ..Default::default()
            }),
            filters: vec![common.http(
                Position::SidecarOutbound,
                &format!("outbound_{listener}"),
                Routes::Named(routes.clone()),
                Vec::new(),
            )],
            ..Default::default()
        },
        Chain::Tls {
            server_names,
            ranges,
            proxy,
        } => FilterChain {
            filter_chain_match: Some(FilterChainMatch {
                transport_protocol: "tls".to_owned(),
                server_names: server_names.clone(),
                prefix_ranges: ranges.iter().copied().map(wire::cidr).collect(),
                ..Default::default()
            }),
            filters: common.tcp(proxy.clone()),
            ..Default::default()
        },
        Chain::Tcp { ranges, proxy } => FilterChain {
            filter_chain_match: Some(FilterChainMatch {
                prefix_ranges: ranges.iter().copied().map(wire::cidr).collect(),
                ..Default::default()
            }),
            filters: common.tcp(proxy.clone()),
            ..Default::default()
        },
    }
}

/// All that `virtualOutbound` is made from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct VirtualInputs {
    /// The port that the kernel redirects to.
    pub(crate) port: u16,
    /// What happens to unknown destinations.
    pub(crate) policy: OutboundPolicy,
    /// The rest.
    pub(crate) common: Common,
}

/// Makes `virtualOutbound`.
pub(crate) fn generate_virtual(inputs: &VirtualInputs) -> Listener {
    let common = &inputs.common;
    let catch_all = FilterChain {
        name: names::VIRTUAL_OUTBOUND_CATCH_ALL.to_owned(),
        filters: common.tcp(tcp_proxy::Options::to(unknown_cluster(inputs.policy))),
        ..Default::default()
    };
    Listener {
        name: names::VIRTUAL_OUTBOUND.to_owned(),
        address: Some(wire::address(Ipv4Addr::UNSPECIFIED, inputs.port)),
        use_original_dst: Some(wire::boolean(true)),
        transparent: common.transparent.then(|| wire::boolean(true)),
        filter_chains: vec![
            tcp_proxy::black_hole_chain(names::VIRTUAL_OUTBOUND_BLACK_HOLE, inputs.port),
            catch_all,
        ],
        traffic_direction: core::TrafficDirection::Outbound.into(),
        access_log: common
            .access_log
            .iter()
            .map(|log| log.of_listener())
            .collect(),
        ..Default::default()
    }
}

/// Where connections to unknown destinations go.
pub(crate) fn unknown_cluster(policy: OutboundPolicy) -> &'static str {
    match policy {
        OutboundPolicy::AllowAny => names::PASSTHROUGH_CLUSTER,
        OutboundPolicy::RegistryOnly => names::BLACK_HOLE_CLUSTER,
    }
}
