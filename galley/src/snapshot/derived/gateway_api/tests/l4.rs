//! TLSRoutes and TCPRoutes, and the listeners that they attach to.

use std::collections::BTreeMap;

use mesh_api::gateway::{ServerCertificate, ServerTlsMode};
use mesh_api::hostname::Hostname;
use mesh_api::route::{L4Match, WeightedDestination};

use super::*;

const SECRET: &str = "
apiVersion: v1
kind: Secret
metadata: {name: cert, namespace: shop}
type: kubernetes.io/tls
stringData: {tls.crt: 'CERT', tls.key: 'KEY'}
";

fn secret() -> String {
    let pem = include_str!("../../../../../tests/kubernetes/certificate.pem");
    let pem = serde_json::to_string(pem).unwrap();
    let key = "-----BEGIN PRIVATE KEY-----\nMCo=\n-----END PRIVATE KEY-----\n";
    SECRET
        .replace("'CERT'", &pem)
        .replace("'KEY'", &serde_json::to_string(key).unwrap())
}

fn gateway(listeners: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{name: edge, namespace: shop}}\nspec: {{gatewayClassName: istio, listeners: [{listeners}]}}\n"
    )
}

fn l4(kind: &str, name: &str, parent: &str, hosts: &str, backends: &str) -> String {
    let hosts = match hosts {
        "" => String::new(),
        hosts => format!("  hostnames: [{hosts}]\n"),
    };
    format!(
        "apiVersion: gateway.networking.k8s.io/v1alpha2\nkind: {kind}\nmetadata: {{name: {name}, namespace: shop}}\nspec:\n  parentRefs: [{{{parent}}}]\n{hosts}  rules: [{{backendRefs: [{backends}]}}]\n"
    )
}

const EDGE: &str = "name: edge";
const REVIEWS: &str = "{name: reviews, port: 9080}";

const PASS: &str =
    "{name: pass, port: 443, protocol: TLS, hostname: '*.example', tls: {mode: Passthrough}}";
const END: &str = "{name: end, port: 443, protocol: TLS, hostname: '*.example', tls: {certificateRefs: [{name: cert}]}}";
const BYTES: &str = "{name: bytes, port: 9000, protocol: TCP}";

/// `GATEWAY KIND [NAMES]PORT -> TARGETS` of every rule of connections.
fn connections(derived: &All) -> Vec<String> {
    let targets = |routes: &[WeightedDestination]| {
        let all = routes
            .iter()
            .map(|one| format!(" {}*{}", name(&one.destination), one.weight));
        all.collect::<String>()
    };
    let port = |one: &L4Match| one.port.map(|port| format!(":{port}")).unwrap_or_default();
    let rules = derived.virtual_services.iter().flat_map(|object| {
        let place = match &object.gateways[0] {
            GatewayRef::Mesh => format!("mesh {}", object.hosts[0]),
            GatewayRef::Gateway { name, .. } => name.replace(GENERATED, "*"),
        };
        let tls = object.tls.iter().map(|rule| {
            let one = &rule.matches[0];
            let names: Vec<&str> = one.sni_hosts.iter().map(Hostname::as_str).collect();
            let port = port(&one.l4);
            format!("tls [{}]{port} ->{}", names.join(" "), targets(&rule.route))
        });
        let tcp = object.tcp.iter().map(|rule| {
            let ports: String = rule.matches.iter().map(port).collect();
            format!("tcp {ports}->{}", targets(&rule.route))
        });
        let rules: Vec<String> = tls
            .chain(tcp)
            .map(|rule| format!("{place} {rule}"))
            .collect();
        rules
    });
    rules.collect()
}

fn conditions(derived: &All, kind: &str, name: &str) -> Vec<String> {
    let status = status(derived, kind, "shop", name);
    reasons(&status["parents"][0]["conditions"])
}

