//! What a gateway proxy listens for: the Gateways that select it, merged by address and port.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use mesh_api::gateway::{Gateway, Server, ServerTlsMode};
use mesh_api::hostname::Hostname;
use mesh_api::labels::Labels;
use mesh_api::port::TargetPort;
use mesh_api::route::GatewayRef;
use mesh_api::snapshot::Snapshot;

use crate::scope::ScopeKey;

/// One listening address with all servers on it, oldest Gateway first.
#[derive(Clone, Debug)]
pub(crate) struct PortServers {
    /// The address.
    pub(crate) ip: IpAddr,
    /// The port in the pod.
    pub(crate) port: u16,
    /// The servers.
    pub(crate) servers: Vec<BoundServer>,
}

/// A server of a Gateway.
#[derive(Clone, Debug)]
pub(crate) struct BoundServer {
    /// The object.
    pub(crate) gateway: Arc<Gateway>,
    /// The server.
    pub(crate) server: Server,
    /// What is done with its connections.
    pub(crate) kind: ServerKind,
    /// The port in the pod.
    pub(crate) port: u16,
}

/// What is done with a server's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServerKind {
    /// HTTP in plaintext.
    Http,
    /// HTTP in TLS that ends here.
    TerminatedHttp,
    /// TLS that passes through.
    PassthroughTls,
    /// Other protocols in TLS that ends here.
    TerminatedTcp,
    /// Bytes.
    Tcp,
}

impl BoundServer {
    /// The name of the server's route configuration: plaintext servers share their port's.
    pub(crate) fn route_name(&self) -> String {
        match self.kind {
            ServerKind::TerminatedHttp => format!(
                "https.{}.{}.{}.{}",
                self.port,
                self.server.port_name,
                self.gateway.meta.name(),
                self.gateway.meta.namespace()
            ),
            _ => format!("http.{}", self.port),
        }
    }

    /// Whether it carries HTTP that is routed here.
    pub(crate) fn is_http(&self) -> bool {
        matches!(self.kind, ServerKind::Http | ServerKind::TerminatedHttp)
    }

    /// The Gateway as virtual services name it.
    pub(crate) fn reference(&self) -> GatewayRef {
        GatewayRef::Gateway {
            namespace: Arc::clone(&self.gateway.meta.key.namespace),
            name: Arc::clone(&self.gateway.meta.key.name),
        }
    }

    /// The hosts on which a virtual service of `namespace` may answer for `host`.
    pub(crate) fn hosts_for(&self, namespace: &str, host: &Hostname) -> Vec<Hostname> {
        let servers = self.server.hosts.iter();
        servers
            .filter(|own| {
                own.namespace
                    .as_deref()
                    .is_none_or(|only| only == namespace)
            })
            .filter_map(|own| own.host.intersection(host))
            .collect()
    }
}

/// The Gateways that select a gateway proxy.
pub(crate) fn selecting<'s>(
    snapshot: &'s Snapshot,
    key: &'s ScopeKey,
) -> impl Iterator<Item = &'s Arc<Gateway>> {
    let all = snapshot.gateways.values().flatten();
    all.filter(|gateway| {
        let namespace = gateway.pod_namespace.as_deref();
        namespace.is_none_or(|only| only == &*key.namespace)
            && gateway.selector.matches(&key.labels)
    })
}

/// The listening addresses of a gateway proxy.
pub(crate) fn ports(snapshot: &Snapshot, key: &ScopeKey) -> Vec<PortServers> {
    let mut gateways: Vec<_> = selecting(snapshot, key).collect();
    gateways.sort_by(|a, b| a.meta.age_order().cmp(&b.meta.age_order()));
    let targets = target_ports(snapshot, &key.namespace, &key.labels);

    let mut ports: BTreeMap<(IpAddr, u16), PortServers> = BTreeMap::new();
    for gateway in gateways {
        for server in &gateway.servers {
            let ip = server.bind.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
            let port = targets.get(&server.port).copied().unwrap_or(server.port);
            let bound = BoundServer {
                gateway: Arc::clone(gateway),
                server: server.clone(),
                kind: kind(server),
                port,
            };
            let entry = ports.entry((ip, port)).or_insert_with(|| PortServers {
                ip,
                port,
                servers: Vec::new(),
            });
            if entry
                .servers
                .iter()
                .all(|earlier| fit_together(earlier, &bound))
            {
                entry.servers.push(bound);
            } else {
                tracing::warn!(gateway = %gateway.meta.key, port, "server conflicts with an older one");
            }
        }
    }
    ports.into_values().collect()
}

fn kind(server: &Server) -> ServerKind {
    let mode = server.tls.as_ref().and_then(|tls| tls.mode.as_ref());
    let terminates = match mode {
        None | Some(ServerTlsMode::Passthrough | ServerTlsMode::AutoPassthrough) => false,
        Some(_) => true,
    };
    if server.protocol.is_http() {
        if terminates {
            ServerKind::TerminatedHttp
        } else {
            ServerKind::Http
        }
    } else if server.protocol.is_tls() {
        match (terminates, server.protocol) {
            (true, mesh_api::port::Protocol::Https) => ServerKind::TerminatedHttp,
            (true, _) => ServerKind::TerminatedTcp,
            (false, _) => ServerKind::PassthroughTls,
        }
    } else if terminates {
        ServerKind::TerminatedTcp
    } else {
        ServerKind::Tcp
    }
}

/// Plaintext HTTP shares a port with itself alone; so do servers of TLS; bytes share with no one.
fn fit_together(earlier: &BoundServer, later: &BoundServer) -> bool {
    use ServerKind::{Http, Tcp};
    match (earlier.kind, later.kind) {
        (Http, Http) => true,
        (Http | Tcp, _) | (_, Http | Tcp) => false,
        _ => {
            let hosts = |server: &BoundServer| -> Vec<Hostname> {
                server
                    .server
                    .hosts
                    .iter()
                    .map(|host| host.host.clone())
                    .collect()
            };
            let (earlier, later) = (hosts(earlier), hosts(later));
            !later.iter().any(|host| earlier.contains(host))
        }
    }
}

/// Where the ports of the gateway's own Services lead in its pods.
fn target_ports(snapshot: &Snapshot, namespace: &str, labels: &Labels) -> BTreeMap<u16, u16> {
    let mut targets = BTreeMap::new();
    for service in snapshot.services.values() {
        let own = service.meta.namespace() == namespace
            && service
                .selector
                .as_ref()
                .is_some_and(|s| !s.is_empty() && s.matches(labels));
        if !own {
            continue;
        }
        for port in &service.ports {
            if let TargetPort::Number(number) = &port.target {
                targets.entry(port.number).or_insert(number.get());
            }
        }
    }
    targets
}
