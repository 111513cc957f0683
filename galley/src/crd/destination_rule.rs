//! `DestinationRule`, networking.istio.io.

use std::collections::BTreeMap;

use super::traffic_policy::TrafficPolicy;
use super::{WorkloadSelector, wire};

wire! {
    #[schemars(extend("required" = ["host"]))]
    DestinationRule {
        /// The service that the rule is for
        host: String,
        /// How its endpoints are called
        traffic_policy: Option<TrafficPolicy>,
        /// Named groups of its endpoints
        subsets: Vec<Subset>,
        /// Namespaces that see this, "." for its own, "*" for all
        export_to: Vec<String>,
        /// The calling pods that the rule is for
        workload_selector: Option<WorkloadSelector>,
    }

    #[schemars(extend("required" = ["name"]))]
    Subset {
        /// Its name, for routes
        name: String,
        /// Labels of its pods
        labels: BTreeMap<String, String>,
        /// How its endpoints are called, over the policy of the whole
        traffic_policy: Option<TrafficPolicy>,
    }
}
