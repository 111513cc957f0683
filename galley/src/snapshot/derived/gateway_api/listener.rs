//! Listeners of Gateways: which are in force, and as what.

use std::sync::Arc;

use mesh_api::gateway::{Gateway, Server, ServerHost, ServerTls, ServerTlsMode, TrustedPods};
use mesh_api::hostname::Hostname;
use mesh_api::labels::{Labels, Selector};
use mesh_api::port::Protocol;
use mesh_api::resource::{Meta, ResourceKey};
use mesh_api::route::GatewayRef;
use mesh_api::snapshot::{Credential, CredentialKey};

use super::attach::Attachments;
use super::{GENERATED, certificate, infrastructure};
use crate::kinds::gateway_api::{KubernetesGateway, Listener, ListenerProtocol, RoutesFrom};
use crate::snapshot::derived::place::host_name;
use crate::snapshot::derived::world::World;

/// The label of the pods of a Gateway that has its own.
pub(super) const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";

/// Why something is not so: reason and message of a condition.
pub(super) type Reason = (&'static str, String);

/// A listener of a Gateway.
#[derive(Debug, Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) gateway: &'a KubernetesGateway,
    pub(super) listener: &'a Listener,
}

/// A listener with what was found out about it.
pub(super) struct BoundListener<'a> {
    pub(super) at: At<'a>,
    /// The pods and their namespace.
    pods: Option<(Selector, Arc<str>)>,
    pub(super) accepted: Result<(), Reason>,
    pub(super) resolved: Result<(), Reason>,
    /// The reason of the conflict with a listener before it.
    pub(super) conflict: Option<&'static str>,
    /// Routes that are attached.
    pub(super) attached: u32,
    /// Hosts of attached routes of connections.
    hosts: Vec<Hostname>,
}

/// The listeners of a Gateway.
pub(super) fn bind<'a>(
    gateway: &'a KubernetesGateway,
    attachments: Option<&Attachments>,
    world: &World<'_>,
) -> Vec<BoundListener<'a>> {
    let pods = pods(gateway, world);
    let listeners = gateway.listeners.iter().enumerate();
    let bound = listeners.map(|(index, listener)| BoundListener {
        at: At { gateway, listener },
        pods: pods.clone(),
        accepted: accepted(listener),
        resolved: certificate::resolved(gateway, listener, world),
        conflict: gateway.listeners[..index]
            .iter()
            .find_map(|other| conflict(other, listener)),
        attached: attachments.map_or(0, |all| all.routes(index)),
        hosts: attachments.map_or_else(Vec::new, |all| all.hosts(index)),
    });
    bound.collect()
}

impl At<'_> {
    /// The name of the Gateway that it becomes for a host.
    pub(super) fn reference(&self, host: &Hostname) -> GatewayRef {
        GatewayRef::Gateway {
            namespace: self.gateway.meta.key.namespace.clone(),
            name: self.name(host).into(),
        }
    }

    /// True if routes of `namespace` may attach.
    pub(super) fn admits(&self, namespace: &str, world: &World<'_>) -> bool {
        match &self.listener.from {
            RoutesFrom::All => true,
            RoutesFrom::Same => namespace == self.gateway.meta.namespace(),
            RoutesFrom::Selector(selector) => {
                let object = world.get(&ResourceKey::new("Namespace", "", namespace));
                object.is_some_and(|object| selector.matches(&object.meta.labels))
            }
        }
    }

    fn is_one_for_each_host(&self) -> bool {
        self.listener.protocol == ListenerProtocol::TlsTerminate
    }

    fn name(&self, host: &Hostname) -> String {
        let gateway = self.gateway.meta.name();
        let name = format!("{gateway}-{GENERATED}-{}", self.listener.name);
        match self.is_one_for_each_host() {
            true => format!("{name}-{}", host_name(host.as_str())),
            false => name,
        }
    }

    fn server(&self, host: &Hostname, pods: &str) -> Server {
        let ended = || {
            let certificate = certificate::shown(&self.listener.certificates, pods);
            Some(ServerTls::of(ServerTlsMode::Simple(certificate)))
        };
        let (protocol, tls) = match &self.listener.protocol {
            ListenerProtocol::Http | ListenerProtocol::Unsupported(_) => (Protocol::Http, None),
            ListenerProtocol::Https => (Protocol::Https, ended()),
            ListenerProtocol::TlsTerminate => (Protocol::Tls, ended()),
            ListenerProtocol::TlsPassthrough => {
                let passed = ServerTls::of(ServerTlsMode::Passthrough);
                (Protocol::Tls, Some(passed))
            }
            ListenerProtocol::Tcp => (Protocol::Tcp, None),
        };
        Server {
            port: self.listener.port,
            port_name: self.listener.name.clone(),
            protocol,
            name: Some(self.listener.name.clone()),
            bind: None,
            hosts: vec![ServerHost {
                namespace: None,
                host: host.clone(),
            }],
            tls,
        }
    }
}

