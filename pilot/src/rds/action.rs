//! What happens to a request that matched.

use std::time::Duration;

use mesh_api::route::matcher::{HttpMatch, StringMatch};
use mesh_api::route::mirror::Mirror;
use mesh_api::route::redirect::{DirectResponse, Redirect, RedirectPath, RedirectPort, Scheme};
use mesh_api::route::retry::RetryPolicy;
use mesh_api::route::rewrite::{PathRewrite, Rewrite};
use mesh_api::route::timeout::Timeout;
use mesh_api::route::{Destination, HttpAction, HttpRoute, WeightedDestination};
use xds::envoy::route::{
    self, DirectResponseAction, RedirectAction, Route, RouteAction, WeightedCluster,
    redirect_action::{PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier},
    route::Action,
    route_action::{
        ClusterNotFoundResponseCode as NotFoundCode, ClusterSpecifier, HostRewriteSpecifier,
        MaxStreamDuration, RequestMirrorPolicy,
    },
    weighted_cluster::ClusterWeight,
};
use xds::envoy::{core, matcher as wire_matcher};

use super::virtual_host::Rules;
use super::{Upstream, fault, hash_policy, headers, matcher, retry};
use crate::wire;

/// The route of a service that no rule speaks about.
pub(super) fn default_route(upstream: &Upstream, operation: &str, policy: &RetryPolicy) -> Route {
    let mut action = to_cluster(upstream);
    set_timeout(&mut action, Timeout::Off);
    action.retry_policy = retry::policy(policy, upstream.hash.is_some());
    Route {
        name: "default".to_owned(),
        r#match: Some(matcher::everything()),
        decorator: Some(route::Decorator {
            operation: format!("{operation}/*"),
            ..Default::default()
        }),
        action: Some(Action::Route(action)),
        ..Default::default()
    }
}

/// A route to one cluster.
pub(super) fn to_cluster(upstream: &Upstream) -> RouteAction {
    RouteAction {
        cluster_specifier: Some(ClusterSpecifier::Cluster(upstream.cluster.clone())),
        hash_policy: upstream
            .hash
            .as_ref()
            .map(hash_policy::policy)
            .into_iter()
            .collect(),
        ..Default::default()
    }
}

/// How far the client's `grpc-timeout` is honoured; zero is without bound.
///
/// Differs from Istio, which still sends the deprecated field of the same meaning.
pub(super) fn grpc_timeout(max: Duration) -> MaxStreamDuration {
    MaxStreamDuration {
        grpc_timeout_header_max: Some(wire::duration(max)),
        ..Default::default()
    }
}

/// Puts a rule's action into a route.
pub(super) fn apply(route: &mut Route, rules: &Rules, rule: &HttpRoute, one: &HttpMatch) {
    headers::apply(route, &rule.headers);
    if let Some(cors) = &rule.cors {
        let (name, config) = fault::cors(cors);
        route.typed_per_filter_config.insert(name, config);
    }
    route.action = Some(match &rule.action {
        HttpAction::Route(destinations) => {
            if let Some(injected) = &rule.fault {
                let (name, config) = fault::fault(injected);
                route.typed_per_filter_config.insert(name, config);
            }
            Action::Route(forward(route, rules, rule, one, destinations))
        }
        HttpAction::Redirect(target) => Action::Redirect(redirect(target, rules)),
        HttpAction::DirectResponse(answer) => Action::DirectResponse(direct_response(answer)),
        // Resolved when the scope was made; one that is left has no delegate to go to.
        HttpAction::Delegate { .. } => Action::DirectResponse(DirectResponseAction {
            status: 404,
            ..Default::default()
        }),
    });
}

fn forward(
    route: &mut Route,
    rules: &Rules,
    rule: &HttpRoute,
    one: &HttpMatch,
    destinations: &[WeightedDestination],
) -> RouteAction {
    let mut action = match destinations {
        [only] => {
            headers::apply(route, &only.headers);
            let mut action = to_cluster(&upstream(rules, &only.destination));
            action.host_rewrite_specifier =
                headers::host(&only.headers.request).map(HostRewriteSpecifier::HostRewriteLiteral);
            action
        }
        several => weighted(rules, several),
    };
    if destinations.iter().any(|one| one.destination.is_nowhere()) {
        action.set_cluster_not_found_response_code(NotFoundCode::InternalServerError);
    }
    set_timeout(&mut action, rule.timeout);
    action.retry_policy = retry::policy(
        rule.retries.as_ref().unwrap_or(&rules.retry),
        !action.hash_policy.is_empty(),
    );
    action.request_mirror_policies = rule
        .mirrors
        .iter()
        .map(|mirror| shadow(rules, mirror))
        .collect();
    if let Some(host) = headers::host(&rule.headers.request) {
        action.host_rewrite_specifier = Some(HostRewriteSpecifier::HostRewriteLiteral(host));
    }
    if let Some(changes) = &rule.rewrite {
        rewrite(&mut action, changes, one);
    }
    action
}

