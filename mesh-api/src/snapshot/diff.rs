//! What changed between two snapshots, so that work can be proportional to it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::ServiceKey;
use crate::resource::ResourceKey;

/// The difference to the snapshot before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Everything may have changed: the first snapshot, or mesh-wide settings.
    pub full: bool,
    /// Objects that were added, changed or removed, endpoint and pod objects not counted: those that someone wrote,
    /// and the Gateways, VirtualServices and Secrets of the snapshot that were made of them.
    pub objects: BTreeSet<ResourceKey>,
    /// Services whose endpoints changed.
    pub endpoints: BTreeSet<ServiceKey>,
    /// Addresses whose workload changed.
    pub workloads: BTreeSet<IpAddr>,
}

impl Changes {
    /// Nothing but endpoints and workloads changed.
    pub fn endpoints_only(&self) -> bool {
        !self.full && self.objects.is_empty()
    }

    /// Adds what changed later, for a reader that skipped a snapshot.
    pub fn merge(&mut self, later: &Self) {
        self.full |= later.full;
        self.objects.extend(later.objects.iter().cloned());
        self.endpoints.extend(later.endpoints.iter().cloned());
        self.workloads.extend(&later.workloads);
    }
}
