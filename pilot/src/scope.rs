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
use mesh_api::route::VirtualService;
use mesh_api::service::{Registry, Service};
use mesh_api::snapshot::{ServiceKey, Snapshot};
use mesh_api::traffic_policy::DestinationRule;
use mesh_api::workload::Workload;

use self::destination_rules::DestinationRules;
use self::virtual_services::VirtualServices;
use crate::node::{InterceptionMode, Node, NodeKind, NodeLocality};
use crate::world::delta::Changed;

pub(crate) use self::destination_rules::Rule;
pub(crate) use self::virtual_services::has_l4_rules;

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
    /// The machine of the node's workload, where a service of the mesh asks for it: proxies of different machines would
    /// share nothing otherwise.
    pub(crate) node: Option<Arc<str>>,
}

/// What of a node plays a role anywhere in the mesh.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Relevant {
    /// The labels that something selects clients by.
    pub(crate) labels: BTreeSet<String>,
    /// A service has `internalTrafficPolicy: Local`.
    pub(crate) machines: bool,
}

impl ScopeKey {
    /// The key of a node. Gateways are few and selected by label, so they keep all of theirs.
    pub(crate) fn of(node: &Node, workload: Option<&Workload>, relevant: &Relevant) -> Self {
        let selected = |key: &str| node.kind == NodeKind::Router || relevant.labels.contains(key);
        Self {
            kind: node.kind,
            namespace: node.namespace.clone(),
            labels: node
                .labels
                .iter()
                .filter(|(key, _)| selected(key))
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
            node: workload
                .filter(|_| relevant.machines)
                .map(|workload| Arc::clone(&workload.node)),
        }
    }
}

/// The mesh as one group of proxies sees it.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    pub(crate) key: ScopeKey,
    pub(crate) mesh: Arc<MeshConfig>,
    pub(crate) outbound_policy: OutboundPolicy,
    /// One service per host, in the order of hosts.
    services: Arc<BTreeMap<Hostname, Arc<Service>>>,
    virtual_services: VirtualServices,
    destination_rules: DestinationRules,
    sidecar: Option<Arc<sidecar::Egress>>,
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
            services: Arc::new(services),
            sidecar: sidecar.map(Arc::new),
            outbound_policy,
            key,
        }
    }

    /// Takes a changed rule in. Returns the hosts, patterns among them, of which it says something.
    pub(crate) fn apply_destination_rule(
        &mut self,
        change: &Changed<DestinationRule>,
    ) -> BTreeSet<Hostname> {
        self.destination_rules.apply(&self.key, change)
    }

    /// The same for sidecars and a virtual service, of which `snapshot` has the delegates.
    pub(crate) fn apply_virtual_service(
        &mut self,
        snapshot: &Snapshot,
        change: &Changed<VirtualService>,
    ) -> BTreeSet<Hostname> {
        self.virtual_services.apply(snapshot, &self.key, change)
    }

    /// The same for gateways: everything anew.
    pub(crate) fn read_virtual_services(&mut self, snapshot: &Snapshot) {
        self.virtual_services = VirtualServices::new(snapshot, &self.key);
    }

    /// The services that a host covers.
    pub(crate) fn covered<'s>(
        &'s self,
        host: &'s Hostname,
    ) -> impl Iterator<Item = &'s Arc<Service>> {
        let exact = (!host.is_wildcard()).then(|| self.service(host)).flatten();
        let services = host.is_wildcard().then(|| self.services());
        let covered = services.into_iter().flatten();
        let covered = covered.filter(|service| host.covers(&service.hostname));
        exact.into_iter().chain(covered)
    }

    /// All services, in the order of hosts.
    pub(crate) fn services(&self) -> impl ExactSizeIterator<Item = &Arc<Service>> {
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

/// The keys of the labels that a virtual service selects clients by.
pub(crate) fn labels_of_virtual_service(object: &VirtualService) -> Vec<&str> {
    let http = object.http.iter().flat_map(|route| &route.matches);
    let http = http.map(|one| &one.source_labels);
    let tls = object.tls.iter().flat_map(|route| &route.matches);
    let tls = tls.map(|one| &one.l4.source_labels);
    let tcp = object.tcp.iter().flat_map(|route| &route.matches);
    let tcp = tcp.map(|one| &one.source_labels);
    let all = http.chain(tls).chain(tcp);
    all.flat_map(|labels| labels.iter().map(|(key, _)| key))
        .collect()
}

/// The same for a destination rule.
pub(crate) fn labels_of_destination_rule(rule: &DestinationRule) -> Vec<&str> {
    let selector = rule.workload_selector.iter();
    selector
        .flat_map(|selector| selector.labels().iter().map(|(key, _)| key))
        .collect()
}

/// The keys of all labels that objects of other kinds select clients by.
pub(crate) fn labels_of_others(snapshot: &Snapshot) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    let mut add = |labels: &Labels| keys.extend(labels.iter().map(|(key, _)| key.to_owned()));
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
