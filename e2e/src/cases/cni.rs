//! Capture by the CNI plugin: pods of the mesh need no privileges at all, and without the node agent they wait.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{Step, in_force, take_steps};
use crate::{assert, cluster::SYSTEM, mesh::Mesh, poll};

const SETTINGS_TIMEOUT: Duration = Duration::from_secs(60);
const START_TIMEOUT: Duration = Duration::from_secs(90);
const CLIENT: &str = "apps/client";
const URL: &str = "http://guarded.restricted:8080/";
const GUARDED: &str = "restricted/guarded-";
const AGENT: [&str; 4] = ["-n", SYSTEM, "daemonset", "weft-cni-node"];

/// Everything that the pod security standard asks of an application; the sidecar has to fit by itself.
const WORKLOAD: &str = "\
apiVersion: v1
kind: Namespace
metadata:
  name: restricted
  labels: {istio-injection: enabled, pod-security.kubernetes.io/enforce: restricted}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: guarded, namespace: restricted}
---
apiVersion: v1
kind: Service
metadata: {name: guarded, namespace: restricted}
spec:
  selector: {app: guarded}
  ports: [{name: http, port: 8080}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: guarded, namespace: restricted}
spec:
  selector: {matchLabels: {app: guarded}}
  template:
    metadata: {labels: {app: guarded}}
    spec:
      serviceAccountName: guarded
      securityContext: {runAsNonRoot: true, runAsUser: 1000, seccompProfile: {type: RuntimeDefault}}
      containers:
      - name: echo
        image: weft/testapp:0.1.0
        args: [echo, --http=8080]
        securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
        readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}
";

pub(super) fn run(mesh: &mut Mesh) -> Result<()> {
    switched(mesh, true)?;
    let steps: [Step; 2] = [
        ("a restricted namespace", restricted),
        ("without the agent", without_agent),
    ];
    let result = take_steps(mesh, &steps);
    let emptied = mesh.reset();
    let back = switched(mesh, false);
    result.and(emptied).and(back)
}

/// Whether pods count on the plugin, and so does what the injector makes of them.
fn switched(mesh: &Mesh, enabled: bool) -> Result<()> {
    let setting = format!("--set=cni.enabled={enabled}");
    mesh.cluster().meshctl(&["upgrade", &setting])?.ok()?;
    poll::until("settings in force", SETTINGS_TIMEOUT, || {
        let pod = ["run", "probe", "-n", "apps", "--image=probe"];
        let args = [&pod[..], &["--dry-run=server", "--output=json"]].concat();
        let pod = mesh.kubectl(&args)?;
        let validated = pod.contains("istio-validation");
        ensure!(validated == enabled, "the injector does not know them");
        Ok(())
    })
}

fn restricted(mesh: &mut Mesh) -> Result<()> {
    mesh.apply(WORKLOAD)?;
    poll::until("the pod", START_TIMEOUT, || mesh.pod(GUARDED))?;
    let init = "jsonpath={.items[*].spec.initContainers[*].name}";
    let get = ["get", "pods", "-n", "restricted", "--output", init];
    let init = mesh.kubectl(&get)?;
    ensure!(init == "istio-validation istio-proxy", "it has {init}");
    in_force("requests that both proxies see", || {
        let report = mesh.from(CLIENT, URL)?.count(5).send()?;
        assert::all(&report, "200")?;
        let answer = report.first()?.json()?;
        let peer = answer["headers"]["x-forwarded-client-cert"].as_str();
        let peer = peer.context("the server's proxy was passed by")?;
        assert::contains(peer, "URI=spiffe://cluster.local/ns/apps/sa/client")
    })
}

/// A pod of the mesh does not start open: it waits for the agent, and then goes on.
fn without_agent(mesh: &mut Mesh) -> Result<()> {
    agent_runs_where(mesh, "{\"none\":\"such\"}")?;
    let waited = poll::until("the agents' end", START_TIMEOUT, || {
        let agents = mesh.pods("istio-system/weft-cni-node-")?;
        ensure!(agents.is_empty(), "{} run", agents.len());
        Ok(())
    })
    .and_then(|()| waits(mesh));
    agent_runs_where(mesh, "{\"none\":null}")?;
    waited?;
    poll::until("the pod that waited", START_TIMEOUT, || mesh.pod(GUARDED))?;
    in_force("requests to it", || {
        assert::all(&mesh.from(CLIENT, URL)?.count(5).send()?, "200")
    })
}

fn agent_runs_where(mesh: &Mesh, node_selector: &str) -> Result<()> {
    let patch =
        format!("{{\"spec\":{{\"template\":{{\"spec\":{{\"nodeSelector\":{node_selector}}}}}}}}}");
    let args = [&["patch"], &AGENT[..], &["--patch", &patch]].concat();
    mesh.kubectl(&args).map(drop)
}

fn waits(mesh: &Mesh) -> Result<()> {
    let delete = ["delete", "pods", "-n", "restricted", "-l", "app=guarded"];
    mesh.kubectl(&delete)?;
    poll::until("the event that says so", START_TIMEOUT, || {
        let events = ["get", "events", "-n", "restricted", "--output=json"];
        let selector = ["--field-selector", "reason=FailedCreatePodSandBox"];
        let events = [&events[..], &selector].concat();
        let said = mesh.kubectl(&events)?;
        assert::contains(&said, "waits for the mesh's node agent")
    })?;
    let pods = mesh.pods(GUARDED)?;
    let started = pods.iter().filter(|pod| pod.ready && !pod.terminating);
    ensure!(started.count() == 0, "a pod started without the agent");
    Ok(())
}
