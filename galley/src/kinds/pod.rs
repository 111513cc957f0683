//! `Pod`: which workload runs where, under which identity.

use std::collections::HashSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1 as core;
use mesh_api::identity::SpiffeId;
use mesh_api::locality::Locality;
use mesh_api::workload::Workload;

use super::descriptor::Descriptor;
use super::findings::Findings;
use super::read::Read;
use super::rules::some;
use super::scope::Scope;
use crate::manifest::path::FieldPath;

/// A pod. Its locality is filled in from its node when the snapshot is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// The workload.
    pub workload: Workload,
    /// Locality from the pod's own label, which goes before the node's.
    pub own_locality: Option<Locality>,
    /// The network, from label `topology.istio.io/network`; empty for the only one.
    pub network: Arc<str>,
    /// Has ended: its address may belong to another pod already.
    pub finished: bool,
}

impl Read for core::Pod {
    const KIND: Descriptor = Descriptor::kubernetes("", "Pod");

    type Model = Arc<Pod>;

    fn read(&self, scope: &Scope<'_>, findings: &mut Findings<'_>) -> Option<Arc<Pod>> {
        let labels = &scope.meta.labels;
        let status = self.status.clone().unwrap_or_default();
        let locality = labels.get("istio-locality").map(locality);
        let network = labels.get("topology.istio.io/network");
        Some(Arc::new(Pod {
            workload: workload(self, &status, scope, findings)?,
            own_locality: locality,
            network: network.and_then(some).unwrap_or_default(),
            finished: matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")),
        }))
    }

    #[cfg(any(test, feature = "test-util"))]
    fn sample() -> serde_json::Value {
        serde_json::json!({"spec": {"containers": [{"name": "a"}]}})
    }
}

/// The label `istio-locality`. Labels cannot hold slashes, so Istio writes dots.
fn locality(text: &str) -> Locality {
    let text = match text.contains('/') {
        true => text.to_owned(),
        false => text.replace('.', "/"),
    };
    text.parse().unwrap_or_else(|never| match never {})
}

fn workload(
    pod: &core::Pod,
    status: &core::PodStatus,
    scope: &Scope<'_>,
    findings: &mut Findings<'_>,
) -> Option<Workload> {
    let default = core::PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&default);
    let meta = scope.meta;
    let account = spec
        .service_account_name
        .as_deref()
        .filter(|name| !name.is_empty());
    let identity = identity(account.unwrap_or("default"), scope, findings)?;
    let workload_name = workload_name(pod, scope);
    let label = |names: &[&str]| {
        names
            .iter()
            .find_map(|name| meta.labels.get(name))
            .map(Arc::from)
    };
    let ready = status.conditions.iter().flatten();
    Some(Workload {
        name: meta.key.name.clone(),
        namespace: meta.key.namespace.clone(),
        addresses: addresses(status),
        labels: meta.labels.clone(),
        identity,
        node: spec.node_name.as_deref().unwrap_or_default().into(),
        locality: Locality::default(),
        canonical_name: label(CANONICAL_NAME).unwrap_or_else(|| workload_name.clone()),
        canonical_revision: label(CANONICAL_REVISION).unwrap_or_else(|| "latest".into()),
        workload_name,
        mtls_capable: meta.labels.get("security.istio.io/tlsMode") == Some("istio"),
        named_ports: named_ports(spec),
        host_network: spec.host_network.unwrap_or(false),
        ready: ready
            .into_iter()
            .any(|c| c.type_ == "Ready" && c.status == "True"),
    })
}

fn identity(account: &str, scope: &Scope<'_>, findings: &mut Findings<'_>) -> Option<SpiffeId> {
    let domain = scope.mesh.trust_domain.clone();
    match SpiffeId::new(domain, scope.meta.namespace(), account) {
        Ok(identity) => Some(identity),
        Err(error) => {
            let spec = FieldPath::ROOT.field("spec");
            findings.consequence(&spec.field("serviceAccountName"), error.to_string());
            None
        }
    }
}

/// Labels that name the service a workload belongs to, best first.
pub(crate) const CANONICAL_NAME: &[&str] = &[
    "service.istio.io/canonical-name",
    "app.kubernetes.io/name",
    "app",
];

/// Labels that name the revision, best first.
pub(crate) const CANONICAL_REVISION: &[&str] = &[
    "service.istio.io/canonical-revision",
    "app.kubernetes.io/version",
    "version",
];

fn addresses(status: &core::PodStatus) -> Vec<std::net::IpAddr> {
    let listed = status
        .pod_ips
        .iter()
        .flatten()
        .map(|address| address.ip.as_str());
    let mut seen = HashSet::new();
    let mut addresses = Vec::new();
    for text in status.pod_ip.as_deref().into_iter().chain(listed) {
        if let Ok(address) = text.parse()
            && seen.insert(address)
        {
            addresses.push(address);
        }
    }
    addresses
}

fn named_ports(spec: &core::PodSpec) -> Vec<(Arc<str>, u16)> {
    let init = spec.init_containers.iter().flatten();
    let containers = spec.containers.iter().chain(init);
    let ports = containers.flat_map(|container| container.ports.iter().flatten());
    ports
        .filter_map(|port| {
            let name = port.name.as_deref().filter(|name| !name.is_empty())?;
            Some((name.into(), u16::try_from(port.container_port).ok()?))
        })
        .collect()
}

/// The controller: a Deployment rather than its ReplicaSet. Source: Istio
/// `kube.GetWorkloadMetaFromPod`.
fn workload_name(pod: &core::Pod, scope: &Scope<'_>) -> Arc<str> {
    let owners = pod.metadata.owner_references.iter().flatten();
    let controller = owners
        .into_iter()
        .find(|owner| owner.controller.unwrap_or(false));
    let Some(owner) = controller else {
        let generated = pod
            .metadata
            .generate_name
            .as_deref()
            .map(|name| name.trim_end_matches('-'));
        return generated.map_or_else(|| scope.meta.key.name.clone(), Arc::from);
    };
    let hash = scope
        .meta
        .labels
        .get("pod-template-hash")
        .filter(|_| owner.kind == "ReplicaSet");
    let deployment = hash.and_then(|hash| owner.name.strip_suffix(hash)?.strip_suffix('-'));
    deployment.unwrap_or(&owner.name).into()
}
