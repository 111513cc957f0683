//! `WorkloadEntry`, networking.istio.io: a machine outside of the cluster. Source: Istio
//! `validation.ValidateWorkloadEntry`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use mesh_api::endpoint::{Endpoint, EndpointAddress, EndpointHealth};
use mesh_api::identity::SpiffeId;
use mesh_api::labels::Labels;
use mesh_api::locality::Locality;
use mesh_api::port::TargetPort;
use mesh_api::service::ServicePort;

use super::definition::{Column, Definition};
use super::descriptor::Descriptor;
use super::findings::Findings;
use super::pod::{CANONICAL_NAME, CANONICAL_REVISION};
use super::read::Read;
use super::rules;
use super::scope::Scope;
use super::wire::wire;
use crate::manifest::path::FieldPath;

wire! {
    #[schemars(extend("anyOf" = [{"required": ["address"]}, {"required": ["network"]}]))]
    WorkloadEntrySpec {
        /// IP address of the workload. A host name is allowed where the service is resolved by DNS. Unix sockets
        /// (unix:///PATH) are not supported yet.
        address: String,
        /// Ports of the workload by name of the service's port. A port that is not listed has the service's number.
        ports: BTreeMap<String, u32>,
        /// Labels, by which a ServiceEntry selects the workload.
        labels: BTreeMap<String, String>,
        /// Network of the workload. Empty for the network of the mesh.
        network: String,
        /// Where the workload runs, as REGION/ZONE/SUBZONE. Unknown if empty.
        locality: String,
        /// Weight in load balancing, relative to the other endpoints of the service. 1 by default.
        weight: u32,
        /// Name of the service account in the same namespace, which gives the workload its identity.
        service_account: String,
    }
}

/// A WorkloadEntry, or an endpoint of a ServiceEntry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// The object's name; empty for endpoints of a ServiceEntry.
    pub name: Arc<str>,
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Where to connect; `None` if it is reached through its network's gateway.
    pub address: Option<EndpointAddress>,
    /// Ports that differ from the service's, by port name.
    pub ports: BTreeMap<String, u16>,
    /// Labels.
    pub labels: Labels,
    /// The network; empty for the only one.
    pub network: Arc<str>,
    /// Where it runs.
    pub locality: Locality,
    /// Relative weight in load balancing.
    pub weight: u32,
    /// The identity, if a service account is named.
    pub identity: Option<SpiffeId>,
}

impl Read for WorkloadEntrySpec {
    const KIND: Descriptor = Descriptor::defined(Definition {
        short_names: &["we"],
        columns: &[
            Column::AGE,
            Column::text("Address", ".spec.address", "The workload's address"),
        ],
        spec_required: true,
        ..Definition::networking::<Self>("WorkloadEntry", "workloadentries")
    });

    type Model = Arc<Machine>;

    fn read(&self, scope: &Scope<'_>, findings: &mut Findings<'_>) -> Option<Arc<Machine>> {
        let root = FieldPath::ROOT;
        // Whether the services that select it are resolved by DNS is not known here.
        let machine = read(self, true, &root.field("spec"), scope, findings)?;
        Some(Arc::new(Machine {
            name: scope.meta.key.name.clone(),
            ..machine
        }))
    }

    #[cfg(any(test, feature = "test-util"))]
    fn sample() -> serde_json::Value {
        serde_json::json!({"address": "10.0.0.1"})
    }
}

/// A workload without a name. `named_by_dns`: its address may be a host name.
pub(super) fn read(
    wire: &WorkloadEntrySpec,
    named_by_dns: bool,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
    findings: &mut Findings<'_>,
) -> Option<Machine> {
    let address = address(wire, named_by_dns, path, findings);
    let mut ports = Some(BTreeMap::new());
    for (name, number) in &wire.ports {
        let port = rules::port(*number, &path.field("ports").field(name), findings);
        ports = ports.zip(port).map(|(mut ports, port)| {
            ports.insert(name.clone(), port);
            ports
        });
    }
    let labels = rules::labels(&wire.labels, &path.field("labels"), findings);
    let identity = identity(wire, path, scope, findings);
    Some(Machine {
        name: "".into(),
        namespace: scope.meta.key.namespace.clone(),
        address: address?,
        ports: ports?,
        labels,
        network: wire.network.as_str().into(),
        locality: wire.locality.parse().unwrap_or_else(|never| match never {}),
        weight: wire.weight.max(1),
        identity: identity?,
    })
}

