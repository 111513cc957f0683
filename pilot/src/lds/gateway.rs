//! Listeners of gateways.

use std::net::IpAddr;

use mesh_api::authz::AuthorizationPolicy;
use mesh_api::gateway::{ServerCertificate, ServerTls, ServerTlsMode};
use mesh_api::route::{GatewayRef, L4Match};
use mesh_api::traffic_policy::tls::TlsVersion;
use xds::envoy::listener::{FilterChain, FilterChainMatch, Listener};
use xds::envoy::network::http_connection_manager::HttpFilter;
use xds::envoy::{core, tls as wire_tls};

use super::http_connection_manager::{Position, Routes};
use super::outbound_ports::{server_name, to_destinations};
use super::{Common, listener_filters, rbac, tcp_proxy};
use crate::gateway::{BoundServer, PortServers, ServerKind};
use crate::scope::Scope;
use crate::shared::Shared;
use crate::{tls, wire};

/// All that a gateway's listener is made from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Inputs {
    /// The address.
    pub(crate) ip: IpAddr,
    /// The port.
    pub(crate) port: u16,
    /// The chains.
    pub(crate) chains: Vec<Chain>,
    /// Who may do what.
    pub(crate) authorization: Vec<Shared<AuthorizationPolicy>>,
    /// Filters that check requests' tokens.
    pub(crate) request_authentication: Vec<HttpFilter>,
    /// Trust domains whose workloads are let in.
    pub(crate) trust_domains: Vec<String>,
    /// The rest.
    pub(crate) common: Common,
}

/// One way to treat connections.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Chain {
    /// Server names; empty for any.
    pub(crate) server_names: Vec<String>,
    /// Destination ranges; empty for any.
    pub(crate) ranges: Vec<ipnet::IpNet>,
    /// Whether connections begin with TLS.
    pub(crate) tls: bool,
    /// The TLS that ends here.
    pub(crate) terminates: Option<ServerTls>,
    /// What is inside.
    pub(crate) content: Content,
}

/// What is inside of a connection.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Content {
    /// HTTP, routed by the named configuration.
    Http(String),
    /// Bytes.
    Tcp(tcp_proxy::Options),
}

impl Inputs {
    /// `0.0.0.0_8080`.
    pub(crate) fn name(&self) -> String {
        format!("{}_{}", self.ip, self.port)
    }
}

/// The chains of a listening address; none if nothing can be done with its connections.
pub(crate) fn chains(scope: &Scope, port: &PortServers) -> Vec<Chain> {
    let plaintext = port
        .servers
        .iter()
        .find(|server| server.kind == ServerKind::Http);
    if let Some(server) = plaintext {
        return vec![Chain {
            server_names: Vec::new(),
            ranges: Vec::new(),
            tls: false,
            terminates: None,
            content: Content::Http(server.route_name()),
        }];
    }
    let mut chains: Vec<Chain> = Vec::new();
    for server in &port.servers {
        for chain in server_chains(scope, server) {
            let taken = chains.iter().any(|earlier| {
                earlier.server_names == chain.server_names && earlier.ranges == chain.ranges
            });
            if !taken {
                chains.push(chain);
            }
        }
    }
    chains
}

fn server_chains(scope: &Scope, server: &BoundServer) -> Vec<Chain> {
    match server.kind {
        ServerKind::Http => Vec::new(),
        ServerKind::TerminatedHttp => vec![Chain {
            server_names: own_names(server),
            ranges: Vec::new(),
            tls: true,
            terminates: server.server.tls.clone(),
            content: Content::Http(server.route_name()),
        }],
        ServerKind::TerminatedTcp => tcp_chains(scope, server, server.server.tls.as_ref()),
        ServerKind::Tcp => tcp_chains(scope, server, None),
        ServerKind::PassthroughTls => tls_chains(scope, server),
    }
}

/// By the server names of rules that bind to the gateway.
fn tls_chains(scope: &Scope, server: &BoundServer) -> Vec<Chain> {
    let mut chains = Vec::new();
    for object in scope.virtual_services().of_gateway(&server.gateway) {
        for rule in &object.tls {
            for one in &rule.matches {
                if !is_meant(server, &object.gateways, &one.l4) {
                    continue;
                }
                let hosts = one.sni_hosts.iter();
                let names: Vec<String> = hosts
                    .flat_map(|host| server.hosts_for(object.meta.namespace(), host))
                    .map(|host| server_name(&host))
                    .collect();
                if names.is_empty() {
                    continue;
                }
                let proxy = to_destinations(scope, object, &rule.route, server.server.port);
                chains.push(Chain {
                    server_names: names.into_iter().filter(|name| name != "*").collect(),
                    ranges: one.l4.destination_subnets.clone(),
                    tls: true,
                    terminates: None,
                    content: Content::Tcp(proxy),
                });
            }
        }
    }
    chains
}

