//! What a proxy has, by the versions of its resources.

use std::collections::BTreeMap;
use std::sync::Arc;

use xds::type_url::ResourceType;
use xds::version::Version;

use crate::world::{Change, ProxyResources};

pub(super) type Versions = BTreeMap<(ResourceType, Arc<str>), Version>;

pub(super) fn versions(resources: &ProxyResources) -> Versions {
    let mut versions = Versions::new();
    for resource_type in ResourceType::ALL {
        for resource in resources
            .layers(resource_type)
            .iter()
            .flat_map(|layer| layer.values())
        {
            let name = Arc::clone(resource.name());
            versions.insert((resource_type, name), resource.version());
        }
    }
    versions
}

/// What a client has that is sent what a change names.
pub(super) fn updated(
    mut has: Versions,
    before: &ProxyResources,
    after: &ProxyResources,
) -> Versions {
    let due = versions(after);
    for resource_type in ResourceType::ALL {
        match after.change_since(before, resource_type) {
            Change::Nothing => {}
            Change::Names(names) => {
                for name in names {
                    let key = (resource_type, name);
                    match due.get(&key) {
                        Some(version) => drop(has.insert(key, *version)),
                        None => drop(has.remove(&key)),
                    }
                }
            }
            Change::Unknown => {
                has.retain(|(of_type, _), _| *of_type != resource_type);
                let of_type = due
                    .iter()
                    .filter(|((of_type, _), _)| *of_type == resource_type);
                has.extend(of_type.map(|(key, version)| (key.clone(), *version)));
            }
        }
    }
    has
}
