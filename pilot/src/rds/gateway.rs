//! Route configurations of gateways: one for all plaintext servers of a port, one for each
//! server of TLS that ends here.

use std::collections::BTreeMap;
use std::sync::Arc;

use mesh_api::hostname::Hostname;
use mesh_api::route::{GatewayRef, VirtualService};

use super::sidecar::upstreams;
use super::virtual_host::{Client, Inputs, Rules, Source};
use crate::gateway::{BoundServer, PortServers, ServerKind};
use crate::names;
use crate::scope::Scope;
use crate::shared::Shared;

/// What one host of a route configuration is made of.
#[derive(Default)]
struct Host {
    objects: Vec<Arc<VirtualService>>,
    gateways: Vec<GatewayRef>,
    https_redirect: bool,
}

/// All route configurations of a listening address, by name, with their virtual hosts.
pub(crate) fn configurations(scope: &Scope, port: &PortServers) -> BTreeMap<String, Vec<Inputs>> {
    let mut by_name: BTreeMap<String, Vec<&BoundServer>> = BTreeMap::new();
    for server in port.servers.iter().filter(|server| server.is_http()) {
        by_name.entry(server.route_name()).or_default().push(server);
    }
    by_name
        .into_iter()
        .map(|(name, servers)| (name, virtual_hosts(scope, &servers)))
        .collect()
}

fn virtual_hosts(scope: &Scope, servers: &[&BoundServer]) -> Vec<Inputs> {
    let Some(first) = servers.first() else {
        return Vec::new();
    };
    let port = first.server.port;
    let tls = first.kind == ServerKind::TerminatedHttp;
    let mut hosts: BTreeMap<Hostname, Host> = BTreeMap::new();
    for server in servers {
        collect(scope, server, &mut hosts);
    }
    if hosts.is_empty() {
        return vec![Inputs {
            name: format!("{}:{port}", names::BLACKHOLE_PORT),
            domains: Arc::new(vec!["*".to_owned()]),
            source: Source::Nothing,
            https_redirect: false,
        }];
    }
    let make = |(host, parts): (Hostname, Host)| {
        let source = if parts.objects.is_empty() {
            Source::Nothing
        } else {
            Source::Rules(Box::new(Rules {
                upstreams: upstreams(scope, &parts.objects, port),
                objects: parts.objects.iter().map(Shared::from).collect(),
                retry: scope.mesh.default_http_retry.clone(),
                client: Client {
                    port,
                    gateways: parts.gateways,
                    labels: Default::default(),
                    namespace: String::new(),
                    tls,
                },
            }))
        };
        Inputs {
            name: format!("{host}:{port}"),
            domains: Arc::new(vec![host.to_string()]),
            source,
            https_redirect: parts.https_redirect,
        }
    };
    hosts.into_iter().map(make).collect()
}

fn collect(scope: &Scope, server: &BoundServer, hosts: &mut BTreeMap<Hostname, Host>) {
    let redirect = server
        .server
        .tls
        .as_ref()
        .is_some_and(|tls| tls.https_redirect);
    for object in scope.virtual_services().of_gateway(&server.gateway) {
        if object.http.is_empty() {
            continue;
        }
        for host in object
            .hosts
            .iter()
            .flat_map(|h| server.hosts_for(object.meta.namespace(), h))
        {
            let entry = hosts.entry(host).or_default();
            if !entry.objects.iter().any(|known| Arc::ptr_eq(known, object)) {
                entry.objects.push(Arc::clone(object));
            }
            if !entry.gateways.contains(&server.reference()) {
                entry.gateways.push(server.reference());
            }
            entry.https_redirect |= redirect;
        }
    }
    if redirect {
        for own in &server.server.hosts {
            hosts.entry(own.host.clone()).or_default().https_redirect = true;
        }
    }
}
