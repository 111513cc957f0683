//! What generation has cost, as metrics: read when they are asked for, so that counting costs no more than it did.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;

use super::{Generators, Kept};
use crate::cache::Counts;

/// The counters of all worlds.
#[derive(Debug)]
pub(crate) struct WorkCollector(pub(super) Arc<Kept>);

impl Collector for WorkCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let counts = self.0.generators.counts();
        let mut family = |name, help, value: fn(&Counts) -> u64| {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (generator, counts) in &counts {
                let labels = [("generator", *generator)];
                ConstCounter::new(value(counts)).encode(family.encode_family(&labels)?)?;
            }
            fmt::Result::Ok(())
        };
        family(
            "weft_discovery_generated",
            "Resources generated, by generator",
            Counts::generated,
        )?;
        family(
            "weft_discovery_hits",
            "Resources that somebody had already, by generator",
            Counts::hits,
        )?;
        let visited = encoder.encode_descriptor(
            "weft_discovery_objects_visited",
            "Objects looked at to find out what resources are made from",
            None,
            MetricType::Counter,
        )?;
        ConstCounter::new(self.0.work.visited()).encode(visited)
    }
}

impl Generators {
    /// What each has done.
    fn counts(&self) -> [(&'static str, &Counts); 11] {
        [
            ("clusters", self.clusters.counts()),
            ("static_clusters", self.static_clusters.counts()),
            ("inbound_clusters", self.inbound_clusters.counts()),
            ("assignments", self.assignments.counts()),
            ("outbound_listeners", self.outbound_listeners.counts()),
            ("virtual_outbound", self.virtual_outbound.counts()),
            ("virtual_inbound", self.virtual_inbound.counts()),
            ("gateway_listeners", self.gateway_listeners.counts()),
            ("virtual_hosts", self.virtual_hosts.counts()),
            ("route_configurations", self.route_configurations.counts()),
            ("secrets", self.secrets.counts()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use mesh_runtime::metrics::{Registry, encode};

    use super::*;
    use crate::shared::Shared;
    use crate::world::{StaticCluster, StaticKind};

    #[test]
    fn each_generator_has_a_series() {
        let kept = Arc::new(Kept::default());
        for _ in 0..3 {
            let inputs = StaticCluster {
                kind: StaticKind::BlackHole,
                mesh: Shared(Arc::default()),
            };
            let cache = &kept.generators.static_clusters;
            // Kept to the end of the process, so that it is found again.
            std::mem::forget(cache.get(&kept.work, "black-hole", inputs, StaticCluster::generate));
        }
        kept.work.visit(7);
        let mut registry = Registry::default();
        registry.register_collector(Box::new(WorkCollector(Arc::clone(&kept))));
        let text = encode(&registry);
        let values = text.lines().filter(|line| !line.starts_with('#'));
        let moved: Vec<_> = values.filter(|line| !line.ends_with(" 0")).collect();
        assert_eq!(
            moved,
            [
                "weft_discovery_generated_total{generator=\"static_clusters\"} 1",
                "weft_discovery_hits_total{generator=\"static_clusters\"} 2",
                "weft_discovery_objects_visited_total 7",
            ]
        );
        assert_eq!(text.matches("generator=\"").count(), 22);
    }
}
