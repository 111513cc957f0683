//! Retries of a route.

use std::time::Duration;

use mesh_api::route::retry::RetryPolicy;
use xds::envoy::route::{
    self,
    retry_policy::{
        RetryBackOff, RetryHostPredicate, RetryPriority, retry_host_predicate, retry_priority,
    },
};
use xds::pb::envoy::extensions::retry::host::previous_hosts::v3::PreviousHostsPredicate;
use xds::pb::envoy::extensions::retry::priority::previous_priorities::v3::PreviousPrioritiesConfig;
use xds::resource::pack;

use crate::wire;

/// How often another host is looked for before a tried one is taken again.
const HOST_SELECTION_ATTEMPTS: i64 = 5;

/// The wire form; `None` without attempts. Hashed requests stay with their host.
pub(super) fn policy(policy: &RetryPolicy, hashed: bool) -> Option<route::RetryPolicy> {
    if policy.attempts == 0 {
        return None;
    }
    let avoid_tried = policy.ignore_previous_hosts && !hashed;
    Some(route::RetryPolicy {
        retry_on: policy.retry_on.join(","),
        num_retries: Some(wire::number(policy.attempts)),
        per_try_timeout: policy.per_try_timeout.map(wire::duration),
        retriable_status_codes: policy
            .retriable_status_codes
            .iter()
            .map(|c| (*c).into())
            .collect(),
        retry_host_predicate: avoid_tried.then(previous_hosts).into_iter().collect(),
        host_selection_retry_max_attempts: HOST_SELECTION_ATTEMPTS,
        retry_priority: policy.retry_remote_localities.then(previous_priorities),
        retry_back_off: back_off(policy.backoff),
        ..Default::default()
    })
}

/// Envoy's own wait is the default one.
fn back_off(base: Duration) -> Option<RetryBackOff> {
    (base != RetryPolicy::DEFAULT_BACKOFF).then(|| RetryBackOff {
        base_interval: Some(wire::duration(base.max(Duration::from_millis(1)))),
        max_interval: None,
    })
}

fn previous_hosts() -> RetryHostPredicate {
    RetryHostPredicate {
        name: "envoy.retry_host_predicates.previous_hosts".to_owned(),
        config_type: Some(retry_host_predicate::ConfigType::TypedConfig(pack(
            &PreviousHostsPredicate::default(),
        ))),
    }
}

fn previous_priorities() -> RetryPriority {
    RetryPriority {
        name: "envoy.retry_priorities.previous_priorities".to_owned(),
        config_type: Some(retry_priority::ConfigType::TypedConfig(pack(
            &PreviousPrioritiesConfig {
                update_frequency: 2,
            },
        ))),
    }
}