fn tcp_chains(scope: &Scope, server: &BoundServer, tls: Option<&ServerTls>) -> Vec<Chain> {
    let mut chains = Vec::new();
    for object in scope.virtual_services().of_gateway(&server.gateway) {
        let bound = object
            .hosts
            .iter()
            .any(|host| !server.hosts_for(object.meta.namespace(), host).is_empty());
        if !bound {
            continue;
        }
        for rule in &object.tcp {
            let any = L4Match::default();
            let matches: Vec<&L4Match> = if rule.matches.is_empty() {
                vec![&any]
            } else {
                rule.matches.iter().collect()
            };
            for one in matches
                .into_iter()
                .filter(|one| is_meant(server, &object.gateways, one))
            {
                chains.push(Chain {
                    server_names: tls.map(|_| own_names(server)).unwrap_or_default(),
                    ranges: one.destination_subnets.clone(),
                    tls: tls.is_some(),
                    terminates: tls.cloned(),
                    content: Content::Tcp(to_destinations(
                        scope,
                        object,
                        &rule.route,
                        server.server.port,
                    )),
                });
            }
        }
    }
    chains
}

fn is_meant(server: &BoundServer, object: &[GatewayRef], one: &L4Match) -> bool {
    let gateways = if one.gateways.is_empty() {
        object
    } else {
        &one.gateways
    };
    gateways.contains(&server.reference()) && one.port.is_none_or(|port| port == server.server.port)
}

/// The names that clients of a server may ask for; none for any.
fn own_names(server: &BoundServer) -> Vec<String> {
    let names: Vec<String> = server
        .server
        .hosts
        .iter()
        .map(|host| server_name(&host.host))
        .collect();
    if names.iter().any(|name| name == "*") {
        Vec::new()
    } else {
        names
    }
}

/// Makes the listener.
pub(crate) fn generate(inputs: &Inputs) -> Listener {
    let tls = inputs.chains.iter().any(|chain| chain.tls);
    Listener {
        name: inputs.name(),
        address: Some(wire::address(inputs.ip, inputs.port)),
        filter_chains: inputs
            .chains
            .iter()
            .map(|chain| filter_chain(inputs, chain))
            .collect(),
        listener_filters: tls
            .then(listener_filters::tls_inspector)
            .into_iter()
            .collect(),
        traffic_direction: core::TrafficDirection::Outbound.into(),
        access_log: inputs
            .common
            .access_log
            .iter()
            .map(|log| log.of_listener())
            .collect(),
        ..Default::default()
    }
}

fn filter_chain(inputs: &Inputs, chain: &Chain) -> FilterChain {
    let any = chain.server_names.is_empty() && chain.ranges.is_empty() && !chain.tls;
    let filters = match &chain.content {
        Content::Http(routes) => {
            let mut policy = inputs.request_authentication.clone();
            policy.extend(rbac::http_filters(
                &inputs.authorization,
                &inputs.trust_domains,
            ));
            let routes = Routes::Named(routes.clone());
            let name = format!("outbound_{}", inputs.name());
            vec![inputs.common.http(Position::Gateway, &name, routes, policy)]
        }
        Content::Tcp(proxy) => {
            let mut filters = rbac::network_filters(&inputs.authorization, &inputs.trust_domains);
            filters.extend(inputs.common.tcp(proxy.clone()));
            filters
        }
    };
    FilterChain {
        filter_chain_match: (!any).then(|| FilterChainMatch {
            server_names: chain.server_names.clone(),
            prefix_ranges: chain.ranges.iter().copied().map(wire::cidr).collect(),
            transport_protocol: if chain.tls {
                "tls".to_owned()
            } else {
                String::new()
            },
            ..Default::default()
        }),
        transport_socket: chain.terminates.as_ref().and_then(|tls| {
            let http = matches!(chain.content, Content::Http(_));
            server_context(tls, http, &inputs.trust_domains).map(|context| tls::socket(&context))
        }),
        filters,
        ..Default::default()
    }
}

