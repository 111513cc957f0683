use mesh_api::resource::Visibility;
use mesh_api::route::matcher::{HttpMatch, StringMatch};
use mesh_api::route::redirect::RedirectPath;
use mesh_api::route::rewrite::PathRewrite;
use mesh_api::route::{Destination, HttpAction, HttpRoute};
use serde_json::{Value, json};

use super::*;
use crate::snapshot::derived::tests::All;

mod grpc;
mod l4;

const BASE: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: istio}
spec: {controllerName: istio.io/gateway-controller}
---
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: shop}
spec: {clusterIP: 10.96.0.1, ports: [{name: http, port: 9080}]}
---
apiVersion: v1
kind: Service
metadata: {name: ratings, namespace: other}
spec: {clusterIP: 10.96.0.2, ports: [{name: http, port: 9081}]}
---
apiVersion: v1
kind: Service
metadata: {name: edge-istio, namespace: shop}
spec: {clusterIP: 10.96.0.3, selector: {a: b}, ports: [{name: http, port: 80}]}
";

const GATEWAY: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: shop}
spec:
  gatewayClassName: istio
  listeners: [{name: http, port: 80, protocol: HTTP, hostname: '*.example'}]
";

fn route(name: &str, namespace: &str, hosts: &str, rules: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec:\n  parentRefs: [{{name: edge, namespace: shop}}]\n  hostnames: [{hosts}]\n  rules: [{rules}]\n"
    )
}

const TO_REVIEWS: &str = "backendRefs: [{name: reviews, port: 9080}]";

fn derived(documents: &[&str]) -> All {
    All::of(documents)
}

/// `HOST: MATCHES -> TARGETS` of every rule.
fn routes(derived: &All) -> Vec<String> {
    let rules = derived.virtual_services.iter().flat_map(|object| {
        let host = object.hosts[0].as_str();
        object
            .http
            .iter()
            .map(move |rule| format!("{host}: {}", show(rule)))
    });
    rules.collect()
}

fn show(rule: &HttpRoute) -> String {
    let uri = |one: &HttpMatch| match &one.uri {
        Some(StringMatch::Exact(text)) => format!("={text}"),
        Some(StringMatch::Prefix(text)) => text.to_string(),
        Some(StringMatch::Regex(text)) => format!("~{text}"),
        other => format!("{other:?}"),
    };
    let matches: Vec<String> = rule.matches.iter().map(uri).collect();
    let target = match &rule.action {
        HttpAction::Route(routes) => {
            let all = routes
                .iter()
                .map(|one| format!("{}*{}", name(&one.destination), one.weight));
            all.collect::<Vec<_>>().join(" ")
        }
        HttpAction::Redirect(redirect) => match &redirect.path {
            Some(RedirectPath::Full(path)) => format!("{} ={path}", redirect.code),
            Some(RedirectPath::Prefix(path)) => format!("{} {path}", redirect.code),
            None => redirect.code.to_string(),
        },
        HttpAction::DirectResponse(answer) => answer.status.to_string(),
        HttpAction::Delegate { .. } => "delegate".to_owned(),
    };
    let rewrite = rule
        .rewrite
        .as_ref()
        .and_then(|rewrite| rewrite.path.as_ref());
    let rewrite = rewrite.map(|path| match path {
        PathRewrite::Uri(uri) => format!(" as {uri}"),
        PathRewrite::Regex { substitution, .. } => format!(" as ~{substitution}"),
    });
    format!(
        "[{}] -> {target}{}",
        matches.join(" "),
        rewrite.unwrap_or_default()
    )
}

/// The first label of a destination's host.
fn name(destination: &Destination) -> &str {
    match destination.is_nowhere() {
        true => "nowhere",
        false => destination.host.as_str().split('.').next().unwrap(),
    }
}

/// Condition type and reason, those that are False with a mark before.
fn reasons(conditions: &Value) -> Vec<String> {
    let conditions = conditions.as_array().unwrap().iter();
    let shown = conditions.map(|one| {
        let mark = if one["status"] == "True" { "" } else { "!" };
        format!(
            "{mark}{} {}",
            one["type"].as_str().unwrap(),
            one["reason"].as_str().unwrap()
        )
    });
    shown.collect()
}

fn status(derived: &All, kind: &str, namespace: &str, name: &str) -> Value {
    let feedback = &derived.feedback[&ResourceKey::new(kind, namespace, name)];
    feedback.status.clone()
}

