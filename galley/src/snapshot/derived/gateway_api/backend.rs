//! Where references of routes lead.

use mesh_api::resource::{Meta, ResourceKey};
use mesh_api::route::{Destination, WeightedDestination};

use super::listener::Reason;
use crate::kinds::gateway_api::Backend;
use crate::snapshot::derived::world::World;

/// Whether all references of a route lead somewhere.
pub(super) fn resolve<'a>(
    route: &Meta,
    backends: impl IntoIterator<Item = &'a Backend>,
    world: &World<'_>,
) -> Result<(), Reason> {
    for backend in backends {
        destination(route, backend, world)?;
    }
    Ok(())
}

/// Backends by weight. The share of one that does not resolve leads nowhere.
pub(super) fn weighted(
    route: &Meta,
    backends: &[Backend],
    world: &World<'_>,
) -> Vec<WeightedDestination> {
    let backends = backends.iter().filter(|backend| backend.weight > 0);
    let weighted = backends.map(|backend| WeightedDestination {
        destination: destination(route, backend, world).unwrap_or_else(|_| Destination::nowhere()),
        weight: backend.weight,
        headers: backend.headers.clone(),
    });
    weighted.collect()
}

/// True if no destination is one.
pub(super) fn leads_nowhere(destinations: &[WeightedDestination]) -> bool {
    destinations.iter().all(|one| one.destination.is_nowhere())
}

/// The service behind a reference.
pub(super) fn destination(
    route: &Meta,
    backend: &Backend,
    world: &World<'_>,
) -> Result<Destination, Reason> {
    let to = &backend.to;
    let (namespace, name) = (&to.namespace, &to.name);
    if (&*to.group, &*to.kind) != ("", "Service") {
        let message = format!("backends of kind {} are not supported", to.kind);
        return Err(("InvalidKind", message));
    }
    if !world.permit(&route.key.kind, route.namespace(), to) {
        let message = format!("no ReferenceGrant for Service \"{namespace}/{name}\"");
        return Err(("RefNotPermitted", message));
    }
    let key = ResourceKey::new("Service", namespace, name);
    let Some(service) = world.service(&key) else {
        return Err(("BackendNotFound", format!("{key} does not exist")));
    };
    let Some(port) = backend.port else {
        let message = format!("a port of {key} is required");
        return Err(("UnsupportedValue", message));
    };
    if service.port(port).is_none() {
        return Err(("BackendNotFound", format!("{key} has no port {port}")));
    }
    Ok(Destination {
        host: service.hostname.clone(),
        subset: None,
        port: Some(port),
    })
}
