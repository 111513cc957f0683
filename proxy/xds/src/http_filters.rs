//! HTTP filters, and what routes say to them.
//!
//! A filter that is not known is refused, unless it is marked optional.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use xds::envoy::http::common_fault::FaultDelay;
use xds::envoy::http::common_fault::fault_delay::FaultDelaySecifier;
use xds::envoy::http::cors::CorsPolicy as WireCors;
use xds::envoy::http::fault::{FaultAbort, HttpFault, fault_abort};
use xds::envoy::http::rbac as http_rbac;
use xds::envoy::http::router::Router;
use xds::envoy::network::http_connection_manager::HttpFilter;
use xds::envoy::network::http_connection_manager::http_filter::ConfigType;
use xds::envoy::route::FilterConfig;
use xds::pb::google::protobuf::Any;

use super::any::{bool_or, duration, unpack};
use super::context::ApplyContext;
use super::headers::value;
use super::istio;
use super::matchers::{self, refuse};
use super::rbac;
use crate::config::error::{ConfigError, Within};
use crate::config::filter::cors::CorsPolicy;
use crate::config::filter::fault::{Abort, AbortKind, Delay, FaultConfig};
use crate::config::filter::{FilterConfig as Configured, HttpFilter as Filter};
use crate::config::http::RouterOptions;
use crate::config::matcher::Fraction;
use crate::config::rbac::Rbac;
use crate::config::route::overrides::{FilterOverride, FilterOverrides};

/// The filters of a connection manager, and the router at their end.
pub fn filters(
    protos: &[HttpFilter],
    context: &ApplyContext<'_>,
) -> Result<(Vec<Filter>, RouterOptions), ConfigError> {
    let Some((last, others)) = protos.split_last() else {
        return Err(ConfigError::new("http_filters", "there is no router"));
    };
    let mut slots = Vec::with_capacity(others.len());
    for (n, proto) in others.iter().enumerate() {
        let filter = filter(proto, context).within(format_args!("http_filters[{n}]"))?;
        slots.extend(filter.map(|(kind, config)| Filter {
            name: proto.name.as_str().into(),
            kind,
            config,
            disabled: proto.disabled,
        }));
    }
    let n = others.len();
    Ok((
        slots,
        router(last).within(format_args!("http_filters[{n}]"))?,
    ))
}

fn typed_config(proto: &HttpFilter) -> Result<&Any, ConfigError> {
    match &proto.config_type {
        Some(ConfigType::TypedConfig(any)) => Ok(any),
        Some(ConfigType::ConfigDiscovery(_)) => Err(ConfigError::unsupported(
            "config_discovery",
            "filter discovery",
        )),
        None => Err(ConfigError::new("typed_config", "missing")),
    }
}

fn message(any: &Any) -> &str {
    any.type_url.rsplit('/').next().unwrap_or_default()
}

fn filter(
    proto: &HttpFilter,
    context: &ApplyContext<'_>,
) -> Result<Option<(Box<str>, Configured)>, ConfigError> {
    let any = typed_config(proto)?;
    if istio::is_typed_struct(any) {
        return istio::http_filter(any, context).map(Some);
    }
    let kind = message(any);
    let config = match kind {
        "envoy.extensions.filters.http.rbac.v3.RBAC" => {
            let config = unpack(any).and_then(|proto| rbac::http(&proto));
            Configured::new(config.within("typed_config")?)
        }
        "envoy.extensions.filters.http.fault.v3.HTTPFault" => {
            let config = unpack(any).and_then(|proto| fault(&proto));
            Configured::new(config.within("typed_config")?)
        }
        "envoy.extensions.filters.http.cors.v3.Cors"
        | "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig" => Configured::default(),
        _ if proto.is_optional => {
            tracing::info!(filter = &*proto.name, "optional HTTP filter left out");
            return Ok(None);
        }
        other => {
            let what = format_args!("the HTTP filter \"{other}\"");
            return Err(ConfigError::unsupported("typed_config", what));
        }
    };
    Ok(Some((kind.into(), config)))
}

