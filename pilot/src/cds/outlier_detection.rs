//! Which endpoints are left out for a while.

use mesh_api::traffic_policy::PortPolicy;
use xds::envoy::cluster::{Cluster, OutlierDetection};

use crate::wire;

/// Applies a policy's outlier detection; without one, nothing is ever ejected.
pub(super) fn apply(cluster: &mut Cluster, policy: &PortPolicy) {
    let Some(outlier) = &policy.outlier_detection else {
        return;
    };
    let enforce = |count: u32| Some(wire::number(if count > 0 { 100 } else { 0 }));
    let positive = |count: u32| (count > 0).then(|| wire::number(count));
    let local = outlier.split_local_origin;
    cluster.outlier_detection = Some(OutlierDetection {
        consecutive_5xx: positive(outlier.consecutive_5xx),
        enforcing_consecutive_5xx: enforce(outlier.consecutive_5xx),
        consecutive_gateway_failure: positive(outlier.consecutive_gateway),
        enforcing_consecutive_gateway_failure: enforce(outlier.consecutive_gateway),
        // Statistics of success rates are not part of the model: consecutive failures are.
        enforcing_success_rate: Some(wire::number(0)),
        interval: Some(wire::duration(outlier.interval)),
        base_ejection_time: Some(wire::duration(outlier.base_ejection_time)),
        max_ejection_percent: Some(wire::number(outlier.max_ejection_percent)),
        split_external_local_origin_errors: local,
        consecutive_local_origin_failure: local
            .then(|| wire::number(outlier.consecutive_local_origin.max(1))),
        enforcing_consecutive_local_origin_failure: local
            .then(|| enforce(outlier.consecutive_local_origin))
            .flatten(),
        enforcing_local_origin_success_rate: local.then(|| wire::number(0)),
        // One ejection is allowed even if it is more than the percentage: with two endpoints and
        // 10 %, nothing would be ejected otherwise.
        always_eject_one_host: Some(wire::boolean(outlier.max_ejection_percent > 0)),
        ..Default::default()
    });
    let common = cluster.common_lb_config.get_or_insert_default();
    common.healthy_panic_threshold = Some(wire::percent(outlier.min_health_percent.into()));
}
