//! Which object each service is taken from. Of two objects that register the same
//! host in one namespace the older wins, and a Kubernetes Service goes before a
//! ServiceEntry.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mesh_api::resource::ResourceKey;
use mesh_api::service::Service;
use mesh_api::snapshot::ServiceKey;

use super::services_of;
use crate::object::Object;

/// The objects that register each service, the one that wins first.
#[derive(Debug, Default)]
pub(super) struct Registry {
    claims: BTreeMap<ServiceKey, BTreeSet<Claim>>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    external: bool,
    creation_seconds: i64,
    name: Arc<str>,
    object: ResourceKey,
}

impl Claim {
    fn of(service: &Service) -> Self {
        Self {
            external: service.registry == mesh_api::service::Registry::External,
            creation_seconds: service.meta.creation_seconds,
            name: service.meta.key.name.clone(),
            object: service.meta.key.clone(),
        }
    }
}

impl Registry {
    /// Replaces what an object registers. The services that another object has now, or none.
    pub(super) fn update(
        &mut self,
        key: &ResourceKey,
        before: Option<&Arc<Object>>,
        after: Option<&Arc<Object>>,
    ) -> BTreeSet<ServiceKey> {
        let claims = |object: Option<&Arc<Object>>| -> BTreeSet<(ServiceKey, Claim)> {
            let services = object.map_or(&[][..], |object| services_of(object));
            let claims = services.iter();
            claims
                .map(|service| (ServiceKey::of(service), Claim::of(service)))
                .collect()
        };
        let (old, new) = (claims(before), claims(after));
        let mut held: BTreeMap<ServiceKey, Option<ResourceKey>> = BTreeMap::new();
        for (service, claim) in old.symmetric_difference(&new) {
            let source = self.source(service).cloned();
            held.entry(service.clone()).or_insert(source);
            match new.contains(&(service.clone(), claim.clone())) {
                true => self.add(service, claim),
                false => self.remove(service, claim),
            }
        }
        // A service that is new, or that this object goes on to have, is computed with it.
        let moved = held.into_iter().filter(|(service, source)| {
            let now = self.source(service);
            now != source.as_ref() && !(source.is_none() && now == Some(key))
        });
        moved.map(|(service, _)| service).collect()
    }

    /// The object that a service is taken from.
    pub(super) fn source(&self, service: &ServiceKey) -> Option<&ResourceKey> {
        let first = self.claims.get(service)?.first()?;
        Some(&first.object)
    }

    fn add(&mut self, service: &ServiceKey, claim: &Claim) {
        let claims = self.claims.entry(service.clone()).or_default();
        claims.insert(claim.clone());
    }

    fn remove(&mut self, service: &ServiceKey, claim: &Claim) {
        if let Some(claims) = self.claims.get_mut(service) {
            claims.remove(claim);
            if claims.is_empty() {
                self.claims.remove(service);
            }
        }
    }
}
