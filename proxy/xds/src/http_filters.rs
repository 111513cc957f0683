//! HTTP filters, and what routes say to them: a line for each type of message.
//!
//! A filter that is not known is refused, unless it is marked optional.

use std::collections::HashMap;
use std::sync::Arc;

use xds::envoy::http::rbac as http_rbac;
use xds::envoy::http::router::Router;
use xds::envoy::network::http_connection_manager::HttpFilter;
use xds::envoy::network::http_connection_manager::http_filter::ConfigType;
use xds::envoy::route as wire;
use xds::pb::google::protobuf::Any;

use super::any::unpack;
use super::context::ApplyContext;
use super::istio;
use super::matchers::refuse;
use super::rbac;
use crate::config::error::{ConfigError, Within};
use crate::config::filter::cors::CorsPolicy;
use crate::config::filter::{FILTERS_MAX, FilterConfig, FilterData, FilterSpec};
use crate::config::http::RouterOptions;
use crate::config::rbac::Rbac;
use crate::config::route::overrides::{FilterOverride, FilterOverrides};

mod cors;
mod fault;

use cors::cors;
use fault::fault;
pub use fault::status_code;

/// Reads the message that configures a filter.
type Read = fn(&Any, &ApplyContext<'_>) -> Result<Arc<dyn FilterData>, ConfigError>;

/// The messages that configure filters. The registry of the HTTP layer builds filters of the same types.
const KINDS: &[(&str, Read)] = &[
    ("envoy.extensions.filters.http.cors.v3.Cors", |_, _| {
        plain(())
    }),
    (
        "envoy.extensions.filters.http.fault.v3.HTTPFault",
        |any, _| plain(fault(&unpack(any)?)?),
    ),
    (
        "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig",
        |_, _| plain(()),
    ),
    (istio::STATS, |any, context| {
        plain(istio::stats_config(any, context)?)
    }),
    (istio::PEER_METADATA, |any, context| {
        plain(istio::peer_metadata(any, context)?)
    }),
    ("envoy.extensions.filters.http.rbac.v3.RBAC", |any, _| {
        plain(rbac::http(&unpack(any)?)?)
    }),
];

/// Reads what a route says to a filter, over what an outer level says.
type ReadRoute = fn(&Any, Option<&FilterConfig>) -> Result<Arc<dyn FilterData>, ConfigError>;

/// The messages in which routes speak to filters.
const ROUTE_KINDS: &[(&str, ReadRoute)] = &[
    (
        "envoy.extensions.filters.http.cors.v3.CorsPolicy",
        |any, outer| {
            let policy = cors(&unpack(any)?)?;
            plain(match outer.and_then(FilterConfig::get::<CorsPolicy>) {
                Some(outer) => policy.or(outer),
                None => policy,
            })
        },
    ),
    (
        "envoy.extensions.filters.http.fault.v3.HTTPFault",
        |any, _| plain(fault(&unpack(any)?)?),
    ),
    (
        "envoy.extensions.filters.http.rbac.v3.RBACPerRoute",
        |any, _| {
            let proto: http_rbac::RbacPerRoute = unpack(any)?;
            plain(match &proto.rbac {
                Some(proto) => rbac::http(proto).within("rbac")?,
                // No rules: the filter is off for this route.
                None => Rbac::default(),
            })
        },
    ),
];

/// The types of filters that are read.
pub fn kinds() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|(kind, _)| *kind)
}

fn plain(data: impl FilterData) -> Result<Arc<dyn FilterData>, ConfigError> {
    Ok(Arc::new(data))
}

/// The filters of a connection manager, and the router at their end.
pub fn filters(
    protos: &[HttpFilter],
    context: &ApplyContext<'_>,
) -> Result<(Vec<FilterSpec>, RouterOptions), ConfigError> {
    let Some((last, others)) = protos.split_last() else {
        return Err(ConfigError::new("http_filters", "there is no router"));
    };
    let n = others.len();
    Ok((
        specs(others, context)?,
        router(last).within(format_args!("http_filters[{n}]"))?,
    ))
}

/// The filters of a cluster (`HttpProtocolOptions.http_filters`), which end in the codec.
pub fn upstream_filters(
    protos: &[HttpFilter],
    context: &ApplyContext<'_>,
) -> Result<Vec<FilterSpec>, ConfigError> {
    let Some((last, others)) = protos.split_last() else {
        return Ok(Vec::new());
    };
    let codec = "envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec";
    let n = others.len();
    let any = typed_config(last).within(format_args!("http_filters[{n}]"))?;
    if message(any) != codec {
        let message = format!("the last filter must be the codec, not \"{}\"", last.name);
        return Err(ConfigError::new("http_filters", message));
    }
    specs(others, context)
}

