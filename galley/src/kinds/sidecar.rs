//! `Sidecar`, networking.istio.io. Source: Istio `validation.ValidateSidecar`.

mod egress;
mod ingress;
mod listener;

use std::collections::BTreeSet;
use std::sync::Arc;

use mesh_api::labels::Selector;
use mesh_api::mesh_config::OutboundPolicy;
use mesh_api::sidecar::{EgressListener, IngressListener, Sidecar};

use self::egress::WireEgress;
use self::ingress::WireIngress;
use super::definition::Definition;
use super::descriptor::Descriptor;
use super::findings::Findings;
use super::read::Read;
use super::rules::{self, each};
use super::scope::Scope;
use super::traffic_policy::{WirePool, connection_pool};
use super::virtual_service::WireDestination;
use super::wire::{WorkloadSelector, wire};
use crate::decode::jsonpb::wire_enum;
use crate::manifest::path::FieldPath;

wire! {
    SidecarSpec {
        /// Selects the workloads of the namespace that the Sidecar applies to. By default all of the namespace, and
        /// in the root namespace all of the mesh. A Sidecar with a selector goes first.
        workload_selector: Option<WorkloadSelector>,
        /// Ports that the proxy accepts for the workload. By default those of the services of the workload.
        ingress: Vec<WireIngress>,
        /// Services that the workload can call. By default all that are exported to its namespace.
        egress: Vec<WireEgress>,
        /// Limits of connections and requests from the proxy to the application, for all of its ports.
        inbound_connection_pool: Option<WirePool>,
        /// What happens to traffic for unknown destinations. By default as meshConfig says.
        outbound_traffic_policy: Option<WireOutbound>,
    }

    // Also `meshConfig.outboundTrafficPolicy`.
    WireOutbound {
        /// ALLOW_ANY (default) forwards it to the address that the workload connected to, REGISTRY_ONLY refuses it.
        /// ALLOW_ANY_DYNAMIC_DNS is not supported yet.
        mode: OutboundMode,
        /// Not supported yet: service that receives the traffic instead.
        egress_proxy: Option<WireDestination>,
        /// Not supported yet.
        tls: Option<serde_json::Value>,
    }
}

wire_enum!(
    /// Mode 2 was never used upstream.
    OutboundMode {
        RegistryOnly = "REGISTRY_ONLY" / 0,
        #[default]
        AllowAny = "ALLOW_ANY" / 1,
        AllowAnyDynamicDns = "ALLOW_ANY_DYNAMIC_DNS" / 3,
    }
);

impl Read for SidecarSpec {
    const KIND: Descriptor =
        Descriptor::defined(Definition::networking::<Self>("Sidecar", "sidecars"));

    type Model = Arc<Sidecar>;

    fn read(&self, scope: &Scope<'_>, findings: &mut Findings<'_>) -> Option<Arc<Sidecar>> {
        let root = FieldPath::ROOT;
        let path = root.field("spec");
        let selector = self.workload_selector.as_ref();
        let labels = selector.map(|selector| {
            let at = path.field("workloadSelector");
            rules::labels(&selector.labels, &at.field("labels"), findings)
        });
        let ingress = ingress_listeners(&self.ingress, &path.field("ingress"), findings);
        let egress = egress_listeners(&self.egress, &path.field("egress"), scope, findings);
        let pool = self.inbound_connection_pool.as_ref();
        let pool =
            pool.map(|wire| connection_pool(wire, &path.field("inboundConnectionPool"), findings));
        let policy = self.outbound_traffic_policy.as_ref();
        let policy = policy
            .map(|wire| outbound_policy(wire, &path.field("outboundTrafficPolicy"), findings));
        Some(Arc::new(Sidecar {
            meta: scope.meta.clone(),
            workload_selector: labels
                .filter(|labels| !labels.is_empty())
                .map(Selector::new),
            ingress: ingress?,
            egress: Some(egress?).filter(|listeners| !listeners.is_empty()),
            outbound_policy: policy,
            inbound_connection_pool: pool,
        }))
    }

    #[cfg(any(test, feature = "test-util"))]
    fn sample() -> serde_json::Value {
        serde_json::json!({
            "ingress": [{
                "port": {"number": 80, "name": "http", "protocol": "HTTP"},
                "defaultEndpoint": "127.0.0.1:80",
            }],
            "egress": [{"hosts": ["*/*"]}],
        })
    }
}

fn ingress_listeners(
    wire: &[WireIngress],
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<Vec<IngressListener>> {
    let mut ports = BTreeSet::new();
    each(wire, path, findings, |wire, at, findings| {
        let listener = ingress::read(wire, at, findings);
        let port = wire.port.as_ref();
        if let Some(port) = port.filter(|port| !ports.insert(port.number)) {
            findings.error(&at.field("port"), format!("duplicate port {}", port.number));
        }
        listener
    })
}

fn egress_listeners(
    wire: &[WireEgress],
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
    findings: &mut Findings<'_>,
) -> Option<Vec<EgressListener>> {
    let mut left = wire.len();
    each(wire, path, findings, |wire, at, findings| {
        let listener = egress::read(wire, at, scope, findings);
        left -= 1;
        if wire.port.is_none() && left > 0 {
            findings
                .error(at, "the listener without port must be the last one")
                .suggest("move it to the end of egress");
        }
        listener
    })
}

fn outbound_policy(
    wire: &WireOutbound,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> OutboundPolicy {
    if wire.egress_proxy.is_some() {
        findings.refuse_unsupported(
            &path.field("egressProxy"),
            "egress proxies are not supported yet",
        );
    }
    if wire.tls.is_some() {
        findings.not_supported(&path.field("tls"));
    }
    outbound_mode(wire.mode, &path.field("mode"), findings)
}

/// Also the mode of `meshConfig.outboundTrafficPolicy`.
pub(super) fn outbound_mode(
    mode: OutboundMode,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> OutboundPolicy {
    match mode {
        OutboundMode::RegistryOnly => OutboundPolicy::RegistryOnly,
        OutboundMode::AllowAny => OutboundPolicy::AllowAny,
        OutboundMode::AllowAnyDynamicDns => {
            let message = "ALLOW_ANY_DYNAMIC_DNS is not supported yet";
            findings.refuse_unsupported(path, message);
            OutboundPolicy::AllowAny
        }
    }
}