#[test]
fn tls_passes_by_server_name() {
    let hosts = "a.example, '*.elsewhere', b.example";
    let backends = "{name: reviews, port: 9080, weight: 3}, {name: gone, port: 1}";
    let route = l4("TLSRoute", "r", EDGE, hosts, backends);
    let derived = derived(&[BASE, &gateway(PASS), &route]);
    assert_eq!(
        connections(&derived),
        [
            "edge-*-pass tls [a.example] -> reviews*3 nowhere*1",
            "edge-*-pass tls [b.example] -> reviews*3 nowhere*1",
        ]
    );
    assert_eq!(
        conditions(&derived, "TLSRoute", "r"),
        ["Accepted Accepted", "!ResolvedRefs BackendNotFound"]
    );
    let [gateway] = &*derived.gateways else {
        panic!("one gateway");
    };
    let server = &gateway.servers[0];
    assert_eq!(server.protocol, mesh_api::port::Protocol::Tls);
    assert_eq!(
        server.tls.as_ref().unwrap().mode,
        Some(ServerTlsMode::Passthrough)
    );
}

#[test]
fn bytes_of_ended_tls_go_by_host() {
    let secret = secret();
    let first = l4("TLSRoute", "r", EDGE, "a.example", REVIEWS);
    let second = l4("TCPRoute", "s", EDGE, "", REVIEWS);
    let derived = derived(&[BASE, &secret, &gateway(END), &first, &second]);
    assert_eq!(
        connections(&derived),
        [
            "edge-*-end-a.example tcp -> reviews*1",
            "edge-*-end-any.example tcp -> reviews*1",
        ]
    );
    let made: Vec<_> = derived
        .gateways
        .iter()
        .map(|one| (one.meta.name().replace(GENERATED, "*"), &one.servers[0]))
        .map(|(name, server)| (name, server.hosts[0].host.to_string(), server.tls.clone()))
        .collect();
    let simple = || {
        let certificate = ServerCertificate::Credential("cert".into());
        Some(mesh_api::gateway::ServerTls::of(ServerTlsMode::Simple(
            certificate,
        )))
    };
    let expected = ["a.example a.example", "any.example *.example"];
    let expected = expected.map(|text| {
        let (name, host) = text.split_once(' ').unwrap();
        (format!("edge-*-end-{name}"), host.to_owned(), simple())
    });
    assert_eq!(made, expected);
}

#[test]
fn certificates_of_other_namespaces_need_a_grant() {
    let secret = secret().replace("namespace: shop", "namespace: other");
    let gateway = gateway(&END.replace("name: cert", "name: cert, namespace: other"));
    let route = l4("TCPRoute", "r", EDGE, "", REVIEWS);
    let without = derived(&[BASE, &secret, &gateway, &route]);
    let edge = status(&without, "KubernetesGateway", "shop", "edge");
    assert_eq!(
        reasons(&edge["listeners"][0]["conditions"])[2],
        "!ResolvedRefs RefNotPermitted"
    );
    assert_eq!(
        (&without.gateways, without.credentials),
        (&vec![], BTreeMap::new())
    );

    let grant = "
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: g, namespace: other}
spec:
  from: [{group: gateway.networking.k8s.io, kind: Gateway, namespace: shop}]
  to: [{group: '', kind: Secret, name: cert}]
";
    let with = derived(&[BASE, &secret, &gateway, &route, grant]);
    let name = "kubernetes-gateway://other/cert";
    assert_eq!(
        with.gateways[0].servers[0].tls,
        Some(mesh_api::gateway::ServerTls::simple(name.into()))
    );
    let shown: Vec<_> = with
        .credentials
        .iter()
        .map(|(key, one)| (key.clone(), one.key.to_string(), one.private_key.is_some()))
        .collect();
    let key = ResourceKey::new("Secret", "other", "cert").to_string();
    assert_eq!(shown, [(("shop".into(), name.into()), key, true)]);
}

