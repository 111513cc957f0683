//! What Gateways need that are to have proxies of their own.

use std::sync::Arc;

use mesh_api::labels::Labels;
use mesh_api::resource::ResourceKey;

use crate::kinds::gateway_api::{KubernetesGateway, ListenerProtocol};

/// Where the proxy says that it is ready.
const HEALTH_PORT: u16 = 15021;

/// On the Gateway: the name of what is made for it.
const NAME_OVERRIDE: &str = "gateway.istio.io/name-override";
/// On the Gateway: another name for the ServiceAccount.
const ACCOUNT_OVERRIDE: &str = "gateway.istio.io/service-account";

/// Annotations of a Gateway that are about itself.
const OWN_ANNOTATIONS: [&str; 4] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    "gateway.istio.io/controller-version",
    NAME_OVERRIDE,
    ACCOUNT_OVERRIDE,
];
/// What names begin with that this module gives itself.
const RESERVED: &str = "gateway.networking.k8s.io/";

/// What a Gateway's Deployment and Service are made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Infrastructure {
    /// The Service, by whose name the Deployment and its ServiceAccount go too.
    pub(crate) service: ResourceKey,
    /// The name of the ServiceAccount.
    pub(crate) account: String,
    /// The Gateway's name.
    pub(crate) gateway: String,
    /// Its class.
    pub(crate) class: String,
    /// Ports, each number once.
    pub(crate) ports: Vec<Port>,
    /// Labels and annotations that everything gets: those of `infrastructure`, or the
    /// Gateway's own where it has none.
    pub(crate) labels: Labels,
    pub(crate) annotations: Labels,
}

/// A port of the Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Port {
    pub(crate) name: String,
    pub(crate) number: u16,
    /// `appProtocol`.
    pub(crate) protocol: &'static str,
}

/// The Service of a Gateway that names no other. Its name is Istio's.
pub(super) fn own_service(gateway: &KubernetesGateway) -> ResourceKey {
    let name = match gateway.meta.annotations.get(NAME_OVERRIDE) {
        Some(name) => name.to_owned(),
        None => format!("{}-{}", gateway.meta.name(), gateway.class),
    };
    ResourceKey::new("Service", gateway.meta.namespace(), &name)
}

/// The account that the Gateway's own pods run under; none for a Gateway whose Service is someone else's.
pub(super) fn service_account(gateway: &KubernetesGateway) -> Option<Arc<str>> {
    let is_own = gateway.addresses.is_empty();
    is_own.then(|| match gateway.meta.annotations.get(ACCOUNT_OVERRIDE) {
        Some(name) => name.into(),
        None => own_service(gateway).name,
    })
}

/// Nothing for a Gateway whose Service is someone else's.
pub(super) fn infrastructure(gateway: &KubernetesGateway) -> Option<Infrastructure> {
    let account = service_account(gateway)?;
    let mut ports = vec![Port {
        name: "status-port".to_owned(),
        number: HEALTH_PORT,
        protocol: "tcp",
    }];
    for listener in &gateway.listeners {
        if ports.iter().all(|port| port.number != listener.port) {
            ports.push(Port {
                name: listener.name.to_string(),
                number: listener.port,
                protocol: match listener.protocol {
                    ListenerProtocol::Http => "http",
                    ListenerProtocol::Https => "https",
                    ListenerProtocol::TlsPassthrough | ListenerProtocol::TlsTerminate => "tls",
                    ListenerProtocol::Tcp | ListenerProtocol::Unsupported(_) => "tcp",
                },
            });
        }
    }
    let service = own_service(gateway);
    Some(Infrastructure {
        account: account.to_string(),
        service,
        gateway: gateway.meta.name().to_owned(),
        class: gateway.class.to_string(),
        ports,
        labels: inherited(&gateway.labels, &gateway.meta.labels),
        annotations: inherited(&gateway.annotations, &gateway.meta.annotations),
    })
}

fn inherited(wanted: &Labels, own: &Labels) -> Labels {
    let chosen = if wanted.is_empty() { own } else { wanted };
    let inherited = chosen
        .iter()
        .filter(|(name, _)| !name.starts_with(RESERVED) && !OWN_ANNOTATIONS.contains(name));
    inherited.collect()
}