fn specs(
    protos: &[HttpFilter],
    context: &ApplyContext<'_>,
) -> Result<Vec<FilterSpec>, ConfigError> {
    if protos.len() > FILTERS_MAX {
        let message = format!("more than {FILTERS_MAX} filters");
        return Err(ConfigError::new("http_filters", message));
    }
    let mut specs = Vec::with_capacity(protos.len());
    for (n, proto) in protos.iter().enumerate() {
        let config = filter(proto, context).within(format_args!("http_filters[{n}]"))?;
        specs.extend(config.map(|config| FilterSpec {
            name: proto.name.as_str().into(),
            config,
            disabled: proto.disabled,
        }));
    }
    Ok(specs)
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

/// `None` for an optional filter that does not exist here.
fn filter(
    proto: &HttpFilter,
    context: &ApplyContext<'_>,
) -> Result<Option<FilterConfig>, ConfigError> {
    let any = typed_config(proto)?;
    let kind = istio::kind(any).within("typed_config")?;
    if let Some((kind, read)) = KINDS.iter().find(|(known, _)| *known == kind) {
        let data = read(any, context).within("typed_config")?;
        return Ok(Some(FilterConfig::shared(kind, data)));
    }
    if let Some(config) = further(&kind, any, context).within("typed_config")? {
        return Ok(Some(config));
    }
    if proto.is_optional {
        tracing::info!(filter = &*proto.name, "optional HTTP filter left out");
        return Ok(None);
    }
    let what = format_args!("the HTTP filter \"{kind}\"");
    Err(ConfigError::unsupported("typed_config", what))
}

/// The configuration of a filter that is not built in: a [`Struct`](crate::config::metadata::Struct).
fn further(
    kind: &str,
    any: &Any,
    context: &ApplyContext<'_>,
) -> Result<Option<FilterConfig>, ConfigError> {
    if !context.further_filters.iter().any(|known| **known == *kind) {
        return Ok(None);
    }
    Ok(Some(FilterConfig::new(kind, istio::fields(any)?)))
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

/// `typed_per_filter_config` of one level over that of the level around it.
pub fn overrides(
    outer: &FilterOverrides,
    protos: &HashMap<String, Any>,
    context: &ApplyContext<'_>,
) -> Result<FilterOverrides, ConfigError> {
    let mut merged = outer.clone();
    let mut named: Vec<_> = protos.iter().collect();
    named.sort_by_key(|(name, _)| name.as_str());
    for (name, any) in named {
        let outer = outer.get(name).and_then(|said| said.config.as_ref());
        let said = override_of(any, outer, context);
        let field = format_args!("typed_per_filter_config[{name:?}]").to_string();
        if let Some(said) = said.within(field)? {
            merged.set(name, said);
        }
    }
    Ok(merged)
}

/// What a level says to one filter; `None` if it is optional and not understood.
fn override_of(
    any: &Any,
    outer: Option<&FilterConfig>,
    context: &ApplyContext<'_>,
) -> Result<Option<FilterOverride>, ConfigError> {
    if message(any) != "envoy.config.route.v3.FilterConfig" {
        let config = route_config(any, outer, context)?;
        let config = config.ok_or_else(|| unknown_override(any))?;
        return Ok(Some(FilterOverride {
            disabled: false,
            config: Some(config),
        }));
    }
    let proto: wire::FilterConfig = unpack(any)?;
    let config = match proto.config.filter(|any| !any.type_url.is_empty()) {
        Some(any) if !proto.disabled => match route_config(&any, outer, context)? {
            None if proto.is_optional => return Ok(None),
            None => return Err(unknown_override(&any).within("config")),
            config => config,
        },
        _ => None,
    };
    Ok(Some(FilterOverride {
        disabled: proto.disabled,
        config,
    }))
}

fn unknown_override(any: &Any) -> ConfigError {
    let what = format_args!("\"{}\" in a route", message(any));
    ConfigError::unsupported("", what)
}

fn route_config(
    any: &Any,
    outer: Option<&FilterConfig>,
    context: &ApplyContext<'_>,
) -> Result<Option<FilterConfig>, ConfigError> {
    let kind = istio::kind(any)?;
    match ROUTE_KINDS.iter().find(|(known, _)| *known == kind) {
        Some((kind, read)) => Ok(Some(FilterConfig::shared(kind, read(any, outer)?))),
        None => further(&kind, any, context),
    }
}
