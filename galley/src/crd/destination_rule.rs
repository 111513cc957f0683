//! `DestinationRule`, networking.istio.io.

use std::collections::BTreeMap;

use super::traffic_policy::TrafficPolicy;
use super::{WorkloadSelector, wire};

wire! {
    #[schemars(extend("required" = ["host"]))]
    DestinationRule {
        host: String,
        traffic_policy: Option<TrafficPolicy>,
        subsets: Vec<Subset>,
        export_to: Vec<String>,
        workload_selector: Option<WorkloadSelector>,
    }

    #[schemars(extend("required" = ["name"]))]
    Subset {
        name: String,
        labels: BTreeMap<String, String>,
        traffic_policy: Option<TrafficPolicy>,
    }
}
