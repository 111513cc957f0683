//! What enters the mesh other than by plain HTTP: TLS with certificates from Secrets, TLS that is passed on, TCP,
//! Gateways of the Gateway API, and Ingresses.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{all_reset, in_force};
use crate::{
    assert,
    credentials::{Authority, KeyCertPair},
    mesh::Mesh,
    poll,
    traffic::{Report, Traffic},
};

/// Not in the mesh, as clients of gateways are.
const CLIENT: &str = "outside/stranger";
const HTTPS: &str = "istio-ingressgateway.istio-system:443";
const TCP: &str = "istio-ingressgateway.istio-system:31400";
const SIMPLE: &str = "simple.weft.test";
const MUTUAL: &str = "mutual.weft.test";
const START_TIMEOUT: Duration = Duration::from_secs(90);
const COUNT: u64 = 10;
/// Connections while a certificate changes, and how many for each second.
const LOAD: u64 = 200;
const RATE: u64 = 20;

/// Servers of the chart's gateway.
const SERVERS: &str = "\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: entrance, namespace: apps}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 443, name: https, protocol: HTTPS}
    tls: {mode: SIMPLE, credentialName: simple-credential}
    hosts: [simple.weft.test]
  - port: {number: 443, name: https-mutual, protocol: HTTPS}
    tls: {mode: MUTUAL, credentialName: mutual-credential}
    hosts: [mutual.weft.test]
  - port: {number: 443, name: tls, protocol: TLS}
    tls: {mode: PASSTHROUGH}
    hosts: [passthrough.weft.test]
  - port: {number: 31400, name: tcp, protocol: TCP}
    hosts: ['*']
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: entrance, namespace: apps}
spec:
  hosts: ['*']
  gateways: [entrance]
  http:
  - route: [{destination: {host: echo, port: {number: 8080}}}]
  tls:
  - match: [{sniHosts: [passthrough.weft.test]}]
    route: [{destination: {host: echo, port: {number: 8443}}}]
  tcp:
  - match: [{port: 31400}]
    route: [{destination: {host: echo, port: {number: 9000}}}]
";

/// A Gateway with pods of its own.
const GATEWAY_API: &str = "\
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata:
  name: edge
  namespace: apps
  annotations: {networking.istio.io/service-type: ClusterIP}
spec:
  gatewayClassName: istio
  listeners:
  - {name: http, port: 80, protocol: HTTP, hostname: '*.weft.test'}
  - {name: tls, port: 443, protocol: TLS, hostname: '*.weft.test', tls: {mode: Passthrough}}
  - {name: tcp, port: 9000, protocol: TCP}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: edge, namespace: apps}
spec:
  parentRefs: [{name: edge}]
  hostnames: [edge.weft.test]
  rules:
  - backendRefs: [{name: echo, port: 8080}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: edge, namespace: apps}
spec:
  parentRefs: [{name: edge}]
  hostnames: [grpc.weft.test]
  rules:
  - matches: [{method: {service: weft.test.v1.Echo}}]
    backendRefs: [{name: echo, port: 7070}]
---
apiVersion: gateway.networking.k8s.io/v1alpha3
kind: TLSRoute
metadata: {name: edge, namespace: apps}
spec:
  parentRefs: [{name: edge}]
  hostnames: [tls.weft.test]
  rules:
  - backendRefs: [{name: echo, port: 8443}]
---
apiVersion: gateway.networking.k8s.io/v1alpha2
kind: TCPRoute
metadata: {name: edge, namespace: apps}
spec:
  parentRefs: [{name: edge}]
  rules:
  - backendRefs: [{name: echo, port: 9000}]
";

const INGRESS: &str = "\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: old, namespace: apps}
spec:
  ingressClassName: istio
  tls: [{hosts: [ingress.weft.test], secretName: ingress-credential}]
  rules:
  - host: ingress.weft.test
    http:
      paths:
      - path: /
        pathType: Prefix
        backend: {service: {name: echo, port: {name: http}}}