#[test]
fn matches_of_all_routes_are_tried_best_first() {
    let prefix = "matches: [{path: {type: PathPrefix, value: /a/}}, {path: {value: /}}]";
    let first = route(
        "a",
        "shop",
        "x.example",
        &format!("{{{prefix}, {TO_REVIEWS}}}"),
    );
    let exact = "matches: [{path: {type: Exact, value: /a/b}}, {path: {value: /a}, method: GET}]";
    let second = route(
        "b",
        "shop",
        "x.example",
        &format!("{{{exact}, {TO_REVIEWS}}}"),
    );
    let derived = derived(&[BASE, GATEWAY, &first, &second]);
    assert_eq!(
        routes(&derived),
        [
            "x.example: [=/a/b] -> reviews*1",
            "x.example: [=/a /a/] -> reviews*1",
            "x.example: [=/a /a/] -> reviews*1",
            "x.example: [/] -> reviews*1",
        ]
    );
    let method = &derived.virtual_services[0].http[1].matches[0].method;
    assert_eq!(*method, Some(StringMatch::Exact("GET".into())));
}

#[test]
fn expressions_go_before_no_path() {
    let expression = "matches: [{path: {type: RegularExpression, value: '/v[12]/.*'}}]";
    let rules = format!("{{{TO_REVIEWS}}}, {{{expression}, {TO_REVIEWS}}}");
    let route = route("a", "shop", "x.example", &rules);
    assert_eq!(
        routes(&derived(&[BASE, GATEWAY, &route])),
        [
            "x.example: [~/v[12]/.*] -> reviews*1",
            "x.example: [/] -> reviews*1",
        ]
    );
}

#[test]
fn backends_that_do_not_resolve_keep_their_share() {
    let backends = "{name: reviews, port: 9080, weight: 3}, {name: gone, port: 1}, {name: reviews, port: 1, weight: 0}";
    let rule = format!("{{backendRefs: [{backends}]}}");
    let route = route("a", "shop", "x.example", &rule);
    let derived = derived(&[BASE, GATEWAY, &route]);
    assert_eq!(routes(&derived), ["x.example: [/] -> reviews*3 nowhere*1"]);
    let parent = &status(&derived, "HTTPRoute", "shop", "a")["parents"][0];
    assert_eq!(
        reasons(&parent["conditions"]),
        ["Accepted Accepted", "!ResolvedRefs BackendNotFound"]
    );
}

#[test]
fn replaced_prefixes_keep_whole_segments() {
    let replace = "path: {type: ReplacePrefixMatch, replacePrefixMatch: /b}";
    let of = |kind: &str, field: &str, backends: &str| {
        let rule = format!(
            "{{matches: [{{path: {{value: /a}}}}], filters: [{{type: {kind}, {field}: {{{replace}}}}}]{backends}}}"
        );
        routes(&derived(&[
            BASE,
            GATEWAY,
            &route("a", "shop", "x.example", &rule),
        ]))
    };
    assert_eq!(
        of("URLRewrite", "urlRewrite", &format!(", {TO_REVIEWS}")),
        [
            "x.example: [=/a] -> reviews*1 as /b",
            "x.example: [/a/] -> reviews*1 as /b/"
        ]
    );
    assert_eq!(
        of("RequestRedirect", "requestRedirect", ""),
        ["x.example: [=/a] -> 302 =/b", "x.example: [/a/] -> 302 /b/"]
    );
}

#[test]
fn a_gateway_and_its_routes_are_told_what_became_of_them() {
    let good = route("a", "shop", "x.example", &format!("{{{TO_REVIEWS}}}"));
    let derived = derived(&[BASE, GATEWAY, &good]);
    let gateway = status(&derived, "KubernetesGateway", "shop", "edge");
    assert_eq!(
        reasons(&gateway["conditions"]),
        ["Accepted Accepted", "Programmed Programmed"]
    );
    assert_eq!(
        gateway["addresses"],
        json!([{"type": "Hostname", "value": "edge-istio.shop.svc.cluster.local"}])
    );
    let listener = &gateway["listeners"][0];
    assert_eq!(listener["attachedRoutes"], 1);
    assert_eq!(
        reasons(&listener["conditions"]),
        [
            "Accepted Accepted",
            "Programmed Programmed",
            "ResolvedRefs ResolvedRefs",
            "!Conflicted NoConflicts",
        ]
    );
    let parent = &status(&derived, "HTTPRoute", "shop", "a")["parents"][0];
    assert_eq!(
        parent["parentRef"],
        json!({"name": "edge", "namespace": "shop"})
    );
    assert_eq!(
        reasons(&parent["conditions"]),
        ["Accepted Accepted", "ResolvedRefs ResolvedRefs"]
    );
    let model = &derived.gateways[0];
    assert_eq!(model.pod_namespace.as_deref(), Some("shop"));
    assert_eq!(
        model.trusted_pods,
        Some(mesh_api::gateway::TrustedPods {
            namespace: "shop".into(),
            service_account: Some("edge-istio".into()),
        })
    );
    assert!(
        model
            .selector
            .matches(&[(listener::GATEWAY_NAME, "edge")].into_iter().collect())
    );
}