#[test]
fn a_listener_may_have_several_certificates() {
    let second = secret().replace("name: cert", "name: other");
    let both = END.replace("{name: cert}", "{name: cert}, {name: other}");
    let listeners = gateway(&both);
    let route = l4("TCPRoute", "r", EDGE, "", REVIEWS);
    let whole = derived(&[BASE, &secret(), &second, &listeners, &route]);
    let names = vec!["cert".into(), "other".into()];
    let mode = ServerTlsMode::Simple(ServerCertificate::Credentials(names));
    assert_eq!(
        whole.gateways[0].servers[0].tls,
        Some(mesh_api::gateway::ServerTls::of(mode))
    );
    let half = derived(&[BASE, &secret(), &listeners, &route]);
    let edge = status(&half, "KubernetesGateway", "shop", "edge");
    assert_eq!(
        reasons(&edge["listeners"][0]["conditions"])[2],
        "!ResolvedRefs InvalidCertificateRef"
    );
    assert_eq!(half.gateways, []);
}

#[test]
fn bytes_go_where_the_listener_says() {
    let route = l4("TCPRoute", "r", EDGE, "", REVIEWS);
    let nothing = l4("TCPRoute", "s", "name: edge, sectionName: spare", "", "");
    let listeners = format!("{BYTES}, {{name: spare, port: 9001, protocol: TCP}}");
    let derived = derived(&[BASE, &gateway(&listeners), &route, &nothing]);
    assert_eq!(
        connections(&derived),
        [
            "edge-*-bytes tcp -> reviews*1",
            "edge-*-spare tcp -> reviews*1",
            "edge-*-spare tcp -> nowhere*1",
        ]
    );
    let gateway = status(&derived, "KubernetesGateway", "shop", "edge");
    let listener = &gateway["listeners"][1];
    assert_eq!(listener["attachedRoutes"], 2);
    assert_eq!(
        listener["supportedKinds"],
        json!([{"group": "gateway.networking.k8s.io", "kind": "TCPRoute"}])
    );
}

#[test]
fn connections_of_sidecars_go_by_service() {
    let parent = "group: '', kind: Service, name: reviews, port: 9080";
    let bytes = l4("TCPRoute", "r", parent, "", REVIEWS);
    let names = l4(
        "TLSRoute",
        "s",
        &parent.replace(", port: 9080", ""),
        "",
        REVIEWS,
    );
    assert_eq!(
        connections(&derived(&[BASE, &bytes, &names])),
        [
            "mesh reviews.shop.svc.cluster.local tls [reviews.shop.svc.cluster.local] -> reviews*1",
            "mesh reviews.shop.svc.cluster.local tcp :9080-> reviews*1",
        ]
    );
}

#[rstest::rstest]
#[case::host(
    "TLSRoute",
    "x.elsewhere",
    PASS,
    "!Accepted NoMatchingListenerHostname"
)]
#[case::kind_of_protocol("TCPRoute", "", PASS, "!Accepted NotAllowedByListeners")]
#[case::kind_of_http(
    "TLSRoute",
    "",
    "{name: h, port: 80, protocol: HTTP}",
    "!Accepted NotAllowedByListeners"
)]
#[case::kind_not_asked_for(
    "TCPRoute",
    "",
    "{name: e, port: 80, protocol: TCP, allowedRoutes: {kinds: [{kind: TLSRoute}]}}",
    "!Accepted NotAllowedByListeners"
)]
#[case::namespace(
    "TCPRoute",
    "",
    "{name: e, port: 80, protocol: TCP, allowedRoutes: {namespaces: {from: Selector, selector: {matchExpressions: [{key: team, operator: Exists}]}}}}",
    "!Accepted NotAllowedByListeners"
)]
#[case::fits("TLSRoute", "x.example", PASS, "Accepted Accepted")]
fn routes_attach_or_are_told_why_not(
    #[case] kind: &str,
    #[case] hosts: &str,
    #[case] listener: &str,
    #[case] expected: &str,
) {
    let route = l4(kind, "r", EDGE, hosts, REVIEWS);
    let derived = derived(&[BASE, &gateway(listener), &route]);
    assert_eq!(conditions(&derived, kind, "r")[0], expected);
    assert_eq!(connections(&derived).is_empty(), expected.starts_with('!'));
}

