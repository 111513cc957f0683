//! What routes configure of filters: injected faults and cross-origin rules.

use mesh_api::route::cors::CorsPolicy;
use mesh_api::route::fault::{AbortStatus, Fault};
use xds::envoy::core;
use xds::envoy::http::common_fault::{FaultDelay, fault_delay::FaultDelaySecifier};
use xds::envoy::http::cors::CorsPolicy as WireCors;
use xds::envoy::http::fault::{FaultAbort, HttpFault, fault_abort::ErrorType};
use xds::pb::google::protobuf::Any;
use xds::resource::pack;

use super::matcher;
use crate::wire;

/// The fault filter's name and configuration.
pub(super) fn fault(fault: &Fault) -> (String, Any) {
    let delay = fault.delay.map(|delay| FaultDelay {
        percentage: Some(wire::millionths(delay.percentage.millionths())),
        fault_delay_secifier: Some(FaultDelaySecifier::FixedDelay(wire::duration(delay.fixed))),
    });
    let abort = fault.abort.as_ref().map(|abort| FaultAbort {
        percentage: Some(wire::millionths(abort.percentage.millionths())),
        error_type: Some(match abort.status {
            AbortStatus::Http(status) => ErrorType::HttpStatus(status.into()),
            AbortStatus::Grpc(status, _) => ErrorType::GrpcStatus(status.into()),
        }),
        ..Default::default()
    });
    let config = HttpFault {
        delay,
        abort,
        ..Default::default()
    };
    ("envoy.filters.http.fault".to_owned(), pack(&config))
}

/// The CORS filter's name and configuration.
pub(super) fn cors(policy: &CorsPolicy) -> (String, Any) {
    let always = core::RuntimeFractionalPercent {
        default_value: Some(wire::hundred_percent()),
        ..Default::default()
    };
    let config = WireCors {
        allow_origin_string_match: policy
            .allow_origins
            .iter()
            .filter_map(matcher::string)
            .collect(),
        allow_methods: policy.allow_methods.join(","),
        allow_headers: policy.allow_headers.join(","),
        expose_headers: policy.expose_headers.join(","),
        max_age: policy
            .max_age
            .map(|age| age.as_secs().to_string())
            .unwrap_or_default(),
        allow_credentials: policy.allow_credentials.map(wire::boolean),
        filter_enabled: Some(always),
        forward_not_matching_preflights: Some(wire::boolean(policy.forward_unmatched_preflights)),
        ..Default::default()
    };
    ("envoy.filters.http.cors".to_owned(), pack(&config))
}
