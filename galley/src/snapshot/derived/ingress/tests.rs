use mesh_api::gateway::{ServerCertificate, ServerTlsMode};

use super::*;
use crate::snapshot::derived::tests::All;

const SERVICES: &str = "
apiVersion: v1
kind: Service
metadata: {name: reviews}
spec: {clusterIP: 10.96.0.1, ports: [{name: http, port: 9080}]}
---
apiVersion: v1
kind: Service
metadata: {name: ratings}
spec: {clusterIP: 10.96.0.2, ports: [{name: http, port: 9081}]}
";

const CLASS: &str = "
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: mesh}
spec: {controller: istio.io/ingress-controller}
";

fn ingress(name: &str, class: &str, spec: &str) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: {name}}}\nspec: {{ingressClassName: {class}, {spec}}}\n"
    )
}

fn path(path: &str, kind: &str, service: &str, port: &str) -> String {
    format!(
        "{{path: {path}, pathType: {kind}, backend: {{service: {{name: {service}, port: {{{port}}}}}}}}}"
    )
}

fn derived(documents: &[&str]) -> All {
    All::of(documents)
}

/// `HOST: MATCHES -> SERVICE:PORT` of every rule.
fn routes(derived: &All) -> Vec<String> {
    let rules = derived.virtual_services.iter().flat_map(|object| {
        let host = object.hosts[0].as_str().to_owned();
        object.http.iter().map(move |rule| (host.clone(), rule))
    });
    rules
        .map(|(host, rule)| format!("{host}: {}", show(rule)))
        .collect()
}

fn show(rule: &HttpRoute) -> String {
    let matches: Vec<String> = rule
        .matches
        .iter()
        .map(|one| match &one.uri {
            Some(StringMatch::Exact(text)) => format!("={text}"),
            Some(StringMatch::Prefix(text)) => text.to_string(),
            other => format!("{other:?}"),
        })
        .collect();
    let target = match &rule.action {
        HttpAction::Route(routes) => {
            let destination = &routes[0].destination;
            let name = destination.host.as_str().split('.').next().unwrap();
            format!("{name}:{}", destination.port.unwrap())
        }
        HttpAction::DirectResponse(answer) => answer.status.to_string(),
        other => format!("{other:?}"),
    };
    format!("[{}] -> {target}", matches.join(" "))
}

#[test]
fn the_best_path_wins_wherever_it_was_written() {
    let first = ingress(
        "a",
        "mesh",
        &format!(
            "rules: [{{host: shop.example, http: {{paths: [{}, {}]}}}}]",
            path("/", "Prefix", "reviews", "number: 9080"),
            path("/api/", "Prefix", "reviews", "name: http"),
        ),
    );
    let second = ingress(
        "b",
        "mesh",
        &format!(
            "rules: [{{host: shop.example, http: {{paths: [{}, {}]}}}}]",
            path("/api/v1", "Exact", "ratings", "number: 9081"),
            path(
                "/static.*",
                "ImplementationSpecific",
                "ratings",
                "number: 9081"
            ),
        ),
    );
    let derived = derived(&[SERVICES, CLASS, &first, &second]);
    assert_eq!(
        routes(&derived),
        [
            "shop.example: [=/api/v1] -> ratings:9081",
            "shop.example: [/static] -> ratings:9081",
            "shop.example: [=/api /api/] -> reviews:9080",
            "shop.example: [/] -> reviews:9080",
        ]
    );
    assert_eq!(derived.virtual_services[0].gateways.len(), 2);
}

#[test]
fn backends_that_are_not_there_are_unavailable() {
    let text = ingress(
        "a",
        "istio",
        &format!(
            "rules: [{{http: {{paths: [{}, {}]}}}}], defaultBackend: {{service: {{name: ratings, port: {{number: 9081}}}}}}",
            path("/a", "Exact", "nobody", "number: 1"),
            path("/b", "Exact", "reviews", "name: grpc"),
        ),
    );
    assert_eq!(
        routes(&derived(&[SERVICES, &text])),
        [
            "*: [=/a] -> 503",
            "*: [=/b] -> 503",
            "*: [] -> ratings:9081"
        ]
    );
}

#[test]
fn secrets_become_tls_servers_of_the_ingress_gateway() {
    let text = ingress(
        "a",
        "mesh",
        "tls: [{hosts: [shop.example], secretName: cert}, {hosts: [x.example]}]",
    );
    let derived = derived(&[CLASS, &text]);
    let gateway = &derived.gateways[0];
    assert!(gateway.selector.matches(&[SELECTOR].into_iter().collect()));
    let ports: Vec<_> = gateway.servers.iter().map(|server| server.port).collect();
    assert_eq!(ports, [443, 80]);
    let mode = gateway.servers[0].tls.as_ref().unwrap().mode.clone();
    let certificate = ServerCertificate::Credential("cert".into());
    assert_eq!(mode, Some(ServerTlsMode::Simple(certificate)));
}

#[test]
fn ingresses_of_other_classes_are_left_alone() {
    let foreign = CLASS.replace("istio.io/", "k8s.io/");
    let backend = "defaultBackend: {service: {name: reviews, port: {number: 9080}}}";
    assert_eq!(
        derived(&[SERVICES, &ingress("a", "nginx", backend)]),
        All::default()
    );
    assert_eq!(
        derived(&[SERVICES, &foreign, &ingress("a", "mesh", backend)]),
        All::default()
    );
    let annotated = ingress("a", "nginx", backend).replace(
        "{name: a}",
        "{name: a, annotations: {kubernetes.io/ingress.class: istio}}",
    );
    assert_eq!(
        routes(&derived(&[SERVICES, &annotated])),
        ["*: [] -> reviews:9080"]
    );
}

#[test]
fn the_gateways_addresses_are_the_ingresses() {
    let service = "
apiVersion: v1
kind: Service
metadata: {name: istio-ingressgateway, namespace: istio-system}
spec: {clusterIP: 10.96.0.9, ports: [{name: http, port: 80}]}
status: {loadBalancer: {ingress: [{ip: 192.0.2.7, ipMode: VIP}, {hostname: lb.example}]}}
";
    let backend = "defaultBackend: {service: {name: reviews, port: {number: 9080}}}";
    let derived = derived(&[SERVICES, service, &ingress("a", "istio", backend)]);
    let statuses: Vec<Value> = derived
        .feedback
        .into_values()
        .map(|one| one.status)
        .collect();
    let addresses = json!([{"ip": "192.0.2.7"}, {"hostname": "lb.example"}]);
    assert_eq!(statuses, [json!({"loadBalancer": {"ingress": addresses}})]);
}
