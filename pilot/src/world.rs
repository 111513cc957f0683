//! One snapshot with everything that was generated from it.
//!
//! Resources are computed when a proxy first needs them, once for each group of proxies that see
//! the same ([`group`], [`view`]) and for each proxy what is its own ([`own`]). From world to world
//! everything is kept that was made of nothing that changed ([`delta`]).

mod collector;
pub(crate) mod delta;
mod facts;
mod generate;
mod group;
mod own;
mod routes;
mod secrets;
mod view;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use mesh_api::snapshot::Snapshot;
use mesh_api::workload::Workload;
use xds::delta::{ResourceMap, Subscription};
use xds::envoy::cluster::Cluster;
use xds::type_url::ResourceType;

use self::collector::WorkCollector;
use self::delta::Delta;
use self::facts::Facts;
use self::group::{Group, Groups, Seen};
use self::own::{Own, OwnInputs};
use self::secrets::Readable;
use crate::cache::GeneratorCache;
pub use crate::cache::Work;
use crate::caller::Caller;
use crate::node::Node;
use crate::scope::{Relevant, ScopeKey};
use crate::{cds, eds, lds, rds, sds};

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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

/// What successive worlds share.
#[derive(Debug, Default)]
struct Kept {
    generators: Generators,
    groups: Groups,
    work: Work,
}

/// Worlds whose difference from the one before is known: a proxy or a group that is further behind
/// is compared as a whole.
const DELTAS_KEPT: usize = 64;

/// A snapshot and what was generated from it.
#[derive(Debug)]
pub struct World {
    number: u64,
    snapshot: Arc<Snapshot>,
    kept: Arc<Kept>,
    facts: Facts,
    /// The last ends with this world.
    deltas: VecDeque<Arc<Delta>>,
}

impl World {
    /// The first world.
    pub fn new(snapshot: Arc<Snapshot>) -> Self {
        let kept = Arc::<Kept>::default();
        Self {
            number: 1,
            facts: Facts::new(&snapshot, &kept.work),
            snapshot,
            kept,
            deltas: VecDeque::new(),
        }
    }

    /// The world after this one.
    pub fn next(&self, snapshot: Arc<Snapshot>) -> Self {
        let delta = Delta::new(&self.snapshot, &snapshot);
        let facts = match delta.everything {
            true => Facts::new(&snapshot, &self.kept.work),
            false => self.facts.next(&delta, &self.kept.work),
        };
        self.kept.groups.sweep();
        let mut deltas = self.deltas.clone();
        deltas.push_back(Arc::new(delta));
        if deltas.len() > DELTAS_KEPT {
            deltas.pop_front();
        }
        Self {
            number: self.number + 1,
            snapshot,
            kept: Arc::clone(&self.kept),
            facts,
            deltas,
        }
    }

    /// What changed since an earlier world, oldest first; nothing if that is not known.
    fn since(&self, world: u64) -> Option<impl Iterator<Item = &Delta>> {
        let count = usize::try_from(self.number.checked_sub(world)?).ok()?;
        let first = self.deltas.len().checked_sub(count)?;
        Some(self.deltas.range(first..).map(|delta| &**delta))
    }

    /// The number of the world, counted from the start of the control plane.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The snapshot.
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// What was done for this world and those before.
    pub fn work(&self) -> &Work {
        &self.kept.work
    }

    /// The same as metrics.
    pub(crate) fn work_collector(&self) -> WorkCollector {
        WorkCollector(Arc::clone(&self.kept))
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
        let same_node = before.filter(|before| before.is_of(workload, &self.facts));
        let node = caller.node_of(workload);
        let group = match same_node {
            Some(before) => Arc::clone(&before.group),
            None => {
                let workload = workload.map(|workload| &**workload);
                let key = ScopeKey::of(&node, workload, &self.facts.relevant);
                self.kept.groups.of(key)
            }
        };
        let seen = group.see(self);
        let claimed = node.ips.first();
        let claimed = claimed.and_then(|ip| self.snapshot.workloads.get(ip));
        let served = workload.or(claimed);
        let unchanged = same_node
            .filter(|before| same(before.served.as_ref(), served))
            .filter(|before| self.leaves_own(before, &node));
        let own = match unchanged {
            Some(before) => Arc::clone(&before.own),
            None => {
                let inputs = OwnInputs::of(self, &node, served, &seen.view);
                match before.filter(|before| before.own.inputs == inputs) {
                    Some(before) => Arc::clone(&before.own),
                    None => Arc::new(Own::new(self, inputs)),
                }
            }
        };
        Arc::new(ProxyResources {
            world: self.number,
            workload: workload.cloned(),
            served: served.cloned(),
            relevant: Arc::clone(&self.facts.relevant),
            group,
            seen,
            own,
            readable,
        })
    }