fn address(
    wire: &WorkloadEntrySpec,
    named_by_dns: bool,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<Option<EndpointAddress>> {
    let at = path.field("address");
    let text = wire.address.as_str();
    if let Some(socket) = text.strip_prefix("unix://") {
        findings.refuse_unsupported(&at, "unix sockets are not supported yet");
        if !socket.starts_with('/') {
            findings.error(&at, format!("\"{socket}\" is not an absolute path"));
        }
        if !wire.ports.is_empty() {
            findings.error(&path.field("ports"), "a unix socket has no ports");
        }
        return None;
    }
    if text.is_empty() {
        if wire.network.is_empty() {
            findings.error(&at, "the address is required");
            return None;
        }
        let message = "endpoints behind the gateway of another network are not \
                       supported yet: the endpoint is left out";
        findings.without_effect(&at, message);
        return Some(None);
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(Some(EndpointAddress::Ip(address)));
    }
    if !named_by_dns {
        findings
            .error(&at, format!("\"{text}\" is not an address"))
            .suggest("use an address, or resolution: DNS");
        return None;
    }
    let host = rules::host(text, &at, findings)?;
    if host.is_wildcard() {
        findings.error(&at, "an endpoint cannot be a wildcard");
    }
    Some(Some(EndpointAddress::Name(host)))
}

fn identity(
    wire: &WorkloadEntrySpec,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
    findings: &mut Findings<'_>,
) -> Option<Option<SpiffeId>> {
    let account = wire.service_account.as_str();
    if account.is_empty() {
        return Some(None);
    }
    let domain = scope.mesh.trust_domain.clone();
    match SpiffeId::new(domain, scope.meta.namespace(), account) {
        Ok(identity) => Some(Some(identity)),
        Err(error) => {
            findings.consequence(&path.field("serviceAccount"), error.to_string());
            None
        }
    }
}

impl Machine {
    /// A machine of which nothing is known.
    pub(crate) fn nameless(namespace: Arc<str>) -> Self {
        Self {
            name: "".into(),
            namespace,
            address: None,
            ports: BTreeMap::new(),
            labels: Labels::default(),
            network: "".into(),
            locality: Locality::default(),
            weight: 1,
            identity: None,
        }
    }

    /// The service it belongs to, by its labels.
    pub(crate) fn canonical_name(&self) -> Arc<str> {
        let label = CANONICAL_NAME.iter().find_map(|name| self.labels.get(name));
        label.unwrap_or(&self.name).into()
    }

    /// The revision, by its labels.
    pub(crate) fn canonical_revision(&self) -> Arc<str> {
        let label = CANONICAL_REVISION
            .iter()
            .find_map(|name| self.labels.get(name));
        label.unwrap_or("latest").into()
    }

    /// Has a proxy that accepts mesh mTLS.
    pub(crate) fn mtls_capable(&self) -> bool {
        self.labels.get("security.istio.io/tlsMode") == Some("istio")
    }

    /// This machine as an endpoint of a service's port.
    pub(crate) fn endpoint(&self, port: &ServicePort) -> Option<Endpoint> {
        let target = match &port.target {
            TargetPort::Number(number) => number.get(),
            TargetPort::Name(_) => port.number,
        };
        Some(Endpoint {
            address: self.address.clone()?,
            port: self.ports.get(&*port.name).copied().unwrap_or(target),
            labels: self.labels.clone(),
            locality: self.locality.clone(),
            weight: self.weight,
            health: EndpointHealth::Healthy,
            mtls_capable: self.mtls_capable(),
            identity: self.identity.clone(),
            workload: "".into(),
            namespace: self.namespace.clone(),
            workload_name: self.name.clone(),
            canonical_name: self.canonical_name(),
            canonical_revision: self.canonical_revision(),
            node: "".into(),
            network: self.network.clone(),
        })
    }
}
