//! Who is connected, as far as it is proven, and which of the mesh's workloads that is.
//!
//! A node describes itself, its labels among the rest, and labels select Gateways. Where the
//! mesh knows the workload, what the workload's object says replaces what the node claims, and so
//! does the locality of the machine it runs on. Source: Istio `Proxy.SetWorkloadLabels` and
//! `DiscoveryServer.computeProxyState`.
//!
//! A workload is known when it has the proven identity's namespace and service account, and the
//! connection comes from its address, or else (behind address translation) from a node that
//! claims it. A proxy of an unknown workload (a machine without WorkloadEntry, a pod of another
//! cluster, one that started a moment ago) is served by the labels that it claims; that selects
//! configuration, and never opens a credential.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use mesh_api::identity::SpiffeId;
use mesh_api::snapshot::Snapshot;
use mesh_api::workload::Workload;

use crate::node::{Node, NodeLocality};

/// A connected proxy.
#[derive(Clone, Debug)]
pub struct Caller {
    /// What it says about itself.
    pub node: Arc<Node>,
    /// What was proven; nothing where every node is believed.
    pub identity: Option<SpiffeId>,
    /// Where the connection comes from.
    pub address: Option<IpAddr>,
}

impl Caller {
    /// The workload that this is, if the mesh knows it.
    pub(crate) fn workload<'s>(&self, snapshot: &'s Snapshot) -> Option<&'s Arc<Workload>> {
        let identity = self.identity.as_ref()?;
        let source = self.address.map(|address| address.to_canonical());
        let addresses = source.iter().chain(&self.node.ips);
        let mut workloads = addresses.filter_map(|address| snapshot.workloads.get(address));
        workloads.find(|workload| {
            workload.identity.namespace == identity.namespace
                && workload.identity.service_account == identity.service_account
                // In the host's network several workloads have one address.
                && (!workload.host_network || *workload.name == *self.node.name)
        })
    }

    /// The node, as `workload` is rather than as it says.
    pub(crate) fn node_of(&self, workload: Option<&Arc<Workload>>) -> Cow<'_, Node> {
        let Some(workload) = workload else {
            return Cow::Borrowed(&self.node);
        };
        let known = workload.labels.iter();
        let claimed = self.node.labels.iter();
        let same_labels = known.eq(claimed.map(|(key, value)| (&**key, &**value)));
        let locality = registered_locality(workload);
        let locality = locality.unwrap_or_else(|| self.node.locality.clone());
        if same_labels && locality == self.node.locality {
            return Cow::Borrowed(&self.node);
        }
        let labels = workload.labels.iter();
        Cow::Owned(Node {
            labels: labels
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
            locality,
            ..Node::clone(&self.node)
        })
    }
}

/// Where the workload's machine is. A proxy does not know it: agents of Istio and ours send none.
fn registered_locality(workload: &Workload) -> Option<NodeLocality> {
    let locality = &workload.locality;
    (!locality.region.is_empty()).then(|| NodeLocality {
        region: locality.region.to_string(),
        zone: locality.zone.to_string(),
        sub_zone: locality.subzone.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::fixture::{pod, sidecar};

    #[test]
    fn the_registered_locality_replaces_what_the_node_says() {
        let mut node = sidecar("reviews", "v1", "10.244.0.7", "weft");
        node.locality.region = "claimed".into();
        let caller = Caller {
            node: Arc::new(node),
            identity: None,
            address: None,
        };
        let locality = |text: &str| {
            let workload = Workload {
                locality: text.parse().unwrap(),
                ..pod("10.244.0.7", "default", "reviews", "v1")
            };
            caller.node_of(Some(&Arc::new(workload))).locality.clone()
        };
        let expected = |region: &str, zone: &str, sub_zone: &str| NodeLocality {
            region: region.into(),
            zone: zone.into(),
            sub_zone: sub_zone.into(),
        };
        assert_eq!(locality("eu/a/rack-1"), expected("eu", "a", "rack-1"));
        assert_eq!(locality(""), expected("claimed", "", ""));
        assert_eq!(caller.node_of(None).locality, expected("claimed", "", ""));
    }
}
