use std::sync::Arc;

use mesh_api::mesh_config::MeshConfig;

use super::*;
use crate::manifest::parse;

fn check(yaml: &str) -> String {
    let (documents, faults) = parse("a.yaml", yaml);
    assert_eq!(faults, vec![]);
    let mut store = Store::new(MeshConfig::default());
    for document in documents {
        assert!(store.apply(Arc::new(document)), "{:?}", store.diagnostics());
    }
    let mut found = analyze(&store.take_changes(), &store);
    crate::findings::sort(&mut found);
    let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

const SERVICES: &str = "
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: shop}
spec: {ports: [{name: http, port: 9080}]}
---
apiVersion: v1
kind: Service
metadata: {name: many, namespace: shop}
spec: {ports: [{name: http, port: 80}, {name: web, port: 81}]}
---
apiVersion: v1
kind: Service
metadata: {name: secret, namespace: other, annotations: {networking.istio.io/exportTo: \".\"}}
spec: {ports: [{name: http, port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews, namespace: shop}
spec: {host: reviews, subsets: [{name: v1}, {name: v2}]}
---
";

#[test]
fn references_that_lead_nowhere() {
    insta::assert_snapshot!(check(&format!(
        "{SERVICES}
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: rules, namespace: front}}
spec:
  hosts: [a.example.com]
  gateways: [edge, mesh]
  http:
  - route:
    - destination: {{host: reviews}}
    - destination: {{host: reviews.shop.svc.cluster.local, subset: v3}}
      weight: 1
  - route: [{{destination: {{host: secret.other.svc.cluster.local}}}}]
  - route: [{{destination: {{host: many.shop.svc.cluster.local}}}}]
    mirror: {{host: revews.shop.svc.cluster.local}}
  tcp:
  - route: [{{destination: {{host: nowhere.example.com}}}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: second, namespace: shop}}
spec: {{host: gone}}
"
    )));
}

#[test]
fn gateways() {
    insta::assert_snapshot!(check(
        "
apiVersion: v1
kind: Pod
metadata: {name: gw, namespace: edge, labels: {istio: ingressgateway}}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: edge}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 443, name: https, protocol: HTTPS}
    hosts: [\"edge/*.example.com\"]
    tls: {mode: SIMPLE, credentialName: cert}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: lost, namespace: edge}
spec:
  selector: {istio: nowhere}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [\"*\"]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: x, namespace: shop}
spec:
  hosts: [a.example.com]
  gateways: [edge/edge]
  http: [{redirect: {uri: /}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: second, namespace: shop}
spec:
  hosts: [b.example.com]
  gateways: [lost]
  http: [{redirect: {uri: /}}]
"
    ));
}

#[test]
fn objects_that_exclude_each_other() {
    let rule = |name: &str, export: &str| {
        format!(
            "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}, namespace: shop}}
spec: {{hosts: [reviews], exportTo: [{export}], http: [{{redirect: {{uri: /}}}}]}}
---"
        )
    };
    let sidecar = |name: &str, selector: &str| {
        format!(
            "
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: {name}, namespace: shop}}
spec: {{{selector} egress: [{{hosts: [\"*/*\"]}}]}}
---"
        )
    };
    insta::assert_snapshot!(check(&format!(
        "{}{}{}{}{}{}{}
apiVersion: v1
kind: Pod
metadata: {{name: p, namespace: shop, labels: {{app: a, tier: b}}}}
",
        rule("one", "'*'"),
        rule("two", "shop"),
        rule("apart", "other"),
        sidecar("first", ""),
        sidecar("second", ""),
        sidecar("app", "workloadSelector: {labels: {app: a}},"),
        sidecar("tier", "workloadSelector: {labels: {tier: b}},"),
    )));
}

#[test]
fn ports_and_namespaces() {
    insta::assert_snapshot!(check(
        "
apiVersion: v1
kind: Namespace
metadata: {name: plain}
---
apiVersion: v1
kind: Namespace
metadata: {name: meshed, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: Pod
metadata: {name: a, namespace: plain}
---
apiVersion: v1
kind: Pod
metadata: {name: a, namespace: meshed}
---
apiVersion: v1
kind: Service
metadata: {name: a, namespace: meshed}
spec: {ports: [{name: foo, port: 8080}, {name: http-x, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: quiet, namespace: meshed, annotations: {galley.istio.io/analyze-suppress: IST0118}}
spec: {ports: [{name: foo, port: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: alias, namespace: meshed}
spec: {type: ExternalName, externalName: a.example.com, ports: [{port: 80}]}
"
    ));
}
