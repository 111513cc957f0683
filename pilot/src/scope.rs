//! What a proxy may see: services, rules and gateways that are exported to its namespace and
//! that its Sidecar lets through.
//!
//! A scope is computed once for all proxies that have the same [`ScopeKey`]; generators read the
//! mesh through it and never look at the snapshot around it.

mod destination_rules;
mod sidecar;
mod virtual_services;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mesh_api::hostname::Hostname;
use mesh_api::labels::{Labels, Selector};
use mesh_api::mesh_config::{MeshConfig, OutboundPolicy};
use mesh_api::service::{Registry, Service};
use mesh_api::snapshot::{ServiceKey, Snapshot};
use mesh_api::workload::Workload;

use self::destination_rules::DestinationRules;
use self::virtual_services::VirtualServices;
use crate::node::{InterceptionMode, Node, NodeKind, NodeLocality};

pub(crate) use self::destination_rules::Rule;

/// Everything about a node that its outbound resources depend on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ScopeKey {
    pub(crate) kind: NodeKind,
    pub(crate) namespace: String,
    /// The node's labels that some selector or match in the mesh asks for.
    pub(crate) labels: Labels,
    pub(crate) locality: NodeLocality,
    pub(crate) domain: String,
    pub(crate) weft: bool,
    pub(crate) interception_mode: InterceptionMode,
    pub(crate) http10: bool,
    /// The service account of a gateway whose workload the mesh knows, so that `labels` are what
    /// its object says; nothing for sidecars.
    pub(crate) known_account: Option<Arc<str>>,
}

impl ScopeKey {
    /// The key of a node. Gateways are few and selected by label, so they keep all of theirs.
    pub(crate) fn of(
        node: &Node,
        workload: Option<&Workload>,
        selected_labels: &BTreeSet<String>,
    ) -> Self {
        let relevant = |key: &str| node.kind == NodeKind::Router || selected_labels.contains(key);
        Self {
            kind: node.kind,
            namespace: node.namespace.clone(),
            labels: node
                .labels
                .iter()
                .filter(|(key, _)| relevant(key))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
            locality: node.locality.clone(),
            domain: node.domain.clone(),
            weft: node.is_weft(),
            interception_mode: node.interception_mode,
            http10: node.http10,
            known_account: workload
                .filter(|_| node.kind == NodeKind::Router)
                .map(|workload| Arc::clone(&workload.identity.service_account)),
        }
    }
}

/// The mesh as one group of proxies sees it.
#[derive(Debug)]
pub(crate) struct Scope {
    pub(crate) key: ScopeKey,
    pub(crate) mesh: Arc<MeshConfig>,
    pub(crate) outbound_policy: OutboundPolicy,
    /// One service per host, in the order of hosts.
    services: BTreeMap<Hostname, Arc<Service>>,
    virtual_services: VirtualServices,
    destination_rules: DestinationRules,
    sidecar: Option<sidecar::Egress>,
}

impl Scope {
    /// What proxies with this key see of a snapshot.
    pub(crate) fn new(snapshot: &Snapshot, key: ScopeKey) -> Self {
        let object = sidecar::select(snapshot, &key);
        let sidecar = object.as_deref().and_then(sidecar::Egress::of);
        let outbound_policy = object
            .as_ref()
            .and_then(|object| object.outbound_policy)
            .unwrap_or(snapshot.mesh.outbound_policy);
        let services = visible_services(snapshot, &key, sidecar.as_ref());
        Self {
            virtual_services: VirtualServices::new(snapshot, &key),
            destination_rules: DestinationRules::new(snapshot, &key),
            mesh: Arc::clone(&snapshot.mesh),
            services,
            sidecar,
            outbound_policy,
            key,
        }
    }

    /// All services, in the order of hosts.
    pub(crate) fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.services.values()
    }

    /// The service of a host.
    pub(crate) fn service(&self, host: &Hostname) -> Option<&Arc<Service>> {
        self.services.get(host)
    }

    /// Whether the proxy's Sidecar lets a port of a service through.
    pub(crate) fn allows_port(&self, service: &Service, port: u16) -> bool {
        self.sidecar
            .as_ref()
            .is_none_or(|sidecar| sidecar.allows(service, Some(port)))
    }

    /// What destination rules say about a service.
    pub(crate) fn rule(&self, service: &Service) -> Option<Rule> {
        self.destination_rules.rule(service)
    }

    /// The virtual services.
    pub(crate) fn virtual_services(&self) -> &VirtualServices {
        &self.virtual_services
    }

    /// Whether a client match by labels and namespace covers these proxies.
    pub(crate) fn is_client(&self, labels: &Labels, namespace: Option<&str>) -> bool {
        if self.key.kind == NodeKind::Router {
            return true;
        }
        Selector::new(labels.clone()).matches(&self.key.labels)
            && namespace.is_none_or(|namespace| namespace == self.key.namespace)
    }
}

/// The keys of all labels that anything in the mesh selects clients by.
pub(crate) fn selected_labels(snapshot: &Snapshot) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    let mut add = |labels: &Labels| keys.extend(labels.iter().map(|(key, _)| key.to_owned()));
    for rule in snapshot.virtual_services.values().flatten() {
        for route in &rule.http {
            route.matches.iter().for_each(|m| add(&m.source_labels));
        }
        for route in &rule.tls {
            route.matches.iter().for_each(|m| add(&m.l4.source_labels));
        }
        for route in &rule.tcp {
            route.matches.iter().for_each(|m| add(&m.source_labels));
        }
    }
    let rules = snapshot.destination_rules.values().flatten();
    for selector in rules.filter_map(|rule| rule.workload_selector.as_ref()) {
        add(selector.labels());
    }
    let sidecars = snapshot.sidecars.values().flatten();
    for selector in sidecars.filter_map(|sidecar| sidecar.workload_selector.as_ref()) {
        add(selector.labels());
    }
    let telemetries = snapshot.telemetries.values().flatten();
    for selector in telemetries.filter_map(|telemetry| telemetry.selector.as_ref()) {
        add(selector.labels());
    }
    keys
}

/// One service for each host: the own namespace's, else Kubernetes' own, else the oldest.
fn visible_services(
    snapshot: &Snapshot,
    key: &ScopeKey,
    sidecar: Option<&sidecar::Egress>,
) -> BTreeMap<Hostname, Arc<Service>> {
    let mut services: BTreeMap<Hostname, Arc<Service>> = BTreeMap::new();
    for service in snapshot.services.values() {
        let visible = service.visibility.includes(&key.namespace)
            && sidecar.is_none_or(|sidecar| sidecar.allows(service, None));
        if !visible {
            continue;
        }
        let best = services
            .entry(service.hostname.clone())
            .or_insert_with(|| Arc::clone(service));
        if rank(service, key) < rank(best, key) {
            *best = Arc::clone(service);
        }
    }
    services
}

fn rank<'s>(service: &'s Service, key: &ScopeKey) -> (bool, bool, (i64, &'s str, &'s str)) {
    let foreign = service.meta.namespace() != key.namespace;
    (
        foreign,
        service.registry != Registry::Kubernetes,
        service.meta.age_order(),
    )
}

/// The key of a service's endpoints.
pub(crate) fn service_key(service: &Service) -> ServiceKey {
    ServiceKey::of(service)
}
