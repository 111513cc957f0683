//! `ServiceEntry`, networking.istio.io. Source: Istio `validation.ValidateServiceEntry`
//! and `serviceentry.convertServices`.

mod ports;

use std::collections::BTreeSet;
use std::sync::Arc;

use mesh_api::endpoint::{EndpointAddress, ServiceEndpoints};
use mesh_api::hostname::Hostname;
use mesh_api::labels::Selector;
use mesh_api::service::{
    Registry, Resolution as ServiceResolution, Service, ServiceAddress, TrafficDistribution,
};

use super::definition::constraint::rule;
use super::definition::{Column, Definition};
use super::descriptor::Descriptor;
use super::findings::Findings;
use super::read::Read;
use super::rules::{self, each, shared};
use super::scope::Scope;
use super::wire::{Port, WorkloadSelector, wire};
use super::workload_entry::{self, Machine, WorkloadEntrySpec};
use crate::decode::jsonpb::wire_enum;
use crate::manifest::path::FieldPath;

/// Steps that an item of a service stands for: it stays in memory.
const STEPS_PER_ITEM: usize = 16;

wire! {
    #[schemars(extend(
        "required" = ["hosts"],
        "x-kubernetes-validations" = [rule(
            "!has(self.workloadSelector) || !has(self.endpoints)",
            "only one of workloadSelector and endpoints is possible",
        )],
    ))]
    ServiceEntrySpec {
        /// Host names of the service. A name may begin with "*." where the resolution is not DNS without endpoints.
        hosts: Vec<String>,
        /// Virtual IP addresses of the service. Address ranges (CIDR) are allowed with resolution NONE and STATIC.
        addresses: Vec<String>,
        /// Ports of the service. Without ports the entry matches no traffic.
        ports: Vec<Port>,
        /// MESH_EXTERNAL (default) for a service outside of the mesh, which is called without mesh mTLS;
        /// MESH_INTERNAL for workloads of the mesh.
        location: Location,
        /// How endpoints are found: NONE (default) keeps the address that the client connects to, STATIC uses
        /// the endpoints or the selected workloads, DNS resolves the endpoints, or without endpoints the hosts, and
        /// uses all addresses, DNS_ROUND_ROBIN uses the first one. DYNAMIC_DNS is not supported yet.
        resolution: Resolution,
        /// Endpoints of the service, instead of workloadSelector.
        endpoints: Vec<WorkloadEntrySpec>,
        /// Selects pods and WorkloadEntries of the namespace as endpoints, instead of endpoints.
        workload_selector: Option<WorkloadSelector>,
        /// Namespaces that the service is visible in: "." is its own, "*" is all, "~" is none. By default
        /// meshConfig.defaultServiceExportTo.
        export_to: Vec<String>,
        /// Subject alternative names, of which the certificate of the server must have one.
        subject_alt_names: Vec<String>,
    }
}

wire_enum!(
    Location {
        #[default]
        MeshExternal = "MESH_EXTERNAL" / 0,
        MeshInternal = "MESH_INTERNAL" / 1,
    }
);

wire_enum!(
    Resolution {
        #[default]
        None = "NONE" / 0,
        Static = "STATIC" / 1,
        Dns = "DNS" / 2,
        DnsRoundRobin = "DNS_ROUND_ROBIN" / 3,
        DynamicDns = "DYNAMIC_DNS" / 4,
    }
);

/// A ServiceEntry: one service for each host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceEntry {
    /// The services, without service accounts.
    pub services: Vec<Service>,
    /// Endpoints as written.
    pub endpoints: Vec<Machine>,
    /// Chooses pods and WorkloadEntries of the namespace instead.
    pub selector: Option<Selector>,
}

impl Read for ServiceEntrySpec {
    const KIND: Descriptor = Descriptor::defined(Definition {
        short_names: &["se"],
        columns: &[
            Column::text("Hosts", ".spec.hosts", "The service's names"),
            Column::text(
                "Location",
                ".spec.location",
                "Whether the service is inside or outside of the mesh",
            ),
            Column::text(
                "Resolution",
                ".spec.resolution",
                "How the addresses of the service are found",
            ),
            Column::AGE,
        ],
        spec_required: true,
        ..Definition::networking::<Self>("ServiceEntry", "serviceentries")
    });

