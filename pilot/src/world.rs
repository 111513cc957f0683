//! One snapshot with everything that was generated from it.
//!
//! Resources are computed when a proxy first needs them, once for each group of proxies that see
//! the same ([`view`]) and for each proxy what is its own ([`own`]). A world that differs from
//! its predecessor by endpoints alone takes over everything but load assignments.

mod generate;
mod own;
mod secrets;
mod view;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use mesh_api::service::Service;
use mesh_api::snapshot::Snapshot;
use xds::delta::{ResourceMap, Subscription};
use xds::envoy::cluster::Cluster;
use xds::type_url::ResourceType;

use self::own::{Own, OwnInputs};
use self::secrets::Readable;
use self::view::View;
use crate::cache::{CacheContext, GeneratorCache};
use crate::caller::Caller;
use crate::eds::MtlsDisabled;
use crate::scope::{ScopeKey, selected_labels};
use crate::{cds, eds, lds, policy, rds, sds};

/// The caches of all generators, shared by successive worlds.
#[derive(Debug, Default)]
pub(crate) struct Generators {
    pub(crate) clusters: GeneratorCache<cds::Inputs>,
    pub(crate) static_clusters: GeneratorCache<StaticCluster>,
    pub(crate) inbound_clusters: GeneratorCache<cds::Inbound>,
    pub(crate) assignments: GeneratorCache<eds::Inputs>,
    pub(crate) outbound_listeners: GeneratorCache<lds::outbound::Inputs>,
    pub(crate) virtual_outbound: GeneratorCache<lds::outbound::VirtualInputs>,
    pub(crate) virtual_inbound: GeneratorCache<lds::inbound::Inputs>,
    pub(crate) gateway_listeners: GeneratorCache<lds::gateway::Inputs>,
    pub(crate) virtual_hosts: GeneratorCache<rds::virtual_host::Inputs>,
    pub(crate) route_configurations: GeneratorCache<Vec<xds::version::Version>>,
    pub(crate) secrets: GeneratorCache<sds::Inputs>,
}

/// A cluster that depends on nothing but mesh-wide settings.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StaticCluster {
    /// How it is made.
    pub(crate) kind: StaticKind,
    /// From what.
    pub(crate) mesh: crate::shared::Shared<mesh_api::mesh_config::MeshConfig>,
}

/// The clusters that every proxy has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StaticKind {
    Passthrough,
    BlackHole,
    InboundPassthrough,
}

impl StaticCluster {
    pub(crate) fn generate(&self) -> Cluster {
        match self.kind {
            StaticKind::Passthrough => cds::passthrough(&self.mesh),
            StaticKind::BlackHole => cds::black_hole(&self.mesh),
            StaticKind::InboundPassthrough => cds::inbound_passthrough(&self.mesh),
        }
    }
}

impl Generators {
    fn sweep(&self, generation: u64) {
        self.clusters.sweep(generation);
        self.static_clusters.sweep(generation);
        self.inbound_clusters.sweep(generation);
        self.assignments.sweep(generation);
        self.outbound_listeners.sweep(generation);
        self.virtual_outbound.sweep(generation);
        self.virtual_inbound.sweep(generation);
        self.gateway_listeners.sweep(generation);
        self.virtual_hosts.sweep(generation);
        self.route_configurations.sweep(generation);
        self.secrets.sweep(generation);
    }
}

/// Views by what they see; each is computed by whoever needs it first, while the others wait.
type Views = HashMap<ScopeKey, Arc<OnceLock<Arc<View>>>>;

/// What a world takes over from the one before.
#[derive(Default)]
struct Before {
    views: Views,
    endpoints_only: bool,
}

/// A snapshot and what was generated from it.
#[derive(Debug)]
pub struct World {
    number: u64,
    snapshot: Arc<Snapshot>,
    generators: Arc<Generators>,
    context: CacheContext,
    selected_labels: BTreeSet<String>,
    mtls_disabled: Arc<Vec<MtlsDisabled>>,
    /// Services with selectors by namespace, oldest first: each proxy looks for its own.
    selecting_services: BTreeMap<Arc<str>, Vec<Arc<Service>>>,
    views: Mutex<Views>,
    /// The views of the world before.
    bases: Views,
    /// Whether nothing but endpoints changed since the world before.
    endpoints_only: bool,
}

impl World {
    /// The first world.
    pub fn new(snapshot: Arc<Snapshot>) -> Self {
        Self::build(1, 1, snapshot, Arc::default(), None)
    }

    /// The world after this one.
    pub fn next(&self, snapshot: Arc<Snapshot>) -> Self {
        let successive = snapshot.version == self.snapshot.version + 1;
        let endpoints_only = successive && snapshot.changes.endpoints_only();
        let generation = self.context.world + u64::from(!endpoints_only);
        if !endpoints_only {
            self.generators.sweep(generation);
        }
        let generators = Arc::clone(&self.generators);
        let before = Before {
            views: self.computed_views(),
            endpoints_only,
        };
        Self::build(
            self.number + 1,
            generation,
            snapshot,
            generators,
            Some(before),
        )
    }