";

pub(super) fn run(mesh: &mut Mesh) -> Result<()> {
    mesh.apply(SERVERS)?;
    simple(mesh).context("TLS by a Secret")?;
    mutual(mesh).context("mutual TLS")?;
    passthrough(mesh).context("TLS that is passed on")?;
    tcp(mesh).context("TCP")?;
    gateway_api(mesh).context("a Gateway of the Gateway API")?;
    ingress(mesh).context("an Ingress")?;
    mesh.no_rejections()
}

/// Requests to `host` through the gateway from a client that trusts what is under `root`.
fn https<'a>(mesh: &'a Mesh, host: &str, root: &str) -> Result<Traffic<'a>> {
    let traffic = mesh.from(CLIENT, &format!("https://{host}/"))?;
    Ok(traffic
        .with("--connect", HTTPS)
        .with("--trust", root)
        .new_connections())
}

fn apply_secret(mesh: &mut Mesh, name: &str, pair: &KeyCertPair, root: Option<&str>) -> Result<()> {
    mesh.apply(&pair.for_gateway(name, root).to_string())
}

/// Another certificate in the Secret is shown to the next connection, and no connection fails meanwhile.
fn simple(mesh: &mut Mesh) -> Result<()> {
    let (old, new) = (Authority::new()?, Authority::new()?);
    apply_secret(mesh, "simple-credential", &old.sign(SIMPLE)?, None)?;
    in_force("answers", || {
        assert::all(
            &https(mesh, SIMPLE, &old.root())?.count(COUNT).send()?,
            "200",
        )
    })?;
    let either = format!("{}{}", old.root(), new.root());
    let load = https(mesh, SIMPLE, &either)?
        .count(LOAD)
        .with("--rate", RATE);
    let load = load.start()?;
    apply_secret(mesh, "simple-credential", &new.sign(SIMPLE)?, None)?;
    in_force("the other certificate", || {
        assert::all(
            &https(mesh, SIMPLE, &new.root())?.count(COUNT).send()?,
            "200",
        )
    })?;
    assert::all(&load.report()?, "200")?;
    all_reset(&https(mesh, SIMPLE, &old.root())?.count(COUNT).send()?)
}

/// Clients show a certificate under the root in the Secret, or get nowhere.
fn mutual(mesh: &mut Mesh) -> Result<()> {
    let (servers, clients) = (Authority::new()?, Authority::new()?);
    let root = clients.root();
    apply_secret(
        mesh,
        "mutual-credential",
        &servers.sign(MUTUAL)?,
        Some(&root),
    )?;
    let send = |identity: Option<&KeyCertPair>| -> Result<Report> {
        let traffic = https(mesh, MUTUAL, &servers.root())?.count(COUNT);
        match identity {
            Some(pair) => traffic.with("--identity", pair.pem()).send(),
            None => traffic.send(),
        }
    };
    let known = clients.sign("client.weft.test")?;
    in_force("answers", || assert::all(&send(Some(&known))?, "200"))?;
    all_reset(&send(None)?).context("without a certificate")?;
    let unknown = servers.sign("client.weft.test")?;
    all_reset(&send(Some(&unknown))?).context("with another authority's")
}

/// The application's own certificate arrives: it is self-signed, for this name.
fn passthrough(mesh: &mut Mesh) -> Result<()> {
    in_force("answers", || {
        let traffic = mesh.from(CLIENT, "https://passthrough.weft.test/")?;
        let report = traffic.with("--connect", HTTPS).count(COUNT).send()?;
        assert::all(&report, "200")
    })?;
    // No server has this name.
    let traffic = mesh.from(CLIENT, "https://nobody.weft.test/")?;
    all_reset(&traffic.with("--connect", HTTPS).count(COUNT).send()?)
}