/// Several destinations: weight 0 gets nothing. The first that is hashed tells the hash.
fn weighted(rules: &Rules, destinations: &[WeightedDestination]) -> RouteAction {
    let positive = destinations
        .iter()
        .filter(|destination| destination.weight > 0);
    let mut hash_policy = Vec::new();
    let clusters = positive
        .map(|destination| {
            let upstream = upstream(rules, &destination.destination);
            if let (Some(hash), true) = (&upstream.hash, hash_policy.is_empty()) {
                hash_policy.push(hash_policy::policy(hash));
            }
            let mut cluster = ClusterWeight {
                name: upstream.cluster,
                weight: Some(wire::number(destination.weight)),
                ..Default::default()
            };
            headers::apply_to_cluster(&mut cluster, &destination.headers);
            cluster
        })
        .collect();
    let clusters = WeightedCluster {
        clusters,
        ..Default::default()
    };
    RouteAction {
        cluster_specifier: Some(ClusterSpecifier::WeightedClusters(clusters)),
        hash_policy,
        ..Default::default()
    }
}

fn upstream(rules: &Rules, destination: &Destination) -> Upstream {
    let known = rules
        .upstreams
        .iter()
        .find(|(known, _)| known == destination);
    known
        .map(|(_, upstream)| upstream.clone())
        .expect("inputs resolve every destination")
}

fn set_timeout(action: &mut RouteAction, timeout: Timeout) {
    let limit = match timeout {
        Timeout::Off => Duration::ZERO,
        Timeout::After(limit) => limit,
    };
    action.timeout = Some(wire::duration(limit));
    // In Envoy a route with this field has no other timeout: `timeout` beside it would be ignored.
    action.max_stream_duration = limit.is_zero().then(|| grpc_timeout(limit));
}

fn shadow(rules: &Rules, mirror: &Mirror) -> RequestMirrorPolicy {
    RequestMirrorPolicy {
        cluster: upstream(rules, &mirror.destination).cluster,
        runtime_fraction: Some(core::RuntimeFractionalPercent {
            default_value: Some(wire::millionths(mirror.percentage.millionths())),
            ..Default::default()
        }),
        trace_sampled: Some(wire::boolean(false)),
        disable_shadow_host_suffix_append: true,
        ..Default::default()
    }
}

fn rewrite(action: &mut RouteAction, changes: &Rewrite, one: &HttpMatch) {
    match &changes.path {
        // After a match by expression there is no prefix: the whole path is replaced.
        Some(PathRewrite::Uri(path)) if matches!(one.uri, Some(StringMatch::Regex(_))) => {
            action.regex_rewrite = Some(substitution(".*", path));
        }
        Some(PathRewrite::Uri(path)) => action.prefix_rewrite = path.to_string(),
        Some(PathRewrite::Regex {
            pattern,
            substitution: with,
        }) => {
            action.regex_rewrite = Some(substitution(pattern, with));
        }
        None => {}
    }
    if let Some(authority) = &changes.authority {
        action.host_rewrite_specifier = Some(HostRewriteSpecifier::HostRewriteLiteral(
            authority.to_string(),
        ));
    }
}

fn substitution(pattern: &str, with: &str) -> wire_matcher::RegexMatchAndSubstitute {
    wire_matcher::RegexMatchAndSubstitute {
        pattern: Some(wire::regex_matcher(pattern)),
        substitution: with.to_owned(),
    }
}

fn redirect(target: &Redirect, rules: &Rules) -> RedirectAction {
    let scheme = target.scheme.unwrap_or(if rules.client.tls {
        Scheme::Https
    } else {
        Scheme::Http
    });
    // Ports that the scheme implies are not written into the location.
    let implied = match scheme {
        Scheme::Http => 80,
        Scheme::Https => 443,
    };
    let port = match target.port {
        Some(RedirectPort::Number(port)) => port,
        Some(RedirectPort::Request) => rules.client.port,
        Some(RedirectPort::ProtocolDefault) | None => 0,
    };
    RedirectAction {
        host_redirect: target.authority.as_deref().unwrap_or_default().to_owned(),
        port_redirect: if port == implied { 0 } else { port.into() },
        response_code: match target.code {
            302 => RedirectResponseCode::Found,
            303 => RedirectResponseCode::SeeOther,
            307 => RedirectResponseCode::TemporaryRedirect,
            308 => RedirectResponseCode::PermanentRedirect,
            _ => RedirectResponseCode::MovedPermanently,
        }
        .into(),
        scheme_rewrite_specifier: target.scheme.map(|scheme| {
            SchemeRewriteSpecifier::SchemeRedirect(
                match scheme {
                    Scheme::Http => "http",
                    Scheme::Https => "https",
                }
                .to_owned(),
            )
        }),
        path_rewrite_specifier: target.path.as_ref().map(|path| match path {
            RedirectPath::Full(path) => PathRewriteSpecifier::PathRedirect(path.to_string()),
            RedirectPath::Prefix(prefix) => PathRewriteSpecifier::PrefixRewrite(prefix.to_string()),
        }),
        ..Default::default()
    }
}

fn direct_response(answer: &DirectResponse) -> DirectResponseAction {
    DirectResponseAction {
        status: answer.status.into(),
        body: answer.body.as_ref().map(|body| core::DataSource {
            specifier: Some(match std::str::from_utf8(body) {
                Ok(text) => core::data_source::Specifier::InlineString(text.to_owned()),
                Err(_) => core::data_source::Specifier::InlineBytes(body.to_vec()),
            }),
            ..Default::default()
        }),
        ..Default::default()
    }
}
