//! What a group of proxies shares: everything but the resources about their own workloads.

mod dirty;
mod part;

use std::collections::BTreeSet;
use std::sync::Arc;

use mesh_api::service::Service;
use xds::delta::{ResourceMap, SharedResource};
use xds::type_url::ResourceType;

use self::dirty::Dirty;
use self::part::Part;
use super::generate::Generate;
use super::group::Seen;
use super::routes::Routes;
use super::secrets::Secrets;
use super::{Change, World};
use crate::cache::insert;
use crate::node::NodeKind;
use crate::scope::{Scope, ScopeKey};

pub(super) use self::part::difference;

/// The shared resources.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(super) scope: Scope,
    clusters: Part,
    assignments: Part,
    listeners: Part,
    routes: Part,
    /// What the route configurations of sidecars are put together from.
    hosts: Routes,
    /// The same for gateways.
    gateway_hosts: Vec<SharedResource>,
    /// The same as in the view before if none changed.
    pub(super) secrets: Arc<Secrets>,
}

impl View {
    /// Computes everything; `base` is what the group saw before.
    pub(super) fn new(world: &World, key: ScopeKey, base: Option<&Self>) -> Self {
        let snapshot = &world.snapshot;
        let rules = snapshot.virtual_services.values().map(|of| of.len());
        let policies = snapshot.destination_rules.values().map(|of| of.len());
        let objects = rules.chain(policies).sum::<usize>() + snapshot.services.len();
        world.work().visit(objects);
        let scope = Scope::new(snapshot, key);
        let generate = Generate {
            world,
            scope: &scope,
        };
        let (clusters, assignments) = generate.clusters();
        let mut hosts = Routes::default();
        let mut gateway_hosts = Vec::new();
        let mut secrets = Secrets::default();
        let (listeners, routes) = match scope.key.kind {
            NodeKind::Sidecar => {
                hosts = Routes::new(&generate);
                let mut routes = ResourceMap::new_sync();
                let composed = hosts
                    .names()
                    .filter_map(|name| hosts.compose(&generate, name));
                composed.for_each(|route| insert(&mut routes, route));
                (generate.listeners(), routes)
            }
            NodeKind::Router => {
                secrets = Secrets::new(world, &scope.key);
                generate.gateway(&mut gateway_hosts)
            }
        };
        let same = base.filter(|base| *base.secrets == secrets);
        let part =
            |resources, of: fn(&Self) -> &Part| Part::new(world.number, resources, base.map(of));
        Self {
            clusters: part(clusters, |base| &base.clusters),
            assignments: part(assignments, |base| &base.assignments),
            listeners: part(listeners, |base| &base.listeners),
            routes: part(routes, |base| &base.routes),
            secrets: same.map_or_else(|| Arc::new(secrets), |base| Arc::clone(&base.secrets)),
            hosts,
            gateway_hosts,
            scope,
        }
    }

    /// Makes anew what was made of something that changed since.
    pub(super) fn next(world: &World, seen: &Seen) -> Arc<Self> {
        let base = &seen.view;
        let all = || Arc::new(Self::new(world, base.scope.key.clone(), Some(base)));
        let Some(deltas) = world.since(seen.world) else {
            return all();
        };
        let mut scope = base.scope.clone();
        let mut dirty = Dirty::default();
        for delta in deltas {
            dirty.add(world, &mut scope, &base.hosts, delta);
        }
        if dirty.everything {
            return all();
        }
        if dirty.is_clean() {
            return Arc::clone(base);
        }
        let mut next = Self {
            scope,
            ..Self::clone(base)
        };
        next.renew(world, base, dirty);
        Arc::new(next)
    }

    fn renew(&mut self, world: &World, base: &Self, dirty: Dirty) {
        let scope = self.scope.clone();
        let generate = Generate {
            world,
            scope: &scope,
        };
        self.renew_clusters(world, base, &generate, &dirty.clusters);
        self.renew_assignments(&generate, &dirty.endpoints);
        let number = world.number;
        if dirty.listeners {
            self.listeners = Part::new(number, generate.listeners(), Some(&base.listeners));
        }
        let changed = self.hosts.renew(&generate, dirty.hosts);
        let composed = changed
            .iter()
            .filter_map(|name| self.hosts.compose(&generate, name));
        self.routes.replace(number, composed.collect(), Vec::new());
        if dirty.gateway {
            self.gateway_hosts.clear();
            let (listeners, routes) = generate.gateway(&mut self.gateway_hosts);
            self.listeners = Part::new(number, listeners, Some(&base.listeners));
            self.routes = Part::new(number, routes, Some(&base.routes));
            let secrets = Secrets::new(world, &scope.key);
            if secrets != *self.secrets {
                self.secrets = Arc::new(secrets);
            }
        }
    }

    /// The clusters of services whose rules changed, with their assignments.
    fn renew_clusters(
        &mut self,
        world: &World,
        base: &Self,
        generate: &Generate<'_>,
        services: &BTreeSet<mesh_api::hostname::Hostname>,
    ) {
        let earlier = Generate {
            world,
            scope: &base.scope,
        };
        let (mut clusters, mut assignments) = (Vec::new(), Vec::new());
        let mut gone: BTreeSet<Arc<str>> = BTreeSet::new();
        for service in services
            .iter()
            .filter_map(|host| generate.scope.service(host))
        {
            let before = earlier.service_clusters(service);
            gone.extend(before.iter().map(|cluster| Arc::from(cluster.name())));
            let (of_service, with_assignments) = generate.of_service(service);
            clusters.extend(of_service);
            assignments.extend(with_assignments);
        }
        let without = |made: &[SharedResource]| -> Vec<Arc<str>> {
            let made: BTreeSet<_> = made.iter().map(SharedResource::name).collect();
            let gone = gone.iter().filter(|name| !made.contains(name));
            gone.cloned().collect()
        };
        let (gone_clusters, gone_assignments) = (without(&clusters), without(&assignments));
        self.clusters.replace(world.number, clusters, gone_clusters);
        self.assignments
            .replace(world.number, assignments, gone_assignments);
    }

    fn renew_assignments(
        &mut self,
        generate: &Generate<'_>,
        services: &BTreeSet<mesh_api::hostname::Hostname>,
    ) {
        let services = services
            .iter()
            .filter_map(|host| generate.scope.service(host));
        let assignments =
            services.flat_map(|service: &Arc<Service>| generate.of_service(service).1);
        let assignments = assignments.collect();
        let number = generate.world.number;
        self.assignments.replace(number, assignments, Vec::new());
    }

    pub(super) fn resources(&self, resource_type: ResourceType) -> Option<&ResourceMap> {
        Some(self.part(resource_type)?.resources())
    }

    /// How the resources of a type differ from those that the group saw in an earlier world.
    pub(super) fn change_since(&self, world: u64, resource_type: ResourceType) -> Change {
        let part = self.part(resource_type);
        part.map_or(Change::Nothing, |part| part.change_since(world))
    }

    fn part(&self, resource_type: ResourceType) -> Option<&Part> {
        match resource_type {
            ResourceType::Cluster => Some(&self.clusters),
            ResourceType::Endpoint => Some(&self.assignments),
            ResourceType::Listener => Some(&self.listeners),
            ResourceType::Route => Some(&self.routes),
            // What each proxy gets of these is decided for it alone.
            ResourceType::Secret => None,
            ResourceType::VirtualHost | ResourceType::ExtensionConfig => None,
        }
    }
}
