//! What a group of proxies shares: everything but the resources about their own workloads.

use std::sync::Arc;

use mesh_api::service::Service;
use xds::delta::ResourceMap;
use xds::type_url::ResourceType;

use super::generate::Generate;
use super::secrets::Secrets;
use super::{Change, World};
use crate::cds::{self, Discovery};
use crate::node::NodeKind;
use crate::scope::{Scope, ScopeKey};

/// The shared resources.
#[derive(Debug)]
pub(crate) struct View {
    pub(super) scope: Arc<Scope>,
    clusters: Part,
    assignments: Part,
    listeners: Part,
    routes: Part,
    /// The same as in the view before if none changed.
    pub(super) secrets: Arc<Secrets>,
}

/// The resources of one type, and how they differ from those of the view before.
#[derive(Debug)]
struct Part {
    resources: Arc<ResourceMap>,
    difference: Option<Difference>,
}

#[derive(Debug, Default)]
struct Difference {
    /// New or changed.
    names: Vec<Arc<str>>,
    /// Whether something is gone.
    removals: bool,
}

impl Part {
    fn new(resources: ResourceMap, base: Option<&Self>) -> Self {
        let Some(base) = base else {
            return Self {
                resources: Arc::new(resources),
                difference: None,
            };
        };
        let before = &base.resources;
        let changed = resources.iter().filter(|(name, resource)| {
            before
                .get(*name)
                .is_none_or(|before| before.version() != resource.version())
        });
        let difference = Difference {
            names: changed.map(|(name, _)| Arc::clone(name)).collect(),
            removals: before.keys().any(|name| !resources.contains_key(name)),
        };
        Self {
            resources: Arc::new(resources),
            difference: Some(difference),
        }
    }

    fn unchanged(base: &Self) -> Self {
        let resources = Arc::clone(&base.resources);
        Self {
            resources,
            difference: Some(Difference::default()),
        }
    }
}

impl View {
    /// Computes everything; `base` is the view before.
    pub(super) fn new(world: &World, key: ScopeKey, base: Option<&Self>) -> Self {
        let scope = Arc::new(Scope::new(&world.snapshot, key));
        let generate = Generate {
            world,
            scope: &scope,
        };
        let (clusters, assignments) = generate.clusters();
        let ((listeners, routes), secrets) = match scope.key.kind {
            NodeKind::Sidecar => (
                (generate.listeners(), generate.routes()),
                Secrets::default(),
            ),
            NodeKind::Router => (generate.gateway(), Secrets::new(world, &scope.key)),
        };
        let same = base.filter(|base| *base.secrets == secrets);
        Self {
            clusters: Part::new(clusters, base.map(|base| &base.clusters)),
            assignments: Part::new(assignments, base.map(|base| &base.assignments)),
            listeners: Part::new(listeners, base.map(|base| &base.listeners)),
            routes: Part::new(routes, base.map(|base| &base.routes)),
            secrets: same.map_or_else(|| Arc::new(secrets), |base| Arc::clone(&base.secrets)),
            scope,
        }
    }

    /// Computes anew what depends on the endpoints that changed.
    pub(super) fn with_endpoints(world: &World, base: &Self) -> Self {
        let scope = &base.scope;
        let changed: Vec<&Arc<Service>> = world
            .snapshot
            .changes
            .endpoints
            .iter()
            .filter_map(|key| scope.service(&key.hostname))
            .collect();
        // Names inside of clusters and pods' own listeners come from endpoints as well.
        let beyond_assignments = changed.iter().any(|service| {
            service.is_headless()
                || cds::discovery(service, scope.key.kind == NodeKind::Router) != Discovery::Eds
        });
        if beyond_assignments {
            return Self::new(world, scope.key.clone(), Some(base));
        }
        let generate = Generate { world, scope };
        let mut assignments = ResourceMap::clone(&base.assignments.resources);
        let mut difference = Difference::default();
        for service in changed {
            for inputs in generate.service_clusters(service) {
                let (name, resource) = generate.assignment(&inputs);
                let version = resource.version();
                let before = assignments.insert(Arc::clone(&name), resource);
                if before.is_none_or(|before| before.version() != version) {
                    difference.names.push(name);
                }
            }
        }
        Self {
            scope: Arc::clone(scope),
            clusters: Part::unchanged(&base.clusters),
            assignments: Part {
                resources: Arc::new(assignments),
                difference: Some(difference),
            },
            listeners: Part::unchanged(&base.listeners),
            routes: Part::unchanged(&base.routes),
            secrets: Arc::clone(&base.secrets),
        }
    }

    pub(super) fn resources(&self, resource_type: ResourceType) -> Option<&ResourceMap> {
        Some(&self.part(resource_type)?.resources)
    }

    /// How the resources of a type differ from those of the view before.
    pub(super) fn change(&self, resource_type: ResourceType) -> Change<'_> {
        let Some(part) = self.part(resource_type) else {
            return Change::Nothing;
        };
        match &part.difference {
            None => Change::Unknown,
            Some(difference) if difference.names.is_empty() && !difference.removals => {
                Change::Nothing
            }
            Some(Difference { names, removals }) => Change::Names {
                names,
                removals: *removals,
            },
        }
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