    /// Whether nothing changed that a proxy's own resources are made from.
    fn leaves_own(&self, before: &ProxyResources, node: &Node) -> bool {
        let root = &self.snapshot.mesh.root_namespace;
        let deltas = self.since(before.world);
        deltas
            .is_some_and(|mut deltas| deltas.all(|delta| !delta.touches_own(&node.namespace, root)))
    }
}

/// Everything that one proxy is to have.
#[derive(Debug)]
pub struct ProxyResources {
    world: u64,
    workload: Option<Arc<Workload>>,
    /// The workload whose ports are the proxy's own.
    served: Option<Arc<Workload>>,
    relevant: Arc<Relevant>,
    group: Arc<Group>,
    seen: Seen,
    own: Arc<Own>,
    readable: Readable,
}

impl ProxyResources {
    /// Whether the proxy, as it is known, is still in its group.
    fn is_of(&self, workload: Option<&Arc<Workload>>, facts: &Facts) -> bool {
        same(self.workload.as_ref(), workload) && Arc::ptr_eq(&self.relevant, &facts.relevant)
    }

    /// The number of the world that they belong to.
    pub fn world(&self) -> u64 {
        self.world
    }

    /// The resources of a type, in layers of different names.
    pub fn layers(&self, resource_type: ResourceType) -> Vec<&ResourceMap> {
        let view = &self.seen.view;
        if resource_type == ResourceType::Secret {
            return view.secrets.layers(&self.readable);
        }
        let layers = [
            view.resources(resource_type),
            self.own.resources(resource_type),
        ];
        layers.into_iter().flatten().collect()
    }

    /// Namespaces whose Secrets the proxy must be allowed to list before it gets all the
    /// credentials that it wants.
    pub fn guarded_namespaces(&self, wanted: &Subscription) -> BTreeSet<Arc<str>> {
        self.seen.view.secrets.guarded(wanted)
    }

    /// Namespaces whose Secrets the proxy may list.
    pub fn readable_namespaces(&self) -> &BTreeSet<Arc<str>> {
        &self.readable
    }

    /// What of a type may differ from what a proxy with `before` was to have.
    pub fn change_since(&self, before: &Self, resource_type: ResourceType) -> Change {
        let (view, earlier) = (&self.seen.view, &before.seen.view);
        if resource_type == ResourceType::Secret {
            let same =
                Arc::ptr_eq(&view.secrets, &earlier.secrets) && self.readable == before.readable;
            return if same {
                Change::Nothing
            } else {
                Change::Unknown
            };
        }
        let of_view = match (
            Arc::ptr_eq(view, earlier),
            Arc::ptr_eq(&self.group, &before.group),
        ) {
            (true, _) => Change::Nothing,
            (false, true) => view.change_since(before.seen.world, resource_type),
            (false, false) => Change::Unknown,
        };
        if Arc::ptr_eq(&self.own, &before.own) {
            return of_view;
        }
        of_view.and(self.own.change_since(&before.own, resource_type))
    }
}

fn same<T>(before: Option<&Arc<T>>, after: Option<&Arc<T>>) -> bool {
    match (before, after) {
        (None, None) => true,
        (Some(before), Some(after)) => Arc::ptr_eq(before, after),
        _ => false,
    }
}

/// A difference between worlds.
#[derive(Clone, Debug)]
pub enum Change {
    /// None.
    Nothing,
    /// Resources of these names are new, changed or gone.
    Names(Vec<Arc<str>>),
    /// Anything: compare.
    Unknown,
}

impl Change {
    /// Names that changed.
    fn of(names: Vec<Arc<str>>) -> Self {
        match names.is_empty() {
            true => Self::Nothing,
            false => Self::Names(names),
        }
    }

    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
            (Self::Nothing, change) | (change, Self::Nothing) => change,
            (Self::Names(mut names), Self::Names(more)) => {
                names.extend(more);
                Self::Names(names)
            }
        }
    }
}
