//! `RetryPolicy`.

use std::time::Duration;

use xds::envoy::route as wire;
use xds::envoy::route::retry_policy::ResetHeaderFormat;

use crate::any::{duration, duration_or, timeout_or, u32_or};
use crate::config::error::{ConfigError, Within};
use crate::config::route::retry::{ResetHeader, RetryOn, RetryPolicy};
use crate::headers::name;
use crate::matchers::{headers, refuse};

const BASE_INTERVAL: Duration = Duration::from_millis(25);
const MAX_RESET_INTERVAL: Duration = Duration::from_secs(300);

/// What is tried again.
pub(super) fn policy(proto: &wire::RetryPolicy) -> Result<RetryPolicy, ConfigError> {
    refuse(
        !proto.retry_options_predicates.is_empty(),
        "retry_options_predicates",
    )?;
    refuse(proto.refresh_cluster_on_retry, "refresh_cluster_on_retry")?;
    let idle = timeout_or(
        "per_try_idle_timeout",
        proto.per_try_idle_timeout.as_ref(),
        None,
    )?;
    refuse(idle.is_some(), "per_try_idle_timeout")?;
    // Envoy, too, lets names pass that it does not know: clients may send them.
    let (on, unknown) = RetryOn::parse(&proto.retry_on);
    if !unknown.is_empty() {
        tracing::debug!(?unknown, "unknown retry conditions");
    }
    let (backoff_base, backoff_max) = backoff(proto)?;
    let mut policy = RetryPolicy {
        on,
        max_retries: u32_or(proto.num_retries.as_ref(), 1),
        per_try_timeout: timeout_or("per_try_timeout", proto.per_try_timeout.as_ref(), None)?,
        backoff_base,
        backoff_max,
        retriable_status_codes: codes(&proto.retriable_status_codes)?,
        retriable_headers: headers(&proto.retriable_headers).within("retriable_headers")?,
        retriable_request_headers: headers(&proto.retriable_request_headers)
            .within("retriable_request_headers")?,
        host_selection_max_attempts: match proto.host_selection_retry_max_attempts {
            0 => 1,
            max => u32::try_from(max).unwrap_or(1),
        },
        ..RetryPolicy::default()
    };
    predicates(proto, &mut policy)?;
    rate_limited(proto, &mut policy)?;
    Ok(policy)
}

fn backoff(proto: &wire::RetryPolicy) -> Result<(Duration, Duration), ConfigError> {
    let Some(proto) = &proto.retry_back_off else {
        return Ok((BASE_INTERVAL, BASE_INTERVAL * 10));
    };
    let field = |name: &str| format!("retry_back_off.{name}");
    let base = duration_or(
        &field("base_interval"),
        proto.base_interval.as_ref(),
        BASE_INTERVAL,
    )?;
    let base = base.max(Duration::from_millis(1));
    let max = duration_or(
        &field("max_interval"),
        proto.max_interval.as_ref(),
        base * 10,
    )?;
    if max < base {
        let message = "must not be less than base_interval";
        return Err(ConfigError::new(field("max_interval"), message));
    }
    Ok((base, max))
}

fn codes(protos: &[u32]) -> Result<Vec<u16>, ConfigError> {
    let codes = protos.iter().enumerate();
    codes
        .map(|(n, code)| {
            u16::try_from(*code).map_err(|_| {
                let field = format!("retriable_status_codes[{n}]");
                ConfigError::new(field, format!("not a status: {code}"))
            })
        })
        .collect()
}

fn predicates(proto: &wire::RetryPolicy, policy: &mut RetryPolicy) -> Result<(), ConfigError> {
    for (n, predicate) in proto.retry_host_predicate.iter().enumerate() {
        match predicate.name.as_str() {
            "envoy.retry_host_predicates.previous_hosts" => policy.avoid_previous_hosts = true,
            other => {
                let field = format!("retry_host_predicate[{n}]");
                return Err(ConfigError::unsupported(field, format_args!("\"{other}\"")));
            }
        }
    }
    match &proto.retry_priority {
        None => Ok(()),
        // Priorities that failed are avoided through the hosts that were tried. Differs from Envoy, which
        // recomputes the load of the priorities.
        Some(priority) if priority.name == "envoy.retry_priorities.previous_priorities" => {
            policy.avoid_previous_hosts = true;
            Ok(())
        }
        Some(priority) => {
            let what = format_args!("\"{}\"", priority.name);
            Err(ConfigError::unsupported("retry_priority", what))
        }
    }
}

fn rate_limited(proto: &wire::RetryPolicy, policy: &mut RetryPolicy) -> Result<(), ConfigError> {
    let Some(proto) = &proto.rate_limited_retry_back_off else {
        return Ok(());
    };
    let within = "rate_limited_retry_back_off";
    policy.reset_max_interval = match &proto.max_interval {
        Some(max) => duration(max).within("max_interval").within(within)?,
        None => MAX_RESET_INTERVAL,
    };
    for (n, header) in proto.reset_headers.iter().enumerate() {
        let field = format!("reset_headers[{n}].name");
        policy.reset_headers.push(ResetHeader {
            name: name(&header.name).within(field).within(within)?,
            unix_timestamp: header.format() == ResetHeaderFormat::UnixTimestamp,
        });
    }
    Ok(())
}
