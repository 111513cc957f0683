//! `RouteConfiguration` to [`RouteConfig`]: hosts indexed, header operations and filter overrides merged per
//! route, clusters resolved to slots.

use std::sync::Arc;

use xds::envoy::route as wire;

use super::context::ApplyContext;
use super::headers::{names, ops};
use super::http_filters::overrides;
use super::matchers::refuse;
use crate::config::error::{ConfigError, Within};
use crate::config::route::headers::HeaderOps;
use crate::config::route::host_index::HostIndex;
use crate::config::route::overrides::FilterOverrides;
use crate::config::route::retry::RetryPolicy;
use crate::config::route::{RequireTls, Route, RouteConfig, VirtualHost};

mod action;
mod forward;
mod matching;
mod retry;

/// What a level passes on to the levels inside it.
#[derive(Debug, Clone, Default)]
struct Outer {
    headers: Vec<Arc<HeaderOps>>,
    most_specific_last: bool,
    overrides: Arc<FilterOverrides>,
    retry: Option<Arc<RetryPolicy>>,
    mirrors: Vec<wire::route_action::RequestMirrorPolicy>,
    buffer_limit: Option<u32>,
}

impl Outer {
    /// The header operations of this level and those around it, in the order in which they run.
    fn headers_with(&self, own: HeaderOps) -> Vec<Arc<HeaderOps>> {
        if own.is_empty() {
            return self.headers.clone();
        }
        let mut headers = self.headers.clone();
        // The most specific level runs first, unless it is to win, when it runs last.
        let place = if self.most_specific_last {
            headers.len()
        } else {
            0
        };
        headers.insert(place, Arc::new(own));
        headers
    }

    fn overrides_with(
        &self,
        protos: &std::collections::HashMap<String, xds::pb::google::protobuf::Any>,
        context: &ApplyContext<'_>,
    ) -> Result<Arc<FilterOverrides>, ConfigError> {
        if protos.is_empty() {
            return Ok(self.overrides.clone());
        }
        Ok(Arc::new(overrides(&self.overrides, protos, context)?))
    }
}

/// Translates a route configuration.
pub fn route_config(
    proto: &wire::RouteConfiguration,
    context: &mut ApplyContext<'_>,
) -> Result<RouteConfig, ConfigError> {
    refuse(proto.vhds.is_some(), "vhds")?;
    refuse(
        !proto.cluster_specifier_plugins.is_empty(),
        "cluster_specifier_plugins",
    )?;
    refuse(!proto.vhost_header.is_empty(), "vhost_header")?;
    refuse(!proto.route_specifiers.is_empty(), "route_specifiers")?;
    refuse(
        proto.ignore_path_parameters_in_path_matching,
        "ignore_path_parameters_in_path_matching",
    )?;
    let own = ops(
        &proto.request_headers_to_add,
        &proto.request_headers_to_remove,
        &proto.response_headers_to_add,
        &proto.response_headers_to_remove,
    )?;
    let none = Outer {
        most_specific_last: proto.most_specific_header_mutations_wins,
        ..Outer::default()
    };
    let outer = Outer {
        headers: none.headers_with(own),
        overrides: none.overrides_with(&proto.typed_per_filter_config, context)?,
        mirrors: proto.request_mirror_policies.clone(),
        ..none
    };
    let mut hosts = HostIndex::default();
    let mut virtual_hosts = Vec::with_capacity(proto.virtual_hosts.len());
    for (n, host) in proto.virtual_hosts.iter().enumerate() {
        let field = format_args!("virtual_hosts[{n}]").to_string();
        index(&mut hosts, &host.domains, n).within(&field)?;
        virtual_hosts.push(virtual_host(host, &outer, context).within(&field)?);
    }
    Ok(RouteConfig {
        name: proto.name.as_str().into(),
        virtual_hosts,
        hosts,
        ignore_port: proto.ignore_port_in_host_matching,
        internal_only_headers: names(&proto.internal_only_headers)
            .within("internal_only_headers")?,
        source: context.source.clone(),
    })
}

fn index(hosts: &mut HostIndex, domains: &[String], position: usize) -> Result<(), ConfigError> {
    let position = u32::try_from(position)
        .map_err(|_| ConfigError::new("", "more than 2^32 virtual hosts"))?;
    for (n, domain) in domains.iter().enumerate() {
        let field = format_args!("domains[{n}]").to_string();
        if domain.is_empty() {
            return Err(ConfigError::new(field, "empty"));
        }
        hosts
            .add(domain, position)
            .map_err(|error| ConfigError::new(field, error.to_string()))?;
    }
    Ok(())
}

