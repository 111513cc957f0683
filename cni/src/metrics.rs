//! What the agent counts. Names are those of Istio's agent where it counts the same.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// What became of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Rules are in force.
    Captured,
    /// It needs none.
    Skipped,
    /// It needs some and has none.
    Failed,
}

/// Whether something worked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Success {
    /// It did.
    Yes,
    /// It did not.
    No,
}

impl Outcome {
    fn label(self) -> ByResult {
        let result = match self {
            Self::Captured => "captured",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
        };
        ByResult { result }
    }
}

impl Success {
    fn as_str(self) -> &'static str {
        match self {
            Self::Yes => "SUCCESS",
            Self::No => "FAILURE",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByResult {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByRepair {
    r#type: &'static str,
    result: &'static str,
}

/// The agent's counters.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    pods: Family<ByResult, Counter>,
    installs: Family<ByResult, Counter>,
    install_ready: Gauge,
    repaired: Family<ByRepair, Counter>,
}

impl Metrics {
    /// Makes them visible.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "weft_cni_pods",
            "Pods that the plugin asked about",
            self.pods.clone(),
        );
        registry.register(
            "istio_cni_installs",
            "Times that the plugin was installed or put right on the node",
            self.installs.clone(),
        );
        registry.register(
            "istio_cni_install_ready",
            "Whether the plugin is installed on the node",
            self.install_ready.clone(),
        );
        registry.register(
            "istio_cni_repair_pods_repaired",
            "Pods that started without capture and were dealt with",
            self.repaired.clone(),
        );
    }

    pub(crate) fn pod(&self, result: Outcome) {
        self.pods.get_or_create(&result.label()).inc();
    }

    pub(crate) fn installed(&self, result: Success) {
        let result = result.as_str();
        self.installs.get_or_create(&ByResult { result }).inc();
    }

    pub(crate) fn set_ready(&self, ready: bool) {
        self.install_ready.set(i64::from(ready));
    }

    pub(crate) fn repaired(&self, r#type: &'static str, result: Success) {
        let result = result.as_str();
        let labels = ByRepair { r#type, result };
        self.repaired.get_or_create(&labels).inc();
    }
}
