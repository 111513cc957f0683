//! A small mesh in which everything refers to everything, each object in several versions.

use std::sync::{Arc, LazyLock};

use crate::manifest::{Document, parse};

/// One object.
pub(super) struct Slot {
    pub(super) versions: Vec<Arc<Document>>,
}

/// Version and kind, namespace and name, and the versions: more of metadata, `|`, and what follows.
type Row = (&'static str, &'static str, &'static [&'static str]);

pub(super) static OBJECTS: LazyLock<Vec<Slot>> = LazyLock::new(|| ROWS.iter().map(slot).collect());

fn slot((kind, name, versions): &Row) -> Slot {
    let (api_version, kind) = kind.rsplit_once(' ').unwrap();
    let (namespace, name) = name.split_once('/').unwrap();
    let versions = versions.iter().map(|version| {
        let (metadata, rest) = version.split_once('|').unwrap();
        let certificate = include_str!("../../../tests/kubernetes/certificate.pem");
        let certificate = serde_json::to_string(certificate).unwrap();
        let key = "-----BEGIN PRIVATE KEY-----\nMCo=\n-----END PRIVATE KEY-----\n";
        let key = serde_json::to_string(key).unwrap();
        let rest = rest.replace("CERTIFICATE", &certificate).replace("KEY", &key);
        let text = format!(
            "apiVersion: {api_version}\nkind: {kind}\nmetadata: {{name: {name}, namespace: {namespace}{metadata}}}\n{rest}\n"
        );
        let (mut documents, faults) = parse(&format!("{kind}-{namespace}-{name}.yaml"), &text);
        assert_eq!(faults, vec![], "{text}");
        Arc::new(documents.remove(0))
    });
    Slot {
        versions: versions.collect(),
    }
}

