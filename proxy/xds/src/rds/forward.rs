//! `RouteAction`: where requests go and how.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use xds::envoy::core::Metadata as WireMetadata;
use xds::envoy::core::RoutingPriority as WirePriority;
use xds::envoy::route as wire;
use xds::envoy::route::route_action as parts;
use xds::envoy::route::weighted_cluster::ClusterWeight;
use xds::envoy::route::weighted_cluster::cluster_weight::HostRewriteSpecifier as WeightHost;

use super::{Outer, retry};
use crate::any::{bool_or, duration, duration_or, timeout_or, u32_or};
use crate::config::cluster::RoutingPriority;
use crate::config::error::{ConfigError, Within};
use crate::config::matcher::Fraction;
use crate::config::metadata::Struct;
use crate::config::route::{
    ClusterRef, ClusterSpecifier, Forward, HashPolicy, HashSource, HostRewrite, MaxStreamDuration,
    Mirror, PathRewrite, WeightedCluster, WeightedClusters,
};
use crate::context::ApplyContext;
use crate::headers::{name, ops, value};
use crate::matchers::{refuse, runtime_fraction, substitution};

/// Envoy's timeout of routes that say nothing.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Translates a forwarding action.
#[allow(deprecated, reason = "fields that are refused must be looked at")]
pub(super) fn forward(
    proto: &wire::RouteAction,
    outer: &Outer,
    context: &mut ApplyContext<'_>,
) -> Result<Forward, ConfigError> {
    refuse(proto.hedge_policy.is_some(), "hedge_policy")?;
    refuse(
        proto.internal_redirect_policy.is_some(),
        "internal_redirect_policy",
    )?;
    refuse(
        proto.internal_redirect_action != 0,
        "internal_redirect_action",
    )?;
    refuse(proto.path_rewrite_policy.is_some(), "path_rewrite_policy")?;
    refuse(!proto.path_rewrite.is_empty(), "path_rewrite")?;
    refuse(!proto.rate_limits.is_empty(), "rate_limits")?;
    refuse(
        proto.retry_policy_typed_config.is_some(),
        "retry_policy_typed_config",
    )?;
    refuse(proto.flush_timeout.is_some(), "flush_timeout")?;
    let own = proto.retry_policy.as_ref().map(retry::policy).transpose();
    let own_mirrors = &proto.request_mirror_policies;
    let mirrored = if own_mirrors.is_empty() {
        &outer.mirrors
    } else {
        own_mirrors
    };
    Ok(Forward {
        cluster: cluster(proto, outer, context)?,
        cluster_not_found_status: not_found_status(proto),
        path: path(proto)?,
        host: host(proto)?,
        append_forwarded_host: proto.append_x_forwarded_host,
        timeout: timeout_or("timeout", proto.timeout.as_ref(), Some(TIMEOUT))?,
        idle_timeout: match &proto.idle_timeout {
            Some(_) => Some(timeout_or(
                "idle_timeout",
                proto.idle_timeout.as_ref(),
                None,
            )?),
            None => None,
        },
        max_stream_duration: max_stream_duration(proto)?,
        retry: own
            .within("retry_policy")?
            .map(Arc::new)
            .or_else(|| outer.retry.clone()),
        mirrors: mirrors(mirrored, context)?,
        hash: hash(&proto.hash_policy)?,
        priority: match proto.priority() {
            WirePriority::Default => RoutingPriority::Default,
            WirePriority::High => RoutingPriority::High,
        },
        metadata_match: subset(proto.metadata_match.as_ref()),
        upgrades: upgrades(proto)?,
    })
}

fn reference(name: &str, context: &mut ApplyContext<'_>) -> ClusterRef {
    let id = context.names.cluster(name);
    let known = context.names.cluster_name(id).cloned();
    ClusterRef {
        id,
        name: known.unwrap_or_else(|| name.into()),
    }
}

fn cluster(
    proto: &wire::RouteAction,
    outer: &Outer,
    context: &mut ApplyContext<'_>,
) -> Result<ClusterSpecifier, ConfigError> {
    Ok(match &proto.cluster_specifier {
        Some(parts::ClusterSpecifier::Cluster(cluster)) => {
            ClusterSpecifier::Cluster(reference(cluster, context))
        }
        Some(parts::ClusterSpecifier::ClusterHeader(header)) => {
            ClusterSpecifier::Header(name(header).within("cluster_header")?)
        }
        Some(parts::ClusterSpecifier::WeightedClusters(proto)) => {
            ClusterSpecifier::Weighted(weighted(proto, outer, context).within("weighted_clusters")?)
        }
        Some(_) => {
            let field = "cluster_specifier_plugin";
            return Err(ConfigError::unsupported(field, "an extension"));
        }
        None => return Err(ConfigError::new("cluster_specifier", "missing")),
    })
}