/// The context of a server's own TLS.
fn server_context(
    settings: &ServerTls,
    http: bool,
    trust_domains: &[String],
) -> Option<wire_tls::DownstreamTlsContext> {
    let alpn: &[&str] = if http { &tls::ALPN_HTTP } else { &[] };
    let (certificate, clients) = match settings.mode.as_ref()? {
        ServerTlsMode::Passthrough | ServerTlsMode::AutoPassthrough => return None,
        ServerTlsMode::IstioMutual => {
            return Some(tls::mutual_server(
                alpn,
                trust_domains,
                settings.min_version,
            ));
        }
        ServerTlsMode::Simple(certificate) => (certificate, None),
        ServerTlsMode::Mutual(certificate) => (certificate, Some(true)),
        ServerTlsMode::OptionalMutual(certificate) => (certificate, Some(false)),
    };
    let mut common = wire_tls::CommonTlsContext {
        tls_params: Some(parameters(settings)),
        alpn_protocols: alpn.iter().map(ToString::to_string).collect(),
        ..Default::default()
    };
    match certificate {
        ServerCertificate::Credential(name) => {
            common.tls_certificate_sds_secret_configs = credentials(std::slice::from_ref(name));
        }
        ServerCertificate::Credentials(names) => {
            common.tls_certificate_sds_secret_configs = credentials(names);
        }
        ServerCertificate::Files {
            certificate,
            private_key,
            ..
        } => {
            common.tls_certificates = vec![wire_tls::TlsCertificate {
                certificate_chain: Some(wire::file(certificate)),
                private_key: Some(wire::file(private_key)),
                ..Default::default()
            }];
        }
    }
    if clients.is_some() {
        common.validation_context_type = Some(client_validation(settings, certificate));
    }
    Some(wire_tls::DownstreamTlsContext {
        require_client_certificate: Some(wire::boolean(clients == Some(true))),
        common_tls_context: Some(common),
        ..Default::default()
    })
}

fn credentials(names: &[std::sync::Arc<str>]) -> Vec<wire_tls::SdsSecretConfig> {
    let resources = names.iter().map(|name| tls::credential_resource(name));
    resources.map(|name| tls::ads_secret(&name)).collect()
}

/// Of several Secrets the first holds the trust in clients.
fn client_validation(
    settings: &ServerTls,
    certificate: &ServerCertificate,
) -> wire_tls::common_tls_context::ValidationContextType {
    let owned = |pins: &[std::sync::Arc<str>]| pins.iter().map(ToString::to_string).collect();
    let names = settings
        .subject_alt_names
        .iter()
        .map(|name| wire::exact(name))
        .collect();
    let mut context = wire_tls::CertificateValidationContext {
        match_typed_subject_alt_names: tls::subject_matchers(names),
        verify_certificate_spki: owned(&settings.verify_certificate_spki),
        verify_certificate_hash: owned(&settings.verify_certificate_hash),
        ..Default::default()
    };
    match certificate {
        ServerCertificate::Credential(name) => {
            tls::combined(tls::ads_secret(&tls::credential_ca_resource(name)), context)
        }
        ServerCertificate::Credentials(names) => {
            let first = names.first().map(|name| &**name).unwrap_or_default();
            let secret = tls::ads_secret(&tls::credential_ca_resource(first));
            tls::combined(secret, context)
        }
        ServerCertificate::Files {
            ca_certificates, ..
        } => {
            context.trusted_ca = ca_certificates.as_deref().map(wire::file);
            wire_tls::common_tls_context::ValidationContextType::ValidationContext(context)
        }
    }
}

fn parameters(settings: &ServerTls) -> wire_tls::TlsParameters {
    use wire_tls::tls_parameters::TlsProtocol;
    let version = |version: TlsVersion| match version {
        TlsVersion::V1_2 => TlsProtocol::TlSv12,
        TlsVersion::V1_3 => TlsProtocol::TlSv13,
    };
    wire_tls::TlsParameters {
        tls_minimum_protocol_version: version(settings.min_version).into(),
        tls_maximum_protocol_version: version(settings.max_version).into(),
        cipher_suites: settings
            .cipher_suites
            .iter()
            .map(ToString::to_string)
            .collect(),
        ..Default::default()
    }
}