#[test]
fn backends_of_other_kinds_are_named() {
    let route = l4("TCPRoute", "r", EDGE, "", "{kind: Pod, name: a, port: 1}");
    let derived = derived(&[BASE, &gateway(BYTES), &route]);
    assert_eq!(
        conditions(&derived, "TCPRoute", "r"),
        ["Accepted Accepted", "!ResolvedRefs InvalidKind"]
    );
    assert_eq!(connections(&derived), ["edge-*-bytes tcp -> nowhere*1"]);
}

/// `NAME: CONDITIONS [KINDS]` of every listener.
fn listeners(listeners: &str) -> Vec<String> {
    let derived = derived(&[BASE, &gateway(listeners)]);
    let status = status(&derived, "KubernetesGateway", "shop", "edge");
    let all = status["listeners"].as_array().unwrap().iter().map(|one| {
        let kinds = one["supportedKinds"].as_array().unwrap().iter();
        let kinds: Vec<&str> = kinds.map(|kind| kind["kind"].as_str().unwrap()).collect();
        let conditions = reasons(&one["conditions"]);
        format!(
            "{}: {} [{}]",
            one["name"].as_str().unwrap(),
            conditions.join(", "),
            kinds.join(" ")
        )
    });
    all.collect()
}

#[test]
fn kinds_that_do_not_go_with_the_protocol_are_named() {
    let asks = "{name: a, port: 443, protocol: TLS, tls: {mode: Passthrough}, allowedRoutes: {kinds: [{kind: TLSRoute}, {kind: TCPRoute}]}}";
    assert_eq!(
        listeners(asks),
        [
            "a: Accepted Accepted, Programmed Programmed, !ResolvedRefs InvalidRouteKinds, !Conflicted NoConflicts [TLSRoute]"
        ]
    );
}

#[test]
fn listeners_of_one_port_agree() {
    let valid = "Accepted Accepted, Programmed Programmed, ResolvedRefs ResolvedRefs, !Conflicted NoConflicts";
    let refused = |reason: &str| {
        format!(
            "!Accepted {reason}, !Programmed Invalid, ResolvedRefs ResolvedRefs, Conflicted {reason}"
        )
    };
    let all = "{name: a, port: 443, protocol: TLS, hostname: a.example, tls: {mode: Passthrough}}, {name: b, port: 443, protocol: TLS, hostname: b.example, tls: {mode: Passthrough}}, {name: c, port: 443, protocol: TLS, hostname: a.example, tls: {mode: Passthrough}}, {name: d, port: 443, protocol: TCP}";
    assert_eq!(
        listeners(all),
        [
            format!("a: {valid} [TLSRoute]"),
            format!("b: {valid} [TLSRoute]"),
            format!("c: {} [TLSRoute]", refused("HostnameConflict")),
            format!("d: {} [TCPRoute]", refused("ProtocolConflict")),
        ]
    );
}

#[test]
fn the_nearest_listener_of_a_port_takes_a_host() {
    let wide = PASS.replace("pass", "wide");
    let near = PASS
        .replace("'*.example'", "a.example")
        .replace("pass", "near");
    let route = l4("TLSRoute", "r", EDGE, "a.example, b.example", REVIEWS);
    let derived = derived(&[BASE, &gateway(&format!("{wide}, {near}")), &route]);
    assert_eq!(
        connections(&derived),
        [
            "edge-*-near tls [a.example] -> reviews*1",
            "edge-*-wide tls [b.example] -> reviews*1",
        ]
    );
}