    type Model = Arc<ServiceEntry>;

    fn read(&self, scope: &Scope<'_>, findings: &mut Findings<'_>) -> Option<Arc<ServiceEntry>> {
        let root = FieldPath::ROOT;
        let path = root.field("spec");
        let hosts = hosts(self, &path.field("hosts"), findings);
        let addresses = addresses(self, &path.field("addresses"), findings);
        let told_apart = !self.addresses.is_empty() || self.hosts.len() <= 1;
        let ports = ports::read(&self.ports, told_apart, &path.field("ports"), findings);
        rules::export_to(
            &self.export_to,
            scope.meta,
            &path.field("exportTo"),
            findings,
        );
        let selector = selector(self, &path, findings);
        let resolution = resolution(self, &path, findings);
        let named_by_dns = !matches!(self.resolution, Resolution::None | Resolution::Static);
        let list = path.field("endpoints");
        let endpoints = each(
            &self.endpoints,
            &list,
            findings,
            |endpoint, at, findings| {
                workload_entry::read(endpoint, named_by_dns, at, scope, findings)
            },
        );
        // Each host is a service with everything that the entry says, so nothing is made of a bad one.
        if findings.has_errors() {
            return None;
        }
        findings.spend(size(self, scope), &path.field("hosts"))?;
        let service = Service {
            addresses: addresses?,
            ports: ports?,
            ..self.service(resolution?, scope)
        };
        let services = hosts?.into_iter().map(|hostname| Service {
            name: hostname.as_str().into(),
            hostname,
            ..service.clone()
        });
        Some(Arc::new(ServiceEntry {
            services: services.collect(),
            endpoints: endpoints?,
            selector,
        }))
    }

    #[cfg(any(test, feature = "test-util"))]
    fn sample() -> serde_json::Value {
        serde_json::json!({
            "hosts": ["a.example.com"],
            "resolution": "STATIC",
            "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}],
            "endpoints": [{"address": "10.0.0.1"}],
        })
    }
}

/// Steps that the services stand for.
fn size(spec: &ServiceEntrySpec, scope: &Scope<'_>) -> usize {
    let each = 1 + spec.addresses.len() + spec.ports.len() + spec.subject_alt_names.len();
    let each = each + spec.export_to.len() + scope.meta.annotations.iter().count();
    let all = spec.hosts.len().saturating_mul(each);
    all.saturating_mul(STEPS_PER_ITEM)
}

impl ServiceEntrySpec {
    /// What the services have in common.
    fn service(&self, resolution: ServiceResolution, scope: &Scope<'_>) -> Service {
        Service {
            meta: scope.meta.clone(),
            name: "".into(),
            hostname: Hostname::any(),
            registry: Registry::External,
            addresses: Vec::new(),
            ports: Vec::new(),
            resolution,
            mesh_external: self.location == Location::MeshExternal,
            visibility: scope.visibility(&self.export_to, &scope.mesh.default_service_export_to),
            selector: None,
            subject_alt_names: shared(&self.subject_alt_names).into_iter().collect(),
            service_accounts: Default::default(),
            aliases: Vec::new(),
            publish_not_ready: false,
            node_local: false,
            traffic_distribution: TrafficDistribution::Any,
        }
    }
}

