//! One virtual host: the names that it answers to and its routes in order.

use std::sync::Arc;
use std::time::Duration;

use mesh_api::hostname::Hostname;
use mesh_api::labels::{Labels, Selector};
use mesh_api::route::matcher::HttpMatch;
use mesh_api::route::retry::RetryPolicy;
use mesh_api::route::{Destination, GatewayRef, HttpAction, HttpRoute, VirtualService};
use xds::envoy::route::{self, VirtualHost, virtual_host::TlsRequirementType};
use xds::envoy::{core, route::Route};
use xds::structs;

use super::{Upstream, action, matcher};
use crate::shared::Shared;
use crate::{names, wire};

/// All that a virtual host is made from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Inputs {
    /// The name.
    pub(crate) name: String,
    /// The hosts, without ports.
    pub(crate) domains: Arc<Vec<String>>,
    /// What the routes are.
    pub(crate) source: Source,
    /// Whether plaintext requests are sent to https.
    pub(crate) https_redirect: bool,
}

impl Inputs {
    /// The hosts that requests are sent to, as far as they are services or might become some.
    pub(crate) fn destinations(&self) -> Vec<Hostname> {
        match &self.source {
            Source::Rules(rules) => {
                let destinations = rules.upstreams.iter();
                destinations.map(|(to, _)| to.host.clone()).collect()
            }
            _ => Vec::new(),
        }
    }

    /// How many objects it is made from.
    pub(crate) fn objects(&self) -> usize {
        match &self.source {
            Source::Rules(rules) => rules.objects.len() + rules.upstreams.len(),
            _ => 1,
        }
    }
}

/// Where routes come from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Source {
    /// A service that no rule speaks about: everything goes there.
    Service(Box<ServiceRoute>),
    /// Rules.
    Rules(Box<Rules>),
    /// Unknown hosts are let through.
    AllowAny,
    /// Unknown hosts are refused.
    BlockAll,
    /// Nothing: 404.
    Nothing,
}

/// A service's only route.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ServiceRoute {
    /// Where to.
    pub(crate) upstream: Upstream,
    /// `host:port`, for traces.
    pub(crate) operation: String,
    /// The mesh's retries.
    pub(crate) retry: RetryPolicy,
}

/// Virtual services as one group of clients meets them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rules {
    /// The objects, oldest first.
    pub(crate) objects: Vec<Shared<VirtualService>>,
    /// Where the requests come in.
    pub(crate) client: Client,
    /// What each destination means.
    pub(crate) upstreams: Vec<(Destination, Upstream)>,
    /// Retries where a rule says nothing.
    pub(crate) retry: RetryPolicy,
}

/// Where requests come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    /// The service port, or the gateway's.
    pub(crate) port: u16,
    /// The gateways of the listener; none means a sidecar.
    pub(crate) gateways: Vec<GatewayRef>,
    /// The client's labels that rules ask for.
    pub(crate) labels: Labels,
    /// The client's namespace.
    pub(crate) namespace: String,
    /// Whether the connection is TLS.
    pub(crate) tls: bool,
}

impl Client {
    /// Whether a rule, by its object's gateways, its own and its sources, is for this client.
    fn is_meant(&self, object: &VirtualService, rule: Option<&HttpMatch>) -> bool {
        let gateways = match rule {
            Some(rule) if !rule.gateways.is_empty() => &rule.gateways,
            _ => &object.gateways,
        };
        if self.gateways.is_empty() {
            let by_source = rule.is_none_or(|rule| {
                Selector::new(rule.source_labels.clone()).matches(&self.labels)
                    && rule
                        .source_namespace
                        .as_deref()
                        .is_none_or(|ns| ns == self.namespace)
            });
            return gateways.contains(&GatewayRef::Mesh) && by_source;
        }
        self.gateways
            .iter()
            .any(|gateway| gateways.contains(gateway))
    }
}

/// Makes the virtual host.
pub(crate) fn generate(inputs: &Inputs) -> VirtualHost {
    VirtualHost {
        name: inputs.name.clone(),
        domains: inputs.domains.to_vec(),
        routes: match &inputs.source {
            Source::Service(route) => {
                vec![action::default_route(
                    &route.upstream,
                    &route.operation,
                    &route.retry,
                )]
            }
            Source::Rules(rules) => routes(rules),
            Source::AllowAny => vec![allow_any()],
            Source::BlockAll => vec![block_all()],
            Source::Nothing => Vec::new(),
        },
        require_tls: if inputs.https_redirect {
            TlsRequirementType::All.into()
        } else {
            TlsRequirementType::None.into()
        },
        include_request_attempt_count: true,
        ..Default::default()
    }
}