    fn build(
        number: u64,
        generation: u64,
        snapshot: Arc<Snapshot>,
        generators: Arc<Generators>,
        before: Option<Before>,
    ) -> Self {
        let before = before.unwrap_or_default();
        Self {
            number,
            generators,
            context: CacheContext { world: generation },
            selected_labels: selected_labels(&snapshot),
            mtls_disabled: Arc::new(policy::mtls_disabled(&snapshot)),
            selecting_services: selecting_services(&snapshot),
            views: Mutex::default(),
            bases: before.views,
            endpoints_only: before.endpoints_only,
            snapshot,
        }
    }

    /// The number of the world, counted from the start of the control plane.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The snapshot.
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// What a proxy is to have that may list the Secrets of `readable` namespaces; `before` is
    /// what it had in an earlier world.
    pub fn resources(
        &self,
        caller: &Caller,
        readable: BTreeSet<Arc<str>>,
        before: Option<&Arc<ProxyResources>>,
    ) -> Arc<ProxyResources> {
        let workload = caller.workload(&self.snapshot);
        let node = caller.node_of(workload);
        let key = ScopeKey::of(
            &node,
            workload.map(|workload| &**workload),
            &self.selected_labels,
        );
        let view = self.view(&key);
        let inputs = OwnInputs::of(self, &node, workload, &view);
        let own = match before.filter(|before| before.own_inputs == inputs) {
            Some(before) => Arc::clone(&before.own),
            None => Arc::new(Own::new(self, &inputs)),
        };
        Arc::new(ProxyResources {
            world: self.number,
            view,
            own_inputs: inputs,
            own,
            readable,
        })
    }

    fn view(&self, key: &ScopeKey) -> Arc<View> {
        let slot = {
            let mut views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(views.entry(key.clone()).or_default())
        };
        let view = slot.get_or_init(|| {
            let base = self.bases.get(key).and_then(|slot| slot.get());
            Arc::new(match base {
                Some(base) if self.endpoints_only => View::with_endpoints(self, base),
                base => View::new(self, key.clone(), base.map(|base| &**base)),
            })
        });
        Arc::clone(view)
    }

    fn computed_views(&self) -> Views {
        let views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        views.clone()
    }
}

/// A selector without labels selects nothing: such a Service has its endpoints given.
fn selecting_services(snapshot: &Snapshot) -> BTreeMap<Arc<str>, Vec<Arc<Service>>> {
    let mut by_namespace: BTreeMap<Arc<str>, Vec<Arc<Service>>> = BTreeMap::new();
    for service in snapshot.services.values() {
        if service
            .selector
            .as_ref()
            .is_some_and(|selector| !selector.is_empty())
        {
            let namespace = Arc::clone(&service.meta.key.namespace);
            by_namespace
                .entry(namespace)
                .or_default()
                .push(Arc::clone(service));
        }
    }
    for services in by_namespace.values_mut() {
        services.sort_by(|a, b| a.meta.age_order().cmp(&b.meta.age_order()));
    }
    by_namespace
}

/// Everything that one proxy is to have.
#[derive(Debug)]
pub struct ProxyResources {
    world: u64,
    view: Arc<View>,
    own_inputs: OwnInputs,
    own: Arc<Own>,
    readable: Readable,
}

impl ProxyResources {
    /// The number of the world that they belong to.
    pub fn world(&self) -> u64 {
        self.world
    }

    /// The resources of a type, in layers of different names.
    pub fn layers(&self, resource_type: ResourceType) -> Vec<&ResourceMap> {
        if resource_type == ResourceType::Secret {
            return self.view.secrets.layers(&self.readable);
        }
        let layers = [
            self.view.resources(resource_type),
            self.own.resources(resource_type),
        ];
        layers.into_iter().flatten().collect()
    }

    /// Namespaces whose Secrets the proxy must be allowed to list before it gets all the
    /// credentials that it wants.
    pub fn guarded_namespaces(&self, wanted: &Subscription) -> BTreeSet<Arc<str>> {
        self.view.secrets.guarded(wanted)
    }

    /// Namespaces whose Secrets the proxy may list.
    pub fn readable_namespaces(&self) -> &BTreeSet<Arc<str>> {
        &self.readable
    }

    /// What of a type may differ from what a proxy with `before` was to have.
    pub fn change_since(&self, before: &Self, resource_type: ResourceType) -> Change<'_> {
        if resource_type == ResourceType::Secret {
            let same = Arc::ptr_eq(&self.view.secrets, &before.view.secrets)
                && self.readable == before.readable;
            return if same {
                Change::Nothing
            } else {
                Change::Unknown
            };
        }
        let own = |resources: &Self| resources.own.resources(resource_type).is_some();
        if !Arc::ptr_eq(&self.own, &before.own) && (own(self) || own(before)) {
            return Change::Unknown;
        }
        if Arc::ptr_eq(&self.view, &before.view) {
            return Change::Nothing;
        }
        let successive = self.world == before.world + 1;
        if successive {
            self.view.change(resource_type)
        } else {
            Change::Unknown
        }
    }
}

/// A difference between successive worlds.
#[derive(Clone, Copy, Debug)]
pub enum Change<'w> {
    /// None.
    Nothing,
    /// These names are new or changed.
    Names {
        /// The names.
        names: &'w [Arc<str>],
        /// Whether others were removed.
        removals: bool,
    },
    /// Anything: compare.
    Unknown,
}
