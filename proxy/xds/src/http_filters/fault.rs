//! `HTTPFault`.

use std::time::Duration;

use http::StatusCode;
use xds::envoy::http::common_fault::FaultDelay;
use xds::envoy::http::common_fault::fault_delay::FaultDelaySecifier;
use xds::envoy::http::fault::{FaultAbort, HttpFault, fault_abort};

use crate::any::duration;
use crate::config::error::{ConfigError, Within};
use crate::config::filter::fault::{Abort, AbortKind, Delay, FaultConfig};
use crate::config::matcher::Fraction;
use crate::matchers::{self, refuse};

pub(super) fn fault(proto: &HttpFault) -> Result<FaultConfig, ConfigError> {
    refuse(proto.response_rate_limit.is_some(), "response_rate_limit")?;
    refuse(proto.filter_metadata.is_some(), "filter_metadata")?;
    Ok(FaultConfig {
        upstream_cluster: proto.upstream_cluster.as_str().into(),
        headers: matchers::headers(&proto.headers)?,
        downstream_nodes: proto
            .downstream_nodes
            .iter()
            .map(|n| n.as_str().into())
            .collect(),
        delay: proto
            .delay
            .as_ref()
            .map(delay)
            .transpose()
            .within("delay")?,
        abort: proto
            .abort
            .as_ref()
            .map(abort)
            .transpose()
            .within("abort")?,
        max_active: proto
            .max_active_faults
            .as_ref()
            .map(|max| u64::from(max.value)),
    })
}

/// A percentage that is missing is zero.
const NEVER: Fraction = Fraction {
    numerator: 0,
    denominator: 100,
};

fn delay(proto: &FaultDelay) -> Result<Delay, ConfigError> {
    let duration: Option<Duration> = match &proto.fault_delay_secifier {
        Some(FaultDelaySecifier::FixedDelay(proto)) => Some(duration(proto).within("fixed_delay")?),
        Some(FaultDelaySecifier::HeaderDelay(_)) => None,
        None => return Err(ConfigError::new("fault_delay_secifier", "missing")),
    };
    Ok(Delay {
        duration,
        fraction: proto.percentage.as_ref().map_or(NEVER, matchers::fraction),
    })
}

fn abort(proto: &FaultAbort) -> Result<Abort, ConfigError> {
    use fault_abort::ErrorType;
    refuse(!proto.response_body.is_empty(), "response_body")?;
    let kind = match &proto.error_type {
        Some(ErrorType::HttpStatus(status)) => {
            AbortKind::Http(status_code(*status).within("http_status")?)
        }
        Some(ErrorType::GrpcStatus(status)) => {
            let status = u16::try_from(*status);
            let status = status.map_err(|_| ConfigError::new("grpc_status", "not a gRPC status"));
            AbortKind::Grpc(status?)
        }
        Some(ErrorType::HeaderAbort(_)) => AbortKind::Header,
        None => return Err(ConfigError::new("error_type", "missing")),
    };
    Ok(Abort {
        kind,
        fraction: proto.percentage.as_ref().map_or(NEVER, matchers::fraction),
    })
}

/// An HTTP status from 200 to 599.
pub fn status_code(status: u32) -> Result<StatusCode, ConfigError> {
    let valid = u16::try_from(status)
        .ok()
        .filter(|s| (200..600).contains(s));
    valid
        .and_then(|status| StatusCode::from_u16(status).ok())
        .ok_or_else(|| ConfigError::new("", format!("not a status: {status}")))
}