#[allow(deprecated, reason = "fields that are refused must be looked at")]
fn weighted(
    proto: &wire::WeightedCluster,
    outer: &Outer,
    context: &mut ApplyContext<'_>,
) -> Result<WeightedClusters, ConfigError> {
    refuse(
        proto.random_value_specifier.is_some(),
        "random_value_specifier",
    )?;
    let mut clusters = Vec::with_capacity(proto.clusters.len());
    for (n, weight) in proto.clusters.iter().enumerate() {
        let field = format_args!("clusters[{n}]").to_string();
        clusters.push(alternative(weight, outer, context).within(field)?);
    }
    let sum: u64 = clusters
        .iter()
        .map(|cluster| u64::from(cluster.weight))
        .sum();
    if sum == 0 {
        return Err(ConfigError::new("clusters", "the weights are all zero"));
    }
    if sum > u64::from(u32::MAX) {
        return Err(ConfigError::new(
            "clusters",
            "the sum of the weights exceeds 2^32-1",
        ));
    }
    Ok(WeightedClusters {
        clusters,
        total: sum,
    })
}

fn alternative(
    proto: &ClusterWeight,
    outer: &Outer,
    context: &mut ApplyContext<'_>,
) -> Result<WeightedCluster, ConfigError> {
    refuse(!proto.cluster_header.is_empty(), "cluster_header")?;
    let own = ops(
        &proto.request_headers_to_add,
        &proto.request_headers_to_remove,
        &proto.response_headers_to_add,
        &proto.response_headers_to_remove,
    )?;
    Ok(WeightedCluster {
        cluster: reference(&proto.name, context),
        weight: u32_or(proto.weight.as_ref(), 0),
        headers: outer.headers_with(own),
        overrides: outer.overrides_with(&proto.typed_per_filter_config, context)?,
        host: match &proto.host_rewrite_specifier {
            Some(WeightHost::HostRewriteLiteral(host)) => Some(HostRewrite::Literal(
                value(host).within("host_rewrite_literal")?,
            )),
            None => None,
        },
        metadata_match: subset(proto.metadata_match.as_ref()),
    })
}

fn subset(proto: Option<&WireMetadata>) -> Option<Arc<Struct>> {
    proto?;
    let fields = crate::metadata::metadata(proto).filter("envoy.lb").clone();
    (!fields.is_empty()).then(|| Arc::new(fields))
}

