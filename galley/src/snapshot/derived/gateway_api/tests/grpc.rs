//! GRPCRoutes, alone and beside HTTPRoutes.

use super::*;

fn grpc(name: &str, rules: &str) -> String {
    route(name, "shop", "x.example", rules).replace("HTTPRoute", "GRPCRoute")
}

#[test]
fn methods_are_tried_best_first() {
    let rule = |method: &str| format!("{{matches: [{{method: {{{method}}}}}], {TO_REVIEWS}}}");
    let rules = [
        rule("method: Get"),
        rule("service: a.B"),
        rule("type: RegularExpression, service: 'a.*'"),
        rule("service: a.B, method: Get"),
        rule("service: a.Long"),
    ];
    let everything = format!("{{{TO_REVIEWS}}}");
    let all = grpc("a", &format!("{everything}, {}", rules.join(", ")));
    assert_eq!(
        routes(&derived(&[BASE, GATEWAY, &all])),
        [
            "x.example: [=/a.B/Get] -> reviews*1",
            "x.example: [=/a.Long /a.Long/] -> reviews*1",
            "x.example: [=/a.B /a.B/] -> reviews*1",
            "x.example: [~/(?:a.*)/.+] -> reviews*1",
            "x.example: [~/[^/]+/Get] -> reviews*1",
            "x.example: [/] -> reviews*1",
        ]
    );
}

#[test]
fn requests_of_both_kinds_share_a_host() {
    let http = route(
        "a",
        "shop",
        "x.example",
        &format!("{{matches: [{{path: {{value: /a.B}}}}], {TO_REVIEWS}}}"),
    );
    let exact = "matches: [{method: {service: a.B, method: Get}}]";
    let elsewhere = "backendRefs: [{name: ratings, namespace: other, port: 9081}]";
    let grpc = grpc("b", &format!("{{{exact}, {elsewhere}}}"));
    let grant = "
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: g, namespace: other}
spec:
  from: [{group: gateway.networking.k8s.io, kind: GRPCRoute, namespace: shop}]
  to: [{group: '', kind: Service}]
";
    let derived = derived(&[BASE, GATEWAY, &http, &grpc, grant]);
    assert_eq!(
        routes(&derived),
        [
            "x.example: [=/a.B/Get] -> ratings*1",
            "x.example: [=/a.B /a.B/] -> reviews*1",
        ]
    );
    let parent = &status(&derived, "GRPCRoute", "shop", "b")["parents"][0];
    assert_eq!(
        reasons(&parent["conditions"]),
        ["Accepted Accepted", "ResolvedRefs ResolvedRefs"]
    );
    let gateway = status(&derived, "KubernetesGateway", "shop", "edge");
    let listener = &gateway["listeners"][0];
    assert_eq!(listener["attachedRoutes"], 2);
    let group = "gateway.networking.k8s.io";
    assert_eq!(
        listener["supportedKinds"],
        json!([{"group": group, "kind": "HTTPRoute"}, {"group": group, "kind": "GRPCRoute"}])
    );
}

#[test]
fn calls_of_sidecars_go_by_service() {
    let route = grpc("a", &format!("{{{TO_REVIEWS}}}")).replace(
        "{name: edge, namespace: shop}",
        "{group: '', kind: Service, name: reviews}",
    );
    let derived = derived(&[BASE, &route]);
    assert_eq!(
        routes(&derived),
        ["reviews.shop.svc.cluster.local: [/] -> reviews*1"]
    );
    assert_eq!(derived.virtual_services[0].gateways, [GatewayRef::Mesh]);
}

#[test]
fn a_listener_may_leave_calls_out() {
    let listeners = "hostname: '*.example', allowedRoutes: {kinds: [{kind: HTTPRoute}]}";
    let gateway = GATEWAY.replace("hostname: '*.example'", listeners);
    let route = grpc("a", &format!("{{{TO_REVIEWS}}}"));
    let derived = derived(&[BASE, &gateway, &route]);
    assert_eq!(routes(&derived), Vec::<String>::new());
    let parent = &status(&derived, "GRPCRoute", "shop", "a")["parents"][0];
    assert_eq!(
        reasons(&parent["conditions"])[0],
        "!Accepted NotAllowedByListeners"
    );
}
