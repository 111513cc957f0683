//! `DestinationRule`, networking.istio.io.

use std::collections::BTreeMap;

use super::traffic_policy::TrafficPolicy;
use super::{WorkloadSelector, wire};

wire! {
    DestinationRule {
        host: String,
        traffic_policy: Option<TrafficPolicy>,
        subsets: Vec<Subset>,
        export_to: Vec<String>,
        workload_selector: Option<WorkloadSelector>,
    }

    Subset {
        name: String,
        labels: BTreeMap<String, String>,
        traffic_policy: Option<TrafficPolicy>,
    }
}