fn router(proto: &HttpFilter) -> Result<RouterOptions, ConfigError> {
    let any = typed_config(proto)?;
    if message(any) != "envoy.extensions.filters.http.router.v3.Router" {
        let message = format!("the last filter must be the router, not \"{}\"", proto.name);
        return Err(ConfigError::new("", message));
    }
    let router: Router = unpack(any).within("typed_config")?;
    refuse(!router.upstream_log.is_empty(), "typed_config.upstream_log")?;
    refuse(
        !router.strict_check_headers.is_empty(),
        "typed_config.strict_check_headers",
    )?;
    refuse(
        !router.upstream_http_filters.is_empty(),
        "typed_config.upstream_http_filters",
    )?;
    Ok(RouterOptions {
        suppress_envoy_headers: router.suppress_envoy_headers,
        respect_expected_timeout: router.respect_expected_rq_timeout,
    })
}

fn fault(proto: &HttpFault) -> Result<FaultConfig, ConfigError> {
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

fn cors(proto: &WireCors) -> Result<CorsPolicy, ConfigError> {
    let list = |text: &str, field: &str| match text {
        "" => Ok(None),
        text => value(text).map(Some).within(field),
    };
    let flag = |proto: &Option<_>| proto.as_ref().map(|flag| bool_or(Some(flag), false));
    let origins = proto.allow_origin_string_match.iter().enumerate();
    let origins = origins.map(|(n, proto)| {
        matchers::string(proto).within(format_args!("allow_origin_string_match[{n}]"))
    });
    let fraction = |proto: &Option<_>| proto.as_ref().and_then(matchers::runtime_fraction);
    Ok(CorsPolicy {
        allow_origins: origins.collect::<Result<_, _>>()?,
        allow_methods: list(&proto.allow_methods, "allow_methods")?,
        allow_headers: list(&proto.allow_headers, "allow_headers")?,
        expose_headers: list(&proto.expose_headers, "expose_headers")?,
        max_age: list(&proto.max_age, "max_age")?,
        allow_credentials: flag(&proto.allow_credentials),
        forward_unmatched_preflights: flag(&proto.forward_not_matching_preflights),
        allow_private_network: flag(&proto.allow_private_network_access),
        enabled: fraction(&proto.filter_enabled),
    })
}

/// `typed_per_filter_config` of one level over that of the level around it.
pub fn overrides(
    outer: &FilterOverrides,
    protos: &HashMap<String, Any>,
) -> Result<FilterOverrides, ConfigError> {
    let mut merged = outer.clone();
    let mut named: Vec<_> = protos.iter().collect();
    named.sort_by_key(|(name, _)| name.as_str());
    for (name, any) in named {
        let field = format_args!("typed_per_filter_config[{name:?}]").to_string();
        add_override(&mut merged, name, any, false).within(field)?;
    }
    Ok(merged)
}

fn add_override(
    merged: &mut FilterOverrides,
    name: &str,
    any: &Any,
    optional: bool,
) -> Result<(), ConfigError> {
    let value = match message(any) {
        "envoy.config.route.v3.FilterConfig" => {
            let proto: FilterConfig = unpack(any)?;
            if proto.disabled {
                merged.disabled.push((name.into(), true));
                return Ok(());
            }
            merged.disabled.push((name.into(), false));
            return match &proto.config {
                Some(config) => add_override(merged, name, config, proto.is_optional),
                None => Ok(()),
            };
        }
        "envoy.extensions.filters.http.rbac.v3.RBACPerRoute" => {
            let proto: http_rbac::RbacPerRoute = unpack(any)?;
            let config = match &proto.rbac {
                Some(proto) => rbac::http(proto).within("rbac")?,
                // No rules: the filter is off for this route.
                None => Rbac::default(),
            };
            FilterOverride::Rbac(Arc::new(config))
        }
        "envoy.extensions.filters.http.fault.v3.HTTPFault" => {
            FilterOverride::Fault(Arc::new(fault(&unpack(any)?)?))
        }
        "envoy.extensions.filters.http.cors.v3.CorsPolicy" => {
            let policy = cors(&unpack(any)?)?;
            let policy = match merged.get(name) {
                Some(FilterOverride::Cors(outer)) => policy.or(outer),
                _ => policy,
            };
            FilterOverride::Cors(Arc::new(policy))
        }
        _ if optional => return Ok(()),
        other => {
            let what = format_args!("\"{other}\" in a route");
            return Err(ConfigError::unsupported("", what));
        }
    };
    merged.set(name, value);
    Ok(())
}