/// Rules in the order in which they match. A rule for everything ends its object's list; with
/// several objects, the first such rule comes last of all.
fn routes(rules: &Rules) -> Vec<Route> {
    let mut routes = Vec::new();
    let mut catch_all = None;
    for object in &rules.objects {
        for rule in &object.http {
            let (specific, general) = routes_of_rule(rules, object, rule);
            routes.extend(specific);
            if let Some(general) = general {
                catch_all.get_or_insert(general);
                break;
            }
        }
    }
    routes.extend(catch_all);
    routes
}

/// A rule's routes, one for each match, and the one among them that matches everything.
fn routes_of_rule(
    rules: &Rules,
    object: &VirtualService,
    rule: &HttpRoute,
) -> (Vec<Route>, Option<Route>) {
    if rule.matches.is_empty() {
        let meant = rules.client.is_meant(object, None);
        let anything = HttpMatch::default();
        return (
            Vec::new(),
            meant.then(|| one_route(rules, object, rule, &anything)),
        );
    }
    let mut specific = Vec::new();
    for one in &rule.matches {
        let meant = rules.client.is_meant(object, Some(one))
            && one.port.is_none_or(|port| port == rules.client.port);
        if !meant {
            continue;
        }
        let route = one_route(rules, object, rule, one);
        if one.is_catch_all() {
            return (specific, Some(route));
        }
        specific.push(route);
    }
    (specific, None)
}

fn one_route(rules: &Rules, object: &VirtualService, rule: &HttpRoute, one: &HttpMatch) -> Route {
    let mut route = Route {
        name: route_name(&rule.name, &one.name),
        r#match: Some(matcher::route_match(one)),
        metadata: Some(metadata(object)),
        stat_prefix: one.stat_prefix.as_deref().unwrap_or_default().to_owned(),
        ..Default::default()
    };
    if let HttpAction::Route(destinations) = &rule.action {
        let host = destinations
            .first()
            .map(|d| d.destination.host.as_str())
            .unwrap_or_default();
        route.decorator = Some(route::Decorator {
            operation: format!("{host}:{}{}", rules.client.port, path_of(one)),
            ..Default::default()
        });
    }
    action::apply(&mut route, rules, rule, one);
    route
}

fn path_of(one: &HttpMatch) -> String {
    use mesh_api::route::matcher::StringMatch;
    match &one.uri {
        Some(StringMatch::Exact(path)) => path.to_string(),
        Some(StringMatch::Prefix(prefix)) => format!("{prefix}*"),
        Some(StringMatch::Regex(regex)) => regex.to_string(),
        Some(StringMatch::Present) | None => "/*".to_owned(),
    }
}

fn route_name(rule: &Arc<str>, one: &Arc<str>) -> String {
    match (rule.is_empty(), one.is_empty()) {
        (_, true) => rule.to_string(),
        (true, false) => one.to_string(),
        (false, false) => format!("{rule}.{one}"),
    }
}

/// The object behind a route, for people: `/apis/…/virtual-service/NAME`.
fn metadata(object: &VirtualService) -> core::Metadata {
    let (namespace, name) = (object.meta.namespace(), object.meta.name());
    let path =
        format!("/apis/networking.istio.io/v1/namespaces/{namespace}/virtual-service/{name}");
    let istio = structs::object([("config", structs::string(path))]);
    core::Metadata {
        filter_metadata: [(names::ISTIO_METADATA.to_owned(), istio)].into(),
        ..Default::default()
    }
}

fn allow_any() -> Route {
    let upstream = Upstream {
        cluster: names::PASSTHROUGH_CLUSTER.to_owned(),
        hash: None,
    };
    Route {
        name: names::ALLOW_ANY.to_owned(),
        r#match: Some(matcher::everything()),
        action: Some(route::route::Action::Route(route::RouteAction {
            timeout: Some(wire::duration(Duration::ZERO)),
            max_stream_duration: Some(action::grpc_timeout(Duration::ZERO)),
            ..action::to_cluster(&upstream)
        })),
        ..Default::default()
    }
}

fn block_all() -> Route {
    Route {
        name: names::BLOCK_ALL.to_owned(),
        r#match: Some(matcher::everything()),
        action: Some(route::route::Action::DirectResponse(
            route::DirectResponseAction {
                status: 502,
                ..Default::default()
            },
        )),
        ..Default::default()
    }
}
