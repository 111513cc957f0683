//! Case 10: what leaves the mesh.

use anyhow::{Context, Result, ensure};

use super::{ECHO_VERSION, PROBES, all_reset, in_force};
use crate::{assert, mesh::Mesh};

const CLIENT: &str = "apps/client";

const REGISTRY_ONLY: &str = "
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: registry-only, namespace: apps}
spec:
  workloadSelector: {labels: {app: client}}
  outboundTrafficPolicy: {mode: REGISTRY_ONLY}
  egress: [{hosts: ['*/*']}]
";

/// A host outside, with a limit on its time; the part that differs is the resolution.
fn outside(resolution: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\n\
         metadata: {{name: outside, namespace: apps}}\n\
         spec:\n  hosts: [books.example.com]\n  location: MESH_EXTERNAL\n\
         \x20 ports: [{{number: 80, name: http, protocol: HTTP, targetPort: 8080}}]\n\
         \x20 {resolution}\n\
         ---\napiVersion: networking.istio.io/v1\nkind: VirtualService\n\
         metadata: {{name: outside, namespace: apps}}\n\
         spec:\n  hosts: [books.example.com]\n  http:\n  - timeout: 0.5s\n\
         \x20   route: [{{destination: {{host: books.example.com}}}}]\n"
    )
}

pub(super) fn run(mesh: &mut Mesh) -> Result<()> {
    let island = mesh.pod("outside/island")?.ip;
    allow_any(mesh, &island).context("ALLOW_ANY")?;
    mesh.apply(REGISTRY_ONLY)?;
    registry_only(mesh, &island).context("REGISTRY_ONLY")?;
    let address = format!("{island}:80");
    let entry = format!("resolution: STATIC\n  endpoints: [{{address: {island}}}]");
    service_entry(mesh, &entry, &address, "island").context("a ServiceEntry with addresses")?;
    let entry = "resolution: DNS\n  endpoints: [{address: legacy.outside.svc.cluster.local}]";
    service_entry(mesh, entry, &address, "legacy").context("a ServiceEntry with a name")?;
    mesh.no_rejections()
}

fn allow_any(mesh: &Mesh, island: &str) -> Result<()> {
    // Ports that the mesh knows for other services, and one that it does not.
    for port in [8080, 80] {
        let url = format!("http://{island}:{port}/");
        let report = mesh
            .from(CLIENT, &url)?
            .count(PROBES)
            .group_by(ECHO_VERSION)
            .send()?;
        assert::only(&report, &["island"])?;
    }
    let report = mesh
        .tcp_from(CLIENT, &format!("{island}:9000"))?
        .count(PROBES)
        .send()?;
    assert::all(&report, "ok")
}

fn registry_only(mesh: &Mesh, island: &str) -> Result<()> {
    in_force("refusal of unknown hosts", || {
        let report = mesh
            .from(CLIENT, &format!("http://{island}:8080/"))?
            .count(PROBES)
            .send()?;
        assert::all(&report, "502")
    })?;
    all_reset(
        &mesh
            .tcp_from(CLIENT, &format!("{island}:9000"))?
            .count(5)
            .send()?,
    )?;
    let report = mesh
        .from(CLIENT, "http://echo:8080/")?
        .count(PROBES)
        .send()?;
    assert::all(&report, "200")?;
    // Others are not affected.
    let report = mesh
        .from("default/details", &format!("http://{island}:8080/"))?
        .count(5)
        .send()?;
    assert::all(&report, "200")
}

fn service_entry(mesh: &mut Mesh, resolution: &str, address: &str, version: &str) -> Result<()> {
    let manifest = outside(resolution);
    mesh.apply(&manifest)?;
    let send = |mesh: &Mesh, path: &str| {
        let url = format!("http://books.example.com{path}");
        mesh.from(CLIENT, &url)?
            .with("--connect", address)
            .count(PROBES)
            .concurrency(4)
            .group_by(ECHO_VERSION)
            .send()
    };
    in_force("the outside host", || {
        assert::only(&send(mesh, "/")?, &[version])
    })?;
    let report = send(mesh, "/?delay=2000")?;
    assert::all(&report, "504")?;
    ensure!(
        report.latency_us.max < 2_000_000,
        "the timeout is not 0.5 s: {:?}",
        report.latency_us
    );
    mesh.delete(&manifest)?;
    in_force("refusal again", || assert::all(&send(mesh, "/")?, "502"))
}