fn tcp(mesh: &mut Mesh) -> Result<()> {
    in_force("answers", || {
        let report = mesh.tcp_from(CLIENT, TCP)?.count(COUNT).send()?;
        assert::all(&report, "ok")
    })
}

/// Its pods and its Service come and go with it, and it says how it is.
fn gateway_api(mesh: &mut Mesh) -> Result<()> {
    mesh.apply(GATEWAY_API)?;
    poll::until("its pod", START_TIMEOUT, || mesh.pod("apps/edge-istio-"))?;
    let from_client = |url: &str, port: u16| -> Result<Traffic<'_>> {
        let address = format!("edge-istio.apps:{port}");
        Ok(mesh
            .from(CLIENT, url)?
            .with("--connect", address)
            .count(COUNT))
    };
    in_force("answers", || {
        assert::all(&from_client("http://edge.weft.test/", 80)?.send()?, "200")?;
        assert::all(&from_client("https://tls.weft.test/", 443)?.send()?, "200")?;
        let call = from_client("http://grpc.weft.test/", 80)?;
        assert::all(&call.with("--grpc", "unary").send()?, "0")?;
        let tcp = mesh.tcp_from(CLIENT, "edge-istio.apps:9000")?;
        assert::all(&tcp.count(COUNT).send()?, "ok")
    })?;
    in_force("its conditions", || {
        let gateway = get(mesh, "gateways.gateway.networking.k8s.io", "edge")?;
        holds(&gateway, &gateway["status"], "Accepted")?;
        holds(&gateway, &gateway["status"], "Programmed")?;
        let listeners = gateway["status"]["listeners"].as_array();
        let listeners = listeners.context("no listeners")?.iter();
        let attached: Vec<&Value> = listeners.map(|one| &one["attachedRoutes"]).collect();
        ensure!(attached == [2, 1, 1], "attached routes: {attached:?}");
        for kind in ["httproutes", "grpcroutes", "tlsroutes", "tcproutes"] {
            let route = get(mesh, kind, "edge")?;
            let parent = &route["status"]["parents"][0];
            holds(&route, parent, "Accepted")?;
            holds(&route, parent, "ResolvedRefs")?;
        }
        Ok(())
    })?;
    mesh.delete(GATEWAY_API)?;
    poll::until("the end of its pod", START_TIMEOUT, || {
        let pods = mesh.pods("apps/edge-istio-")?;
        ensure!(pods.is_empty(), "{} are left", pods.len());
        ensure!(
            get(mesh, "service", "edge-istio").is_err(),
            "its Service is left"
        );
        Ok(())
    })
}

fn get(mesh: &Mesh, kind: &str, name: &str) -> Result<Value> {
    let args = ["get", kind, name, "--namespace=apps", "--output=json"];
    let out = mesh.kubectl(&args)?;
    serde_json::from_str(&out).context("not JSON")
}

/// Condition `name` of `status` is true, of the object as it is now.
fn holds(object: &Value, status: &Value, name: &str) -> Result<()> {
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let mut named = conditions.filter(|condition| condition["type"] == name);
    let condition = named
        .next()
        .with_context(|| format!("no {name} in {status}"))?;
    let now = condition["observedGeneration"] == object["metadata"]["generation"];
    ensure!(condition["status"] == "True" && now, "{condition}");
    Ok(())
}

fn ingress(mesh: &mut Mesh) -> Result<()> {
    const HOST: &str = "ingress.weft.test";
    let authority = Authority::new()?;
    apply_secret(mesh, "ingress-credential", &authority.sign(HOST)?, None)?;
    mesh.apply(INGRESS)?;
    in_force("answers", || {
        let plain = mesh.ingress("/").header(&format!("host: {HOST}"));
        assert::all(&plain.count(COUNT).send()?, "200")?;
        assert::all(
            &https(mesh, HOST, &authority.root())?.count(COUNT).send()?,
            "200",
        )
    })
}
