//! An upgrade by revision: a second control plane beside the first, a namespace that moves to it and back.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{Step, in_force, take_steps};
use crate::{assert, cluster::Pod, mesh::Mesh, poll};

const START_TIMEOUT: Duration = Duration::from_secs(120);
const CLIENT: &str = "apps/client";
const URL: &str = "http://mover.moving:8080/";
const MOVER: &str = "moving/mover-";
const RATE: u64 = 50;
/// Longer than a move takes: a client in a pod cannot be told to end.
const LOAD_SECONDS: u64 = 45;

const WORKLOAD: &str = "\
apiVersion: v1
kind: Namespace
metadata: {name: moving, labels: {istio.io/rev: default}}
---
apiVersion: v1
kind: Service
metadata: {name: mover, namespace: moving}
spec:
  selector: {app: mover}
  ports: [{name: http, port: 8080}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: mover, namespace: moving}
spec:
  selector: {matchLabels: {app: mover}}
  template:
    metadata: {labels: {app: mover}}
    spec:
      containers:
      - name: echo
        image: weft/testapp:0.1.0
        args: [echo, --http=8080]
        readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}
        # Clients hear of a pod's end when it does, not before: it has to serve on for a while.
        lifecycle: {preStop: {sleep: {seconds: 5}}}
";

pub(super) fn run(mesh: &mut Mesh) -> Result<()> {
    meshctl(mesh, &["upgrade", "--revision=canary", "--timeout=120"])?;
    let steps: [Step; 4] = [
        ("side by side", side_by_side),
        ("to the new one", |mesh| moved(mesh, "canary", "canary")),
        ("back to the old one", |mesh| {
            moved(mesh, "default", "default")
        }),
        ("to the new one by a tag", by_tag),
    ];
    let result = take_steps(mesh, &steps);
    // The namespace first: its pods must not outlive what serves them.
    let emptied = mesh.reset();
    let removed = meshctl(mesh, &["uninstall", "--revision=canary", "--yes"]);
    result.and(emptied).and(removed)
}

fn meshctl(mesh: &Mesh, args: &[&str]) -> Result<()> {
    mesh.cluster().meshctl(args)?.ok().map(drop)
}

fn side_by_side(mesh: &mut Mesh) -> Result<()> {
    poll::until("the new control plane", START_TIMEOUT, || {
        mesh.pod("istio-system/istiod-canary")
    })?;
    mesh.apply(WORKLOAD)?;
    served_by(mesh, "default")?;
    in_force("the workload's answers", || {
        assert::all(&mesh.from(CLIENT, URL)?.count(5).send()?, "200")
    })
}

fn by_tag(mesh: &mut Mesh) -> Result<()> {
    meshctl(mesh, &["tag", "set", "prod", "--revision=canary"])?;
    let listed = mesh.cluster().meshctl(&["tag", "list"])?.ok()?;
    let is_listed = |line: &str| line.split_whitespace().eq(["prod", "canary"]);
    ensure!(listed.lines().any(is_listed), "tags: {listed}");
    moved(mesh, "prod", "canary")?;
    stays_while_in_use(mesh)?;
    meshctl(mesh, &["tag", "remove", "prod"])
}

fn stays_while_in_use(mesh: &Mesh) -> Result<()> {
    let uninstall = ["uninstall", "--revision=canary", "--yes"];
    let said = mesh.cluster().meshctl(&uninstall)?.refused()?;
    for user in ["moving/mover-", "1 namespace (moving)", "1 tag (prod)"] {
        ensure!(said.contains(user), "\"{user}\" is missing: {said}");
    }
    served_by(mesh, "canary")
}

/// The namespace chooses by `label` what then is `revision`; what its pods are asked meanwhile, they all answer.
fn moved(mesh: &mut Mesh, label: &str, revision: &str) -> Result<()> {
    let load = mesh
        .from(CLIENT, URL)?
        .with("--rate", RATE)
        .with("--duration", LOAD_SECONDS)
        .start()?;
    let moved = move_to(mesh, label, revision);
    let report = load.report()?;
    moved?;
    assert::all(&report, "200")
}

fn move_to(mesh: &mut Mesh, label: &str, revision: &str) -> Result<()> {
    let label = format!("labels: {{istio.io/rev: {label}}}");
    mesh.apply(&WORKLOAD.replace("labels: {istio.io/rev: default}", &label))?;
    mesh.cluster().restart("moving", "mover")?;
    served_by(mesh, revision)
}

/// Waits until there is one pod, whose proxy asks the control plane of `revision`.
fn served_by(mesh: &Mesh, revision: &str) -> Result<()> {
    poll::until(revision, START_TIMEOUT, || {
        let pods = mesh.pods(MOVER)?;
        let [pod] = &pods[..] else {
            anyhow::bail!("{} pods", pods.len());
        };
        ensure!(pod.ready, "{} is not ready", pod.name);
        ensure!(revision_of(pod) == revision, "{} has another", pod.name);
        Ok(())
    })
}

fn revision_of(pod: &Pod) -> &str {
    pod.revision.as_deref().unwrap_or_default()
}