#[allow(
    deprecated,
    reason = "control planes still send `per_request_buffer_limit_bytes`"
)]
fn virtual_host(
    proto: &wire::VirtualHost,
    outer: &Outer,
    context: &mut ApplyContext<'_>,
) -> Result<VirtualHost, ConfigError> {
    use wire::virtual_host::TlsRequirementType;
    refuse(proto.matcher.is_some(), "matcher")?;
    refuse(!proto.rate_limits.is_empty(), "rate_limits")?;
    refuse(proto.hedge_policy.is_some(), "hedge_policy")?;
    refuse(
        proto.retry_policy_typed_config.is_some(),
        "retry_policy_typed_config",
    )?;
    refuse(
        proto.include_is_timeout_retry_header,
        "include_is_timeout_retry_header",
    )?;
    refuse(!proto.route_specifiers.is_empty(), "route_specifiers")?;
    let own = ops(
        &proto.request_headers_to_add,
        &proto.request_headers_to_remove,
        &proto.response_headers_to_add,
        &proto.response_headers_to_remove,
    )?;
    let retry = proto.retry_policy.as_ref().map(retry::policy).transpose();
    let mut mirrors = proto.request_mirror_policies.clone();
    if mirrors.is_empty() {
        mirrors.clone_from(&outer.mirrors);
    }
    let inner = Outer {
        headers: outer.headers_with(own),
        overrides: outer.overrides_with(&proto.typed_per_filter_config, context)?,
        retry: retry.within("retry_policy")?.map(Arc::new),
        mirrors,
        buffer_limit: buffer_limit(
            proto
                .per_request_buffer_limit_bytes
                .as_ref()
                .map(|limit| limit.value),
            proto
                .request_body_buffer_limit
                .as_ref()
                .map(|limit| limit.value),
        ),
        most_specific_last: outer.most_specific_last,
    };
    let routes = proto.routes.iter().enumerate();
    let routes =
        routes.map(|(n, proto)| route(proto, &inner, context).within(format_args!("routes[{n}]")));
    Ok(VirtualHost {
        name: proto.name.as_str().into(),
        routes: routes.collect::<Result<_, _>>()?,
        require_tls: match proto.require_tls() {
            TlsRequirementType::None => RequireTls::None,
            TlsRequirementType::ExternalOnly => RequireTls::ExternalOnly,
            TlsRequirementType::All => RequireTls::All,
        },
        attempt_count_in_request: proto.include_request_attempt_count,
        attempt_count_in_response: proto.include_attempt_count_in_response,
    })
}

fn buffer_limit(per_request: Option<u32>, body: Option<u64>) -> Option<u32> {
    match body {
        Some(body) => Some(u32::try_from(body).unwrap_or(u32::MAX)),
        None => per_request,
    }
}

#[allow(
    deprecated,
    reason = "control planes still send `per_request_buffer_limit_bytes`"
)]
fn route(
    proto: &wire::Route,
    outer: &Outer,
    context: &mut ApplyContext<'_>,
) -> Result<Route, ConfigError> {
    let own = ops(
        &proto.request_headers_to_add,
        &proto.request_headers_to_remove,
        &proto.response_headers_to_add,
        &proto.response_headers_to_remove,
    )?;
    let matches = proto.r#match.as_ref();
    let matches = matches.ok_or_else(|| ConfigError::new("match", "missing"))?;
    let inner = Outer {
        headers: outer.headers_with(own),
        overrides: outer.overrides_with(&proto.typed_per_filter_config, context)?,
        ..outer.clone()
    };
    let own_limit = buffer_limit(
        proto
            .per_request_buffer_limit_bytes
            .as_ref()
            .map(|limit| limit.value),
        proto
            .request_body_buffer_limit
            .as_ref()
            .map(|limit| limit.value),
    );
    Ok(Route {
        name: proto.name.as_str().into(),
        matches: matching::route_match(matches).within("match")?,
        action: action::action(proto.action.as_ref(), &inner, context)?,
        headers: inner.headers,
        overrides: inner.overrides,
        buffer_limit: own_limit.or(outer.buffer_limit),
    })
}

#[cfg(test)]
mod tests;
