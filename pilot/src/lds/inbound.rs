//! The listener for what others send to the application: `virtualInbound`.
//!
//! The kernel redirects all incoming connections to it; the original port chooses among the
//! chains. Ports of services are known with their protocol; all others are found out and passed
//! on. Which of plaintext and mutual TLS is taken follows from PeerAuthentication.

use std::net::Ipv4Addr;
use std::time::Duration;

use mesh_api::authz::AuthorizationPolicy;
use mesh_api::port::Protocol;
use mesh_api::traffic_policy::tls::TlsVersion;
use xds::envoy::listener::{FilterChain, FilterChainMatch, Listener};
use xds::envoy::route::{
    Decorator, Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost,
    route::Action,
    route_action::{ClusterSpecifier, MaxStreamDuration},
    route_match::PathSpecifier,
};
use xds::envoy::{core, network::http_connection_manager::HttpFilter};

use super::filter_chain::{ChainMatch, MtlsMode, PortKind, chains};
use super::http_connection_manager::{Position, Routes};
use super::{Common, listener_filters, rbac, tcp_proxy};
use crate::shared::Shared;
use crate::{names, tls, wire};

/// All that `virtualInbound` is made from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Inputs {
    /// The port that the kernel redirects to.
    pub(crate) listen_port: u16,
    /// The ports of services, in order.
    pub(crate) ports: Vec<Port>,
    /// What is accepted on other ports.
    pub(crate) mode: MtlsMode,
    /// What is accepted on single other ports.
    pub(crate) port_modes: Vec<(u16, MtlsMode)>,
    /// Who may do what, DENY and ALLOW, in the order of objects.
    pub(crate) authorization: Vec<Shared<AuthorizationPolicy>>,
    /// Filters that check requests' tokens.
    pub(crate) request_authentication: Vec<HttpFilter>,
    /// Trust domains whose workloads are let in; the first is the own one.
    pub(crate) trust_domains: Vec<String>,
    /// The oldest version of TLS between workloads (`meshMTLS.minProtocolVersion`).
    pub(crate) min_tls_version: TlsVersion,
    /// How long to wait for the first bytes; for ever if `None`.
    pub(crate) detection_timeout: Option<Duration>,
    /// The rest.
    pub(crate) common: Common,
}

/// A port of the workload that a service leads to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Port {
    /// The workload's port.
    pub(crate) number: u16,
    /// The service's port.
    pub(crate) service_port: u16,
    /// The service's host.
    pub(crate) host: String,
    /// What is spoken.
    pub(crate) protocol: Protocol,
    /// What is accepted.
    pub(crate) mode: MtlsMode,
}

/// One port's chains, or those of all other ports.
struct ChainSet<'i> {
    /// The port; `None` for all others.
    port: Option<u16>,
    cluster: String,
    http_name: String,
    tcp_name: String,
    stat_prefix: String,
    operation: String,
    virtual_host: String,
    inputs: &'i Inputs,
}

/// Makes `virtualInbound`.
pub(crate) fn generate(inputs: &Inputs) -> Listener {
    let black_hole =
        tcp_proxy::black_hole_chain(names::VIRTUAL_INBOUND_BLACK_HOLE, inputs.listen_port);
    let mut filter_chains = vec![black_hole];
    filter_chains.extend(ChainSet::other_ports(inputs, None).build(PortKind::Sniffed, inputs.mode));
    for (port, mode) in &inputs.port_modes {
        filter_chains
            .extend(ChainSet::other_ports(inputs, Some(*port)).build(PortKind::Sniffed, *mode));
    }
    for port in &inputs.ports {
        let set = ChainSet::service_port(inputs, port);
        filter_chains.extend(set.build(PortKind::of(port.protocol), port.mode));
    }
    let mut filters = vec![listener_filters::original_dst()];
    filters.extend(listener_filters::inspectors(&filter_chains));
    Listener {
        name: names::VIRTUAL_INBOUND.to_owned(),
        address: Some(wire::address(Ipv4Addr::UNSPECIFIED, inputs.listen_port)),
        transparent: inputs.common.transparent.then(|| wire::boolean(true)),
        filter_chains,
        listener_filters: filters,
        listener_filters_timeout: Some(wire::duration(
            inputs.detection_timeout.unwrap_or_default(),
        )),
        continue_on_listener_filters_timeout: true,
        traffic_direction: core::TrafficDirection::Inbound.into(),
        access_log: inputs
            .common
            .access_log
            .iter()
            .map(|log| log.of_listener())
            .collect(),
        ..Default::default()
    }
}