const ROWS: &[Row] = &[
    (
        "v1 ConfigMap",
        "istio-system/istio",
        &[
            "|data: {mesh: 'outboundTrafficPolicy: {mode: REGISTRY_ONLY}'}",
            "|data: {mesh: 'defaultVirtualServiceExportTo: [\".\"]'}",
            "|data: {mesh: 'trustDomain: example.org'}",
        ],
    ),
    (
        "v1 Namespace",
        "default/shop",
        &[
            "|",
            ", labels: {istio-injection: enabled}|",
            ", labels: {team: a}|",
        ],
    ),
    (
        "v1 Namespace",
        "default/other",
        &["|", ", labels: {team: a}|"],
    ),
    (
        "v1 Node",
        "default/n1",
        &[
            ", labels: {topology.kubernetes.io/region: eu}|",
            ", labels: {topology.kubernetes.io/region: us, topology.kubernetes.io/zone: a}|",
        ],
    ),
    (
        "v1 Service",
        "shop/reviews",
        &[
            "|spec: {clusterIP: 10.96.0.1, selector: {app: reviews}, ports: [{name: http, port: 9080}]}",
            "|spec: {clusterIP: 10.96.0.1, selector: {app: reviews}, ports: [{name: http, port: 9080}, {name: x, port: 81}]}",
            ", annotations: {networking.istio.io/exportTo: '.'}|spec: {clusterIP: 10.96.0.1, ports: [{name: http, port: 9080}]}",
            "|spec: {type: ExternalName, externalName: x.example.com, ports: [{port: 80}]}",
        ],
    ),
    (
        "v1 Service",
        "shop/ratings",
        &[
            "|spec: {clusterIP: 10.96.0.2, ports: [{name: http, port: 9080}]}",
            "|spec: {clusterIP: 10.96.0.3, publishNotReadyAddresses: true, ports: [{name: tcp, port: 9080}]}",
        ],
    ),
    (
        "v1 Service",
        "other/ratings",
        &["|spec: {clusterIP: 10.96.0.4, ports: [{name: http, port: 9081}]}"],
    ),
    (
        "v1 Service",
        "shop/edge-istio",
        &[
            "|spec: {clusterIP: 10.96.0.5, selector: {istio: ingressgateway}, ports: [{name: http, port: 80}]}",
        ],
    ),
    (
        "v1 Service",
        "istio-system/istio-ingressgateway",
        &[
            "|spec: {clusterIP: 10.96.0.6, ports: [{name: http, port: 80}]}",
            "|spec: {clusterIP: 10.96.0.6, ports: [{name: http, port: 80}]}\nstatus: {loadBalancer: {ingress: [{ip: 1.2.3.4}]}}",
        ],
    ),
    (
        "discovery.k8s.io/v1 EndpointSlice",
        "shop/reviews-1",
        &[
            ", labels: {kubernetes.io/service-name: reviews}|addressType: IPv4\nports: [{name: http, port: 9080}]\nendpoints: [{addresses: [10.0.0.1], nodeName: n1, targetRef: {kind: Pod, name: p1}}]",
            ", labels: {kubernetes.io/service-name: reviews}|addressType: IPv4\nports: [{name: http, port: 9080}]\nendpoints: [{addresses: [10.0.0.1], targetRef: {kind: Pod, name: p1}}, {addresses: [10.0.0.2], nodeName: n1}]",
            ", labels: {kubernetes.io/service-name: ratings}|addressType: IPv4\nports: [{name: http, port: 9080}]\nendpoints: [{addresses: [10.0.0.2], targetRef: {kind: Pod, name: p2}}]",
        ],
    ),
    (
        "discovery.k8s.io/v1 EndpointSlice",
        "shop/reviews-2",
        &[
            ", labels: {kubernetes.io/service-name: reviews}|addressType: IPv4\nports: [{name: http, port: 9080}]\nendpoints: [{addresses: [10.0.0.1, 10.0.0.3], conditions: {ready: false}, nodeName: n1, zone: z, targetRef: {kind: Pod, name: p2}}]",
            ", labels: {kubernetes.io/service-name: ratings}|addressType: IPv4\nports: [{name: http, port: 9081}]\nendpoints: [{addresses: [10.0.0.3], nodeName: n1}]",
        ],
    ),
    (
        "v1 Pod",
        "shop/p1",
        &[
            ", labels: {app: reviews, security.istio.io/tlsMode: istio}|spec: {serviceAccountName: a, nodeName: n1, containers: []}\nstatus: {phase: Running, podIP: 10.0.0.1, conditions: [{type: Ready, status: 'True'}]}",
            ", labels: {app: reviews, tier: x}|spec: {serviceAccountName: b, nodeName: n2, containers: []}\nstatus: {phase: Running, podIP: 10.0.0.2, conditions: [{type: Ready, status: 'True'}]}",
            ", labels: {tier: x}|spec: {nodeName: n1, containers: []}\nstatus: {phase: Succeeded, podIP: 10.0.0.1}",
        ],
    ),
    (
        "v1 Pod",
        "shop/p2",
        &[
            ", labels: {app: reviews}, creationTimestamp: '2020-01-01T00:00:00Z'|spec: {nodeName: n1, containers: []}\nstatus: {phase: Running, podIP: 10.0.0.1, conditions: [{type: Ready, status: 'True'}]}",
            ", labels: {istio: ingressgateway}|spec: {nodeName: n1, containers: []}\nstatus: {phase: Running, podIP: 10.0.0.2, conditions: [{type: Ready, status: 'False'}]}",
        ],
    ),
    (
        "v1 Pod",
        "other/gw",
        &[
            ", labels: {istio: ingressgateway}|spec: {nodeName: n1, containers: []}\nstatus: {phase: Running, podIP: 10.0.0.9}",
            "|spec: {nodeName: n1, containers: []}\nstatus: {phase: Running, podIP: 10.0.0.9}",
        ],
    ),
    (
        "networking.istio.io/v1 ServiceEntry",
        "shop/selecting",
        &[
            "|spec: {hosts: [vm.example.com], location: MESH_INTERNAL, resolution: STATIC, ports: [{number: 80, name: http, protocol: HTTP}], workloadSelector: {labels: {app: reviews}}}",
            "|spec: {hosts: [vm.example.com, other.example.com], location: MESH_INTERNAL, resolution: STATIC, ports: [{number: 80, name: http, protocol: HTTP}], workloadSelector: {labels: {tier: x}}}",
        ],
    ),
    (
        "networking.istio.io/v1 ServiceEntry",
        "shop/same",
        &[
            "|spec: {hosts: [reviews.shop.svc.cluster.local], resolution: DNS, ports: [{number: 9080, name: http, protocol: HTTP}]}",
            "|spec: {hosts: [vm.example.com], resolution: DNS, ports: [{number: 80, name: http, protocol: HTTP}]}",
            ", creationTimestamp: '2020-01-01T00:00:00Z'|spec: {hosts: [vm.example.com], exportTo: ['.'], resolution: DNS, ports: [{number: 80, name: http, protocol: HTTP}]}",
        ],
    ),
    (
        "networking.istio.io/v1 ServiceEntry",
        "other/wild",
        &[
            "|spec: {hosts: ['*.example.com'], resolution: NONE, ports: [{number: 80, name: http, protocol: HTTP}]}",
            "|spec: {hosts: ['*.com', revie.shop.svc.cluster.local], resolution: NONE, ports: [{number: 80, name: http, protocol: HTTP}]}",
        ],
    ),
    (
        "networking.istio.io/v1 WorkloadEntry",
        "shop/vm",
        &[
            "|spec: {address: 10.0.0.2, labels: {app: reviews}}",
            "|spec: {address: 10.9.0.1, labels: {tier: x}, locality: eu/b}",
        ],
    ),
    (
        "networking.istio.io/v1 VirtualService",
        "shop/one",
        &[
            "|spec: {hosts: [reviews], http: [{route: [{destination: {host: reviews, subset: v1}}]}]}",
            "|spec: {hosts: [reviews, ratings], exportTo: ['.'], http: [{route: [{destination: {host: revews}}], mirror: {host: ratings}}]}",
            "|spec: {hosts: [reviews], exportTo: [other], http: [{route: [{destination: {host: gone.example.com}}]}]}",
        ],
    ),
    (
        "networking.istio.io/v1 VirtualService",
        "shop/two",
        &[
            "|spec: {hosts: [reviews], gateways: [mesh, edge], http: [{route: [{destination: {host: vm.example.com, subset: v2}}]}]}",
            ", creationTimestamp: '2020-01-01T00:00:00Z'|spec: {hosts: [a.example.com], gateways: [edge], http: [{route: [{destination: {host: ratings}}]}]}",
            "|spec: {hosts: ['*.example.com'], gateways: [other/edge], tcp: [{route: [{destination: {host: reviews}}]}]}",
        ],
    ),
    (
        "networking.istio.io/v1 VirtualService",
        "other/three",
        &[
            "|spec: {hosts: [reviews.shop.svc.cluster.local], exportTo: ['*'], http: [{route: [{destination: {host: ratings}}]}]}",
            "|spec: {hosts: [reviews.shop.svc.cluster.local], exportTo: [shop, other], http: [{route: [{destination: {host: reviews}}]}]}",
        ],
    ),
    (
        "networking.istio.io/v1 DestinationRule",
        "shop/one",
        &[
            "|spec: {host: reviews, subsets: [{name: v1}, {name: v2}]}",
            "|spec: {host: vm.example.com, subsets: [{name: v2}]}",
            "|spec: {host: '*.example.com'}",
        ],
    ),
    (
        "networking.istio.io/v1 DestinationRule",
        "other/two",
        &[
            "|spec: {host: reviews.shop.svc.cluster.local, subsets: [{name: v2}]}",
            "|spec: {host: reviewz.shop.svc.cluster.local}",
            "|spec: {host: '*.nowhere.org'}",
        ],
    ),
    (
        "networking.istio.io/v1 Gateway",
        "shop/edge",
        &[
            "|spec: {selector: {istio: ingressgateway}, servers: [{port: {number: 443, name: https, protocol: HTTPS}, hosts: ['*.example.com'], tls: {mode: SIMPLE, credentialName: cert}}]}",
            "|spec: {selector: {istio: nothing}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['other/*']}]}",
        ],
    ),
    (
        "networking.istio.io/v1 Gateway",
        "other/edge",
        &[
            "|spec: {selector: {istio: ingressgateway}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [shop/b.example.com]}]}",
        ],
    ),
    (
        "v1 Secret",
        "shop/cert",
        &["|type: kubernetes.io/tls\nstringData: {tls.crt: CERTIFICATE, tls.key: KEY}"],
    ),
    (
        "v1 Secret",
        "shop/cert-cacert",
        &["|stringData: {ca.crt: CERTIFICATE}"],
    ),
    (
        "v1 Secret",
        "other/cert",
        &["|type: kubernetes.io/tls\nstringData: {tls.crt: CERTIFICATE, tls.key: KEY}"],
    ),
    (
        "networking.istio.io/v1 Sidecar",
        "shop/one",
        &[
            "|spec: {egress: [{hosts: ['*/*']}]}",
            "|spec: {workloadSelector: {labels: {app: reviews}}, egress: [{hosts: ['*/*']}]}",
        ],
    ),
    (
        "networking.istio.io/v1 Sidecar",
        "shop/two",
        &[
            "|spec: {egress: [{hosts: ['./*']}]}",
            "|spec: {workloadSelector: {labels: {tier: x}}, egress: [{hosts: ['*/*']}]}",
        ],
    ),
    (
        "networking.istio.io/v1 Sidecar",
        "shop/three",
        &[
            ", creationTimestamp: '2020-01-01T00:00:00Z'|spec: {workloadSelector: {labels: {app: reviews}}, egress: [{hosts: ['*/*']}]}",
            "|spec: {workloadSelector: {labels: {istio: ingressgateway}}, egress: [{hosts: ['*/*']}]}",
        ],
    ),
    (
        "telemetry.istio.io/v1 Telemetry",
        "shop/one",
        &["|spec: {}", "|spec: {selector: {matchLabels: {app: a}}}"],
    ),
    (
        "telemetry.istio.io/v1 Telemetry",
        "shop/two",
        &["|spec: {}"],
    ),
    (
        "security.istio.io/v1 PeerAuthentication",
        "shop/one",
        &[
            "|spec: {mtls: {mode: STRICT}}",
            "|spec: {selector: {matchLabels: {app: a}}, mtls: {mode: DISABLE}}",
        ],
    ),
    (
        "security.istio.io/v1 PeerAuthentication",
        "shop/two",
        &["|spec: {mtls: {mode: PERMISSIVE}}"],
    ),
    (
        "security.istio.io/v1 AuthorizationPolicy",
        "shop/one",
        &[
            "|spec: {}",
            "|spec: {action: DENY, rules: [{to: [{operation: {methods: [GET]}}]}]}",
        ],
    ),
    (
        "security.istio.io/v1 RequestAuthentication",
        "shop/one",
        &[
            "|spec: {jwtRules: [{issuer: me, jwks: '{\"keys\": []}'}]}",
            "|spec: {selector: {matchLabels: {app: a}}}",
        ],
    ),
    (
        "gateway.networking.k8s.io/v1 GatewayClass",
        "default/istio",
        &[
            "|spec: {controllerName: istio.io/gateway-controller}",
            "|spec: {controllerName: example.com/other}",
        ],
    ),
    (
        "gateway.networking.k8s.io/v1 Gateway",
        "shop/edge",
        &[
            "|spec: {gatewayClassName: istio, listeners: [{name: http, port: 80, protocol: HTTP}, {name: one, port: 80, protocol: HTTP, hostname: '*.example'}]}",
            "|spec: {gatewayClassName: istio, listeners: [{name: http, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: cert, namespace: other}]}, allowedRoutes: {namespaces: {from: Selector, selector: {matchLabels: {team: a}}}}}]}",
            "|spec: {gatewayClassName: istio, addresses: [{type: Hostname, value: reviews}], listeners: [{name: end, port: 444, protocol: TLS, tls: {mode: Terminate, certificateRefs: [{name: cert}]}}, {name: pass, port: 445, protocol: TLS, tls: {mode: Passthrough}}, {name: tcp, port: 90, protocol: TCP}]}",
        ],
    ),
    (
        "gateway.networking.k8s.io/v1 HTTPRoute",
        "shop/one",
        &[
            "|spec: {parentRefs: [{name: edge}], hostnames: [a.example, b.example], rules: [{backendRefs: [{name: reviews, port: 9080}]}]}",
            "|spec: {parentRefs: [{name: edge}], rules: [{matches: [{path: {value: /x}}], backendRefs: [{name: ratings, namespace: other, port: 9081}]}]}",
            "|spec: {parentRefs: [{group: '', kind: Service, name: reviews}], rules: [{matches: [{path: {value: /y}}], backendRefs: [{name: ratings, port: 9080}]}]}",
        ],
    ),
    (
        "gateway.networking.k8s.io/v1 HTTPRoute",
        "other/two",
        &[
            ", creationTimestamp: '2020-01-01T00:00:00Z'|spec: {parentRefs: [{name: edge, namespace: shop}], hostnames: [a.example], rules: [{matches: [{path: {type: Exact, value: /x}}], backendRefs: [{name: ratings, port: 9081}]}]}",
            "|spec: {parentRefs: [{group: '', kind: Service, name: reviews, namespace: shop, port: 9080}], rules: [{backendRefs: [{name: ratings, port: 9081}]}]}",
            "|spec: {parentRefs: [{name: edge, namespace: shop, sectionName: one}], hostnames: ['*.example', a.example], rules: [{filters: [{type: RequestRedirect, requestRedirect: {hostname: z}}]}]}",
        ],
    ),
    (
        "gateway.networking.k8s.io/v1 GRPCRoute",
        "shop/one",
        &[
            "|spec: {parentRefs: [{name: edge}], hostnames: [a.example], rules: [{backendRefs: [{name: reviews, port: 9080}]}]}",
        ],
    ),
    (
        "gateway.networking.k8s.io/v1alpha2 TLSRoute",
        "shop/one",
        &[
            "|spec: {parentRefs: [{name: edge}], hostnames: [a.example, any.example], rules: [{backendRefs: [{name: reviews, port: 9080}]}]}",
            "|spec: {parentRefs: [{name: edge, sectionName: pass}], hostnames: ['*.example'], rules: [{backendRefs: [{name: ratings, port: 9080}]}]}",
        ],
    ),
    (
        "gateway.networking.k8s.io/v1alpha2 TCPRoute",
        "shop/one",
        &[
            "|spec: {parentRefs: [{name: edge}], rules: [{backendRefs: [{name: ratings, port: 9080}]}]}",
            "|spec: {parentRefs: [{group: '', kind: Service, name: ratings}], rules: [{backendRefs: [{name: reviews, port: 9080}]}]}",
        ],
    ),
    (
        "gateway.networking.k8s.io/v1beta1 ReferenceGrant",
        "other/one",
        &[
            "|spec: {from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: shop}], to: [{group: '', kind: Service}]}",
            "|spec: {from: [{group: gateway.networking.k8s.io, kind: Gateway, namespace: shop}], to: [{group: '', kind: Secret}]}",
        ],
    ),
    (
        "networking.k8s.io/v1 IngressClass",
        "default/mesh",
        &[
            "|spec: {controller: istio.io/ingress-controller}",
            "|spec: {controller: k8s.io/other}",
        ],
    ),
    (
        "networking.k8s.io/v1 Ingress",
        "shop/one",
        &[
            "|spec: {ingressClassName: mesh, rules: [{host: shop.example, http: {paths: [{path: /a, pathType: Prefix, backend: {service: {name: reviews, port: {name: http}}}}]}}]}",
            "|spec: {ingressClassName: istio, tls: [{hosts: [shop.example], secretName: cert}], defaultBackend: {service: {name: ratings, port: {number: 9080}}}}",
        ],
    ),
    (
        "networking.k8s.io/v1 Ingress",
        "other/two",
        &[
            ", creationTimestamp: '2020-01-01T00:00:00Z'|spec: {ingressClassName: mesh, defaultBackend: {service: {name: ratings, port: {number: 9081}}}, rules: [{host: shop.example, http: {paths: [{path: /a/b, pathType: Exact, backend: {service: {name: ratings, port: {number: 9081}}}}]}}]}",
        ],
    ),
    (
        "rbac.authorization.k8s.io/v1 Role",
        "shop/reader",
        &[
            "|rules: [{apiGroups: [''], resources: [secrets], verbs: [list]}]",
            "|rules: []",
        ],
    ),
    (
        "rbac.authorization.k8s.io/v1 RoleBinding",
        "shop/reader",
        &[
            "|roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}\nsubjects: [{kind: ServiceAccount, name: gw, namespace: shop}]",
        ],
    ),
];
