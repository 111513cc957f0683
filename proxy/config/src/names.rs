//! Gives names their slots. Owned by the control thread; workers only ever see the numbers.

use std::collections::HashMap;
use std::sync::Arc;

use super::{ClusterId, RouteTableId};

/// Slots of cluster and route configuration names, given out in order of first mention.
#[derive(Debug, Default)]
pub struct Names {
    clusters: Interner,
    route_tables: Interner,
}

impl Names {
    /// The slot of a cluster name, new if the name was never mentioned.
    pub fn cluster(&mut self, name: &str) -> ClusterId {
        ClusterId(self.clusters.slot(name))
    }

    /// The slot of a route configuration name, new if the name was never mentioned.
    pub fn route_table(&mut self, name: &str) -> RouteTableId {
        RouteTableId(self.route_tables.slot(name))
    }

    /// The slot of a cluster name that was mentioned before.
    pub fn known_cluster(&self, name: &str) -> Option<ClusterId> {
        self.clusters.slots.get(name).copied().map(ClusterId)
    }

    /// The name in a route configuration slot.
    pub fn route_table_name(&self, id: RouteTableId) -> Option<&Arc<str>> {
        self.route_tables.names.get(id.0 as usize)
    }

    /// The name in a cluster slot.
    pub fn cluster_name(&self, id: ClusterId) -> Option<&Arc<str>> {
        self.clusters.names.get(id.0 as usize)
    }
}

#[derive(Debug, Default)]
struct Interner {
    slots: HashMap<Arc<str>, u32>,
    names: Vec<Arc<str>>,
}

impl Interner {
    fn slot(&mut self, name: &str) -> u32 {
        if let Some(&slot) = self.slots.get(name) {
            return slot;
        }
        let slot =
            u32::try_from(self.names.len()).expect("fewer than 2^32 names were ever mentioned");
        let name: Arc<str> = name.into();
        self.names.push(name.clone());
        self.slots.insert(name, slot);
        slot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_slot() {
        let mut names = Names::default();
        let a = names.cluster("a");
        let b = names.cluster("b");
        assert_ne!(a, b);
        assert_eq!(names.cluster("a"), a);
        assert_eq!(names.known_cluster("c"), None);
        assert_eq!(names.cluster_name(b).map(|n| &**n), Some("b"));
    }
}