fn not_found_status(proto: &wire::RouteAction) -> StatusCode {
    match proto.cluster_not_found_response_code() {
        parts::ClusterNotFoundResponseCode::ServiceUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        parts::ClusterNotFoundResponseCode::NotFound => StatusCode::NOT_FOUND,
        parts::ClusterNotFoundResponseCode::InternalServerError => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}

fn path(proto: &wire::RouteAction) -> Result<PathRewrite, ConfigError> {
    match (proto.prefix_rewrite.as_str(), &proto.regex_rewrite) {
        ("", None) => Ok(PathRewrite::None),
        ("", Some(regex)) => Ok(PathRewrite::Regex(
            substitution(regex).within("regex_rewrite")?,
        )),
        (prefix, None) => Ok(PathRewrite::Prefix(prefix.into())),
        (_, Some(_)) => {
            let message = "only one of prefix_rewrite and regex_rewrite may be set";
            Err(ConfigError::new("regex_rewrite", message))
        }
    }
}

fn host(proto: &wire::RouteAction) -> Result<HostRewrite, ConfigError> {
    use parts::HostRewriteSpecifier as Wire;
    Ok(match &proto.host_rewrite_specifier {
        None => HostRewrite::None,
        Some(Wire::HostRewriteLiteral(host)) => {
            HostRewrite::Literal(value(host).within("host_rewrite_literal")?)
        }
        Some(Wire::AutoHostRewrite(auto)) if auto.value => HostRewrite::Auto,
        Some(Wire::AutoHostRewrite(_)) => HostRewrite::None,
        Some(Wire::HostRewriteHeader(header)) => {
            HostRewrite::Header(name(header).within("host_rewrite_header")?)
        }
        Some(Wire::HostRewritePathRegex(proto)) => {
            HostRewrite::PathRegex(substitution(proto).within("host_rewrite_path_regex")?)
        }
        Some(Wire::HostRewrite(_)) => {
            return Err(ConfigError::unsupported("host_rewrite", "a format string"));
        }
    })
}

#[allow(deprecated, reason = "control planes still send `max_grpc_timeout`")]
fn max_stream_duration(
    proto: &wire::RouteAction,
) -> Result<Option<MaxStreamDuration>, ConfigError> {
    let Some(limits) = &proto.max_stream_duration else {
        refuse(proto.max_grpc_timeout.is_some(), "max_grpc_timeout")?;
        refuse(proto.grpc_timeout_offset.is_some(), "grpc_timeout_offset")?;
        return Ok(None);
    };
    let field = |name: &str| format!("max_stream_duration.{name}");
    let optional =
        |proto: Option<&_>, name: &str| proto.map(duration).transpose().within(field(name));
    Ok(Some(MaxStreamDuration {
        limit: optional(limits.max_stream_duration.as_ref(), "max_stream_duration")?,
        grpc_header_max: optional(
            limits.grpc_timeout_header_max.as_ref(),
            "grpc_timeout_header_max",
        )?,
        grpc_header_offset: duration_or(
            &field("grpc_timeout_header_offset"),
            limits.grpc_timeout_header_offset.as_ref(),
            Duration::ZERO,
        )?,
    }))
}

fn mirrors(
    protos: &[parts::RequestMirrorPolicy],
    context: &mut ApplyContext<'_>,
) -> Result<Vec<Mirror>, ConfigError> {
    let mut mirrors = Vec::with_capacity(protos.len());
    for (n, proto) in protos.iter().enumerate() {
        let field = |name: &str| format!("request_mirror_policies[{n}].{name}");
        refuse(!proto.cluster_header.is_empty(), &field("cluster_header"))?;
        refuse(
            !proto.request_headers_mutations.is_empty(),
            &field("request_headers_mutations"),
        )?;
        refuse(
            !proto.host_rewrite_literal.is_empty(),
            &field("host_rewrite_literal"),
        )?;
        let fraction = proto.runtime_fraction.as_ref();
        mirrors.push(Mirror {
            cluster: reference(&proto.cluster, context),
            fraction: fraction.and_then(runtime_fraction).unwrap_or(Fraction::ALL),
            shadow_suffix: !proto.disable_shadow_host_suffix_append,
        });
    }
    Ok(mirrors)
}

fn hash(protos: &[parts::HashPolicy]) -> Result<Vec<HashPolicy>, ConfigError> {
    let policies = protos.iter().enumerate();
    let policies = policies.map(|(n, proto)| {
        let source = hash_source(proto).within(format_args!("hash_policy[{n}]"))?;
        Ok(source.map(|source| HashPolicy {
            source,
            terminal: proto.terminal,
        }))
    });
    policies.filter_map(Result::transpose).collect()
}

fn hash_source(proto: &parts::HashPolicy) -> Result<Option<HashSource>, ConfigError> {
    use parts::hash_policy::PolicySpecifier;
    Ok(Some(match &proto.policy_specifier {
        Some(PolicySpecifier::Header(header)) => {
            let rewrite = header.regex_rewrite.as_ref().map(substitution).transpose();
            let name = header
                .header_name
                .parse()
                .map_err(|_| ConfigError::new("header.header_name", "not a header name"))?;
            HashSource::Header(name, rewrite.within("header.regex_rewrite")?)
        }
        Some(PolicySpecifier::Cookie(cookie)) => HashSource::Cookie {
            name: cookie.name.as_str().into(),
            ttl: cookie
                .ttl
                .as_ref()
                .map(duration)
                .transpose()
                .within("cookie.ttl")?,
            path: cookie.path.as_str().into(),
            attributes: cookie
                .attributes
                .iter()
                .map(|attribute| {
                    (
                        attribute.name.as_str().into(),
                        attribute.value.as_str().into(),
                    )
                })
                .collect(),
        },
        Some(PolicySpecifier::ConnectionProperties(properties)) if properties.source_ip => {
            HashSource::SourceIp
        }
        Some(PolicySpecifier::ConnectionProperties(_)) => return Ok(None),
        Some(PolicySpecifier::QueryParameter(query)) => {
            HashSource::Query(query.name.as_str().into())
        }
        Some(PolicySpecifier::FilterState(_)) => {
            return Err(ConfigError::unsupported("filter_state", "filter state"));
        }
        None => return Err(ConfigError::new("policy_specifier", "missing")),
    }))
}

type Upgrades = Vec<(Box<str>, bool)>;

fn upgrades(proto: &wire::RouteAction) -> Result<Upgrades, ConfigError> {
    let mut upgrades = Vec::new();
    for (n, config) in proto.upgrade_configs.iter().enumerate() {
        let connect = format!("upgrade_configs[{n}].connect_config");
        refuse(config.connect_config.is_some(), &connect)?;
        let kind = config.upgrade_type.to_ascii_lowercase().into();
        upgrades.push((kind, bool_or(config.enabled.as_ref(), true)));
    }
    Ok(upgrades)
}
