//! What galley counts. Names are Istio's where Istio counts the same.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::pipeline::Output;

#[derive(Debug, Clone, Default)]
pub(crate) struct Metrics {
    snapshots: Counter,
    objects: Gauge<i64, std::sync::atomic::AtomicI64>,
    quarantined: Gauge<i64, std::sync::atomic::AtomicI64>,
    findings: Gauge<u64, AtomicU64>,
    analyzed: Counter,
    derived: Counter,
    reported: Counter,
}

impl Metrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let registry = registry.sub_registry_with_prefix("galley");
        registry.register(
            "snapshots",
            "Snapshots published",
            metrics.snapshots.clone(),
        );
        registry.register("objects", "Objects in force", metrics.objects.clone());
        registry.register(
            "quarantined_objects",
            "Objects whose newest version was refused and whose last good version is in force",
            metrics.quarantined.clone(),
        );
        registry.register(
            "findings",
            "Findings in the configuration",
            metrics.findings.clone(),
        );
        registry.register(
            "analysis_objects_visited",
            "Objects analyzed together with others",
            metrics.analyzed.clone(),
        );
        registry.register(
            "derivation_objects_visited",
            "Objects read to derive Gateways, VirtualServices and statuses of the Gateway API and of Ingresses",
            metrics.derived.clone(),
        );
        registry.register(
            "report_objects_visited",
            "Objects looked at for what their status says",
            metrics.reported.clone(),
        );
        metrics
    }

    /// Counts the objects that were looked at for their status.
    pub(crate) fn observe_reports(&self, visited: usize) {
        self.reported.inc_by(visited as u64);
    }

    pub(crate) fn observe(&self, output: &Output) {
        if output.snapshot.is_some() {
            self.snapshots.inc();
        }
        self.objects
            .set(i64::try_from(output.objects).unwrap_or(i64::MAX));
        self.quarantined
            .set(i64::try_from(output.quarantined).unwrap_or(i64::MAX));
        self.findings.set(output.diagnostics.len() as u64);
        self.analyzed.inc_by(output.visited.analysis as u64);
        self.derived.inc_by(output.visited.derivation as u64);
    }
}
