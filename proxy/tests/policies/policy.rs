//! Policies for a cluster and its route, and what they add to the resources.

use serde_json::{Value, json};

use super::origins::COUNT;

/// A policy that can be added to the plain configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    /// Ejects a host after so many errors, for longer than the test takes.
    OutlierDetection(u32),
    /// Lets so many requests run at once.
    CircuitBreaker(u32),
    /// Picks hosts whose metadata has this version.
    Subset(usize),
    /// Picks by hash.
    Maglev,
    /// What the control plane says of one host.
    Health(usize, &'static str),
    /// One host counts as much as all others together.
    Weight(usize),
    /// Every request is refused.
    Abort,
    /// HTTP/2 to the servers.
    Http2,
}

impl Policy {
    pub(crate) fn random(random: &mut fastrand::Rng) -> Self {
        let host = random.usize(..COUNT);
        match random.u32(..8) {
            0 | 1 => Self::OutlierDetection(random.u32(1..4)),
            2 => Self::CircuitBreaker(random.u32(..3)),
            3 => Self::Subset(host),
            4 => Self::Maglev,
            5 => Self::Health(
                host,
                ["UNHEALTHY", "DRAINING", "DEGRADED"][random.usize(..3)],
            ),
            6 => match random.bool() {
                true => Self::Weight(host),
                false => Self::Http2,
            },
            _ => Self::Abort,
        }
    }

    /// Two of one kind cannot be in force at once.
    pub(crate) fn is_like(self, other: Self) -> bool {
        std::mem::discriminant(&self) == std::mem::discriminant(&other)
    }

    pub(crate) fn edit_cluster(self, cluster: &mut Value) {
        match self {
            Self::OutlierDetection(errors) => {
                cluster["outlier_detection"] = json!({
                    "consecutive_5xx": errors, "base_ejection_time": "300s", "interval": "0.05s",
                    "max_ejection_percent": 100,
                });
            }
            Self::CircuitBreaker(most) => {
                let thresholds = json!([{"max_requests": most, "max_connections": 1}]);
                cluster["circuit_breakers"] = json!({ "thresholds": thresholds });
            }
            Self::Subset(_) => {
                let selectors = json!([{"keys": ["version"]}]);
                cluster["lb_subset_config"] = json!({ "subset_selectors": selectors });
            }
            Self::Maglev => cluster["lb_policy"] = json!("MAGLEV"),
            Self::Http2 => {
                cluster["typed_extension_protocol_options"] = json!({
                    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                        "explicit_http_config": {"http2_protocol_options": {}},
                    },
                });
            }
            Self::Health(..) | Self::Weight(_) | Self::Abort => {}
        }
    }

    pub(crate) fn edit_endpoint(self, number: usize, endpoint: &mut Value) {
        match self {
            Self::Health(host, health) if host == number => {
                endpoint["health_status"] = json!(health);
            }
            Self::Weight(host) if host == number => {
                endpoint["load_balancing_weight"] = json!(COUNT - 1);
            }
            _ => {}
        }
    }

    pub(crate) fn edit_route(self, route: &mut Value) {
        match self {
            Self::Subset(version) => {
                let subset = json!({"envoy.lb": {"version": version.to_string()}});
                route["route"]["metadata_match"] = json!({ "filter_metadata": subset });
            }
            Self::Abort => {
                route["typed_per_filter_config"] = json!({"fault": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault",
                    "abort": {"http_status": 418, "percentage": {"numerator": 100}},
                }});
            }
            _ => {}
        }
    }
}