impl<'i> ChainSet<'i> {
    fn service_port(inputs: &'i Inputs, port: &Port) -> Self {
        let name = format!("0.0.0.0_{}", port.number);
        Self {
            port: Some(port.number),
            cluster: names::inbound_cluster(port.number),
            stat_prefix: format!("inbound_{name}"),
            http_name: name.clone(),
            tcp_name: name,
            operation: format!("{}:{}/*", port.host, port.service_port),
            virtual_host: format!("inbound|http|{}", port.service_port),
            inputs,
        }
    }

    fn other_ports(inputs: &'i Inputs, port: Option<u16>) -> Self {
        let cluster = names::INBOUND_PASSTHROUGH_CLUSTER;
        Self {
            port,
            cluster: cluster.to_owned(),
            http_name: names::VIRTUAL_INBOUND_CATCH_ALL_HTTP.to_owned(),
            tcp_name: names::VIRTUAL_INBOUND.to_owned(),
            stat_prefix: cluster.to_owned(),
            operation: ":0/*".to_owned(),
            virtual_host: "inbound|http|0".to_owned(),
            inputs,
        }
    }

    fn build(&self, kind: PortKind, mode: MtlsMode) -> Vec<FilterChain> {
        chains(kind, mode)
            .iter()
            .map(|chain| self.chain(chain))
            .collect()
    }

    fn chain(&self, chain: &ChainMatch) -> FilterChain {
        let alpn = if chain.http {
            &tls::ALPN_HTTP[..]
        } else {
            &tls::ALPN_WITH_PEER_EXCHANGE[..]
        };
        let domains = &self.inputs.trust_domains;
        let min_version = self.inputs.min_tls_version;
        FilterChain {
            name: if chain.http {
                self.http_name.clone()
            } else {
                self.tcp_name.clone()
            },
            filter_chain_match: Some(FilterChainMatch {
                destination_port: self.port.map(|port| wire::number(port.into())),
                transport_protocol: chain.transport.name().to_owned(),
                application_protocols: chain.alpn.iter().map(ToString::to_string).collect(),
                ..Default::default()
            }),
            transport_socket: chain
                .terminates_tls
                .then(|| tls::socket(&tls::mutual_server(alpn, domains, min_version))),
            filters: if chain.http {
                self.http_filters()
            } else {
                self.tcp_filters()
            },
            ..Default::default()
        }
    }

    fn http_filters(&self) -> Vec<xds::envoy::listener::Filter> {
        let mut policy = self.inputs.request_authentication.clone();
        policy.extend(rbac::http_filters(
            &self.inputs.authorization,
            &self.inputs.trust_domains,
        ));
        vec![self.inputs.common.http(
            Position::SidecarInbound,
            &self.stat_prefix,
            Routes::Inline(Box::new(self.routes())),
            policy,
        )]
    }

    fn tcp_filters(&self) -> Vec<xds::envoy::listener::Filter> {
        let mut filters =
            rbac::network_filters(&self.inputs.authorization, &self.inputs.trust_domains);
        filters.extend(
            self.inputs
                .common
                .tcp(tcp_proxy::Options::to(&self.cluster)),
        );
        filters
    }

    /// Everything goes to the application; its client's proxy has done the routing.
    fn routes(&self) -> RouteConfiguration {
        let action = RouteAction {
            cluster_specifier: Some(ClusterSpecifier::Cluster(self.cluster.clone())),
            timeout: Some(wire::duration(Duration::ZERO)),
            max_stream_duration: Some(MaxStreamDuration {
                max_stream_duration: Some(wire::duration(Duration::ZERO)),
                grpc_timeout_header_max: Some(wire::duration(Duration::ZERO)),
                ..Default::default()
            }),
            ..Default::default()
        };
        let route = Route {
            name: "default".to_owned(),
            r#match: Some(RouteMatch {
                path_specifier: Some(PathSpecifier::Prefix("/".to_owned())),
                ..Default::default()
            }),
            decorator: Some(Decorator {
                operation: self.operation.clone(),
                ..Default::default()
            }),
            action: Some(Action::Route(action)),
            ..Default::default()
        };
        RouteConfiguration {
            name: self.cluster.clone(),
            virtual_hosts: vec![VirtualHost {
                name: self.virtual_host.clone(),
                domains: vec!["*".to_owned()],
                routes: vec![route],
                ..Default::default()
            }],
            validate_clusters: Some(wire::boolean(false)),
            ..Default::default()
        }
    }
}