/// Hosts are registered as written, never completed.
fn hosts(
    spec: &ServiceEntrySpec,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<Vec<Hostname>> {
    if spec.hosts.is_empty() {
        findings.error(path, "at least one host is required");
    }
    let mut seen = BTreeSet::new();
    each(&spec.hosts, path, findings, |text, at, findings| {
        if text == "*" {
            findings
                .error(at, "the host cannot be \"*\" alone")
                .suggest("write \"*.SUFFIX\"");
            return None;
        }
        let host = rules::host(text, at, findings);
        if !seen.insert(text) {
            findings.error(at, format!("duplicate host \"{text}\""));
        }
        host
    })
}

fn addresses(
    spec: &ServiceEntrySpec,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<Vec<ServiceAddress>> {
    let ranges = matches!(spec.resolution, Resolution::None | Resolution::Static);
    each(&spec.addresses, path, findings, |text, at, findings| {
        let range = rules::subnet(text, at, findings);
        if text.contains('/') && !ranges {
            findings.error(
                at,
                format!("range \"{text}\" needs resolution NONE or STATIC"),
            );
        }
        // A range of one address is that address.
        range.map(|range| match range.prefix_len() == range.max_prefix_len() {
            true => ServiceAddress::Ip(range.addr()),
            false => ServiceAddress::Cidr(range),
        })
    })
}

fn selector(
    spec: &ServiceEntrySpec,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<Selector> {
    let selector = spec.workload_selector.as_ref()?;
    let at = path.field("workloadSelector");
    let labels = rules::labels(&selector.labels, &at.field("labels"), findings);
    if spec.location == Location::MeshExternal {
        findings
            .warn(
                &at,
                "selected workloads belong to the mesh, yet the location is MESH_EXTERNAL",
            )
            .suggest("set location: MESH_INTERNAL");
    }
    if !spec.endpoints.is_empty() {
        let message = "only one of \"endpoints\", \"workloadSelector\" may be set";
        findings.error(&path.field("endpoints"), message);
    }
    Some(Selector::new(labels))
}

fn resolution(
    spec: &ServiceEntrySpec,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<ServiceResolution> {
    let at = path.field("resolution");
    let endpoints = path.field("endpoints");
    let has_endpoints = !spec.endpoints.is_empty();
    match spec.resolution {
        Resolution::None if has_endpoints => {
            findings
                .error(&endpoints, "resolution NONE takes no endpoints")
                .suggest("set resolution: STATIC or DNS");
        }
        Resolution::Static if !has_endpoints && spec.workload_selector.is_none() => {
            findings
                .error(&at, "resolution STATIC needs endpoints")
                .suggest("add endpoints or a workloadSelector");
        }
        Resolution::Dns | Resolution::DnsRoundRobin if !has_endpoints => {
            let wildcard = spec.hosts.iter().position(|host| host.starts_with('*'));
            if let Some(index) = wildcard {
                findings
                    .error(
                        &path.field("hosts").index(index),
                        "a wildcard host cannot be resolved by DNS",
                    )
                    .suggest("add endpoints, or use resolution NONE");
            }
        }
        Resolution::DnsRoundRobin if spec.endpoints.len() > 1 => {
            findings.error(&endpoints, "DNS_ROUND_ROBIN takes one endpoint at most");
        }
        _ => {}
    }
    match spec.resolution {
        Resolution::None => Some(ServiceResolution::Passthrough),
        Resolution::Static => Some(ServiceResolution::Static),
        Resolution::Dns => Some(ServiceResolution::Dns),
        Resolution::DnsRoundRobin => Some(ServiceResolution::DnsRoundRobin),
        Resolution::DynamicDns => {
            let message = "resolution DYNAMIC_DNS is not supported yet";
            findings.refuse_unsupported(&at, message);
            None
        }
    }
}

impl ServiceEntry {
    /// Endpoints that the entry itself gives for one of its services: those written,
    /// or the host's own name where DNS finds them.
    pub(crate) fn own_endpoints(&self, service: &Service) -> ServiceEndpoints {
        let by_name = matches!(
            service.resolution,
            ServiceResolution::Dns | ServiceResolution::DnsRoundRobin
        );
        let host = Machine {
            address: Some(EndpointAddress::Name(service.hostname.clone())),
            ..Machine::nameless(service.meta.key.namespace.clone())
        };
        let host = [host];
        let machines = match self.endpoints.is_empty() && self.selector.is_none() && by_name {
            true => &host[..],
            false => &self.endpoints[..],
        };
        let by_port = service.ports.iter().map(|port| {
            let endpoints = machines.iter().filter_map(|machine| machine.endpoint(port));
            (port.number, endpoints.map(Arc::new).collect())
        });
        ServiceEndpoints {
            by_port: by_port.collect(),
        }
    }
}