impl BoundListener<'_> {
    /// True if it takes connections.
    pub(super) fn is_in_force(&self) -> bool {
        self.accepted.is_ok() && self.resolved.is_ok() && self.conflict.is_none()
    }

    /// What is wrong with its references: certificates, and kinds of routes. The latter
    /// do no harm to routes of other kinds.
    pub(super) fn references(&self) -> Result<(), Reason> {
        self.resolved.clone()?;
        match &*self.at.listener.invalid_kinds {
            [] => Ok(()),
            [kind, ..] => {
                let message = format!("{kind}s cannot attach to a listener of this protocol");
                Err(("InvalidRouteKinds", message))
            }
        }
    }

    /// The Gateways that the listener becomes.
    pub(super) fn models(&self) -> Vec<Gateway> {
        let Some((selector, namespace)) = self.pods.clone().filter(|_| self.is_in_force()) else {
            return Vec::new();
        };
        let meta = &self.at.gateway.meta;
        let model = |host: &Hostname| Gateway {
            meta: Meta {
                key: ResourceKey::new("Gateway", meta.namespace(), &self.at.name(host)),
                ..meta.clone()
            },
            selector: selector.clone(),
            pod_namespace: Some(namespace.clone()),
            trusted_pods: Some(TrustedPods {
                namespace: meta.key.namespace.clone(),
                service_account: infrastructure::service_account(self.at.gateway),
            }),
            servers: vec![self.at.server(host, &namespace)],
        };
        match self.at.is_one_for_each_host() {
            true => self.hosts.iter().map(model).collect(),
            false => vec![model(&self.at.listener.hostname)],
        }
    }

    /// Certificates that its pods show and that are not of their own namespace.
    pub(super) fn foreign_certificates(
        &self,
        world: &World<'_>,
    ) -> Vec<(CredentialKey, Arc<Credential>)> {
        let ends_tls = self.is_in_force() && self.at.listener.protocol.terminates_tls();
        match &self.pods {
            Some((_, pods)) if ends_tls => {
                certificate::foreign(&self.at.listener.certificates, pods, world)
            }
            _ => Vec::new(),
        }
    }
}

/// True if another listener of the port is nearer to a host.
pub(super) fn is_shadowed(host: &Hostname, listener: &Listener, all: &[&Listener]) -> bool {
    all.iter().any(|other| {
        other.port == listener.port
            && go_together(other, listener)
            && other.hostname != listener.hostname
            && listener.hostname.covers(&other.hostname)
            && other.hostname.covers(host)
    })
}

/// The Gateway's own pods, or those of the Service that it names.
fn pods(gateway: &KubernetesGateway, world: &World<'_>) -> Option<(Selector, Arc<str>)> {
    let Some(address) = gateway.addresses.first() else {
        let label = [(GATEWAY_NAME, gateway.meta.name())];
        let selector = Selector::new(label.into_iter().collect::<Labels>());
        return Some((selector, gateway.meta.key.namespace.clone()));
    };
    let key = service_key(address, gateway.meta.namespace());
    let selector = world.service(&key)?.selector.clone()?;
    Some((selector, key.namespace))
}

/// `NAME`, or `NAME.NAMESPACE` with whatever follows.
pub(super) fn service_key(address: &str, own: &str) -> ResourceKey {
    let mut labels = address.split('.');
    let name = labels.next().unwrap_or_default();
    ResourceKey::new("Service", labels.next().unwrap_or(own), name)
}

fn accepted(listener: &Listener) -> Result<(), Reason> {
    match &listener.protocol {
        ListenerProtocol::Unsupported(protocol) => {
            let message = format!("protocol {protocol} is not supported");
            Err(("UnsupportedProtocol", message))
        }
        _ => Ok(()),
    }
}

/// Listeners of one port are told apart by host, and speak one protocol; all of TLS
/// counts as one. Of bytes there is one listener.
fn conflict(earlier: &Listener, later: &Listener) -> Option<&'static str> {
    if earlier.port != later.port {
        None
    } else if !go_together(earlier, later) {
        Some("ProtocolConflict")
    } else {
        (earlier.hostname == later.hostname).then_some("HostnameConflict")
    }
}

/// True if a port can be shared.
fn go_together(one: &Listener, other: &Listener) -> bool {
    let both_tls = one.protocol.is_tls() && other.protocol.is_tls();
    one.protocol == other.protocol || both_tls
}