#[test]
fn routes_that_do_not_fit_are_refused_with_a_reason() {
    let refused = |route: &str| {
        let derived = derived(&[BASE, GATEWAY, route]);
        assert_eq!(routes(&derived), Vec::<String>::new());
        let namespace = if route.contains("namespace: other") {
            "other"
        } else {
            "shop"
        };
        let parents = status(&derived, "HTTPRoute", namespace, "a");
        reasons(&parents["parents"][0]["conditions"])[0].clone()
    };
    let rule = format!("{{{TO_REVIEWS}}}");
    assert_eq!(
        refused(&route("a", "shop", "x.elsewhere", &rule)),
        "!Accepted NoMatchingListenerHostname"
    );
    assert_eq!(
        refused(&route("a", "other", "x.example", &rule)),
        "!Accepted NotAllowedByListeners"
    );
    let section = route("a", "shop", "x.example", &rule)
        .replace("name: edge,", "name: edge, sectionName: https,");
    assert_eq!(refused(&section), "!Accepted NoMatchingParent");
}

#[test]
fn backends_of_other_namespaces_need_a_grant() {
    let rule = "{backendRefs: [{name: ratings, namespace: other, port: 9081}]}";
    let route = route("a", "shop", "x.example", rule);
    let without = derived(&[BASE, GATEWAY, &route]);
    assert_eq!(routes(&without), ["x.example: [/] -> 500"]);
    let parent = &status(&without, "HTTPRoute", "shop", "a")["parents"][0];
    assert_eq!(
        reasons(&parent["conditions"])[1],
        "!ResolvedRefs RefNotPermitted"
    );
    let grant = "
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: g, namespace: other}
spec:
  from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: shop}]
  to: [{group: '', kind: Service}]
";
    assert_eq!(
        routes(&derived(&[BASE, GATEWAY, &route, grant])),
        ["x.example: [/] -> ratings*1"]
    );
}

#[test]
fn listeners_that_cannot_be_are_named() {
    let gateway = GATEWAY.replace(
        "listeners: [",
        "listeners: [{name: udp, port: 90, protocol: UDP}, {name: tls, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: nowhere}]}}, ",
    );
    let derived = derived(&[BASE, &gateway]);
    let status = status(&derived, "KubernetesGateway", "shop", "edge");
    assert_eq!(
        reasons(&status["conditions"])[0],
        "Accepted ListenersNotValid"
    );
    let of = |index: usize| reasons(&status["listeners"][index]["conditions"]);
    assert_eq!(of(0)[0], "!Accepted UnsupportedProtocol");
    assert_eq!(of(1)[2], "!ResolvedRefs InvalidCertificateRef");
    assert_eq!(derived.gateways.len(), 1);
}

#[test]
fn a_route_to_a_service_is_for_sidecars() {
    let route = route("a", "shop", "", &format!("{{{TO_REVIEWS}}}")).replace(
        "{name: edge, namespace: shop}",
        "{group: '', kind: Service, name: reviews, port: 9080}",
    );
    let derived = derived(&[BASE, &route]);
    assert_eq!(
        routes(&derived),
        ["reviews.shop.svc.cluster.local: [/] -> reviews*1"]
    );
    let object = &derived.virtual_services[0];
    assert_eq!(object.gateways, [GatewayRef::Mesh]);
    assert_eq!(object.visibility, Visibility::Public);
    assert_eq!(object.http[0].matches[0].port, Some(9080));
}

#[test]
fn classes_of_others_are_left_alone() {
    let foreign = BASE.replace("istio.io/gateway-controller", "example.com/other");
    let route = route("a", "shop", "x.example", &format!("{{{TO_REVIEWS}}}"));
    assert_eq!(derived(&[&foreign, GATEWAY, &route]), All::default());
}
