//! Injection through the API server's webhooks, which no local mesh has.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{Step, take_steps};
use crate::{
    assert,
    cluster::{Pod, SYSTEM},
    mesh::{Mesh, PROXY},
    poll::{self, IN_FORCE},
};

const START_TIMEOUT: Duration = Duration::from_secs(90);

/// The injector's ConfigMap.
const INJECTOR: &str = "istio-sidecar-injector";

pub(super) fn run(mesh: &mut Mesh) -> Result<()> {
    let steps: [Step; 6] = [
        ("by command", by_command),
        ("templates of an operator", own_templates),
        ("kinds of workloads", kinds),
        ("labels", labels),
        ("a job", job),
        ("without a control plane", without_control_plane),
    ];
    take_steps(mesh, &steps)
}

/// A container that does nothing, as the rest of a pod's spec in flow style.
const PAUSE: &str = "containers: [{name: app, image: weft/testapp:0.1.0, args: [pause]}]";

/// `meshctl inject` makes of a pod what the webhook makes of it.
fn by_command(mesh: &mut Mesh) -> Result<()> {
    // A token's volume has another name in each pod.
    let pod = pod("twin", "apps", "", "automountServiceAccountToken: false, ");
    let by_webhook = created(mesh, &pod)?;
    same_by_command(mesh, &pod, &by_webhook)
}

fn same_by_command(mesh: &Mesh, pod: &str, by_webhook: &Value) -> Result<()> {
    let file = mesh.scratch_file(pod)?;
    let file = file.to_string_lossy();
    let injected = mesh.cluster().meshctl(&["inject", "-f", &file])?.ok()?;
    let elsewhere = injected.replace("namespace: apps", "namespace: outside");
    let by_command = created(mesh, &elsewhere)?;
    ensure!(
        *by_webhook == by_command,
        "the webhook gives {by_webhook}, the command {by_command}"
    );
    Ok(())
}

/// One that is applied after the sidecar's, and one that refuses every pod.
const TEMPLATES: &str = "
templates:
  greeting: |
    spec:
      containers:
      - name: istio-proxy
        env: [{name: GREETING, value: {{ annotation .ObjectMeta `example.com/greeting` `hello` | quote }}}]
  refusing: \"{{ fail `not today` }}\"
";

fn own_templates(mesh: &mut Mesh) -> Result<()> {
    let get = ["get", "configmap", INJECTOR, "-n", SYSTEM];
    let before = mesh.kubectl(&[&get[..], &["--output=jsonpath={.data.config}"]].concat())?;
    configure_injector(mesh, &format!("{before}{TEMPLATES}"))?;
    let result = greeted(mesh);
    configure_injector(mesh, &before)?;
    result
}

fn greeted(mesh: &Mesh) -> Result<()> {
    let pod = |templates: &str| {
        let annotation = format!("annotations: {{inject.istio.io/templates: \"{templates}\"}}");
        let spec = "automountServiceAccountToken: false, ";
        pod("greeted", "apps", "", spec).replace("labels: {}", &annotation)
    };
    let greeting = json!({"name": "GREETING", "value": "hello"});
    let greeted = pod("sidecar,greeting");
    let by_webhook = poll::until("the template", IN_FORCE, || {
        let pod = created(mesh, &greeted)?;
        let containers = ["containers", "initContainers"].map(|list| &pod["spec"][list]);
        let proxy = containers
            .into_iter()
            .flat_map(|list| list.as_array().into_iter().flatten())
            .find(|container| container["name"] == PROXY)
            .context("no proxy")?;
        let env = proxy["env"].as_array().context("no env")?;
        ensure!(env.contains(&greeting), "not greeted: {proxy}");
        Ok(pod)
    })?;
    same_by_command(mesh, &greeted, &by_webhook)?;
    let file = mesh.scratch_file(&pod("sidecar,refusing"))?;
    let create = ["create", "--dry-run=server", "-f", &file.to_string_lossy()];
    let said = mesh.cluster().tool("kubectl", &create)?.refused()?;
    assert::contains(&said, "template \"refusing\": execution error: not today")
}

fn configure_injector(mesh: &Mesh, config: &str) -> Result<()> {
    let patch = json!({"data": {"config": config}}).to_string();
    let change = ["patch", "configmap", INJECTOR, "-n", SYSTEM];
    let merge = ["--type=merge", "--patch", &patch];
    mesh.kubectl(&[&change[..], &merge].concat()).map(drop)
}

/// What the API server would make of a pod, without what differs from pod to pod.
fn created(mesh: &Mesh, pod: &str) -> Result<Value> {
    let file = mesh.scratch_file(pod)?;
    let file = file.to_string_lossy();
    let args = ["create", "--dry-run=server", "--output=json", "-f", &file];
    let said = mesh.kubectl(&args)?;
    let mut pod: Value = serde_json::from_str(&said)?;
    let metadata = pod["metadata"].as_object_mut();
    let metadata = metadata.context("a pod has metadata")?;
    metadata.retain(|name, _| matches!(name.as_str(), "name" | "labels" | "annotations"));
    Ok(pod)
}

/// Every kind that makes pods, and a pod that nobody made.
fn kinds(mesh: &mut Mesh) -> Result<()> {
    let template = |app: &str| {
        format!(
            "  selector: {{matchLabels: {{app: {app}}}}}\n  template:\n    metadata: {{labels: {{app: {app}}}}}\n    spec: {{{PAUSE}}}\n"
        )
    };
    let deployment = template("kind-deployment");
    let set = template("kind-set");
    let daemons = template("kind-daemons");
    mesh.apply(&format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: kind-deployment, namespace: apps}}\nspec:\n{deployment}---\n\
         apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {{name: kind-set, namespace: apps}}\nspec:\n  serviceName: kind-set\n{set}---\n\
         apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {{name: kind-daemons, namespace: apps}}\nspec:\n{daemons}---\n{}",
        pod("kind-pod", "apps", "", "")
    ))?;
    for name in ["kind-deployment", "kind-set", "kind-daemons", "kind-pod"] {
        expect_proxy(mesh, &format!("apps/{name}"), true)?;
    }
    mesh.reset()
}

/// What a pod says about itself, with and against its namespace.
fn labels(mesh: &mut Mesh) -> Result<()> {
    let cases = [
        ("silent", "apps", "", "", true),
        (
            "refuses",
            "apps",
            "sidecar.istio.io/inject: \"false\"",
            "",
            false,
        ),
        ("on-the-host", "apps", "", "hostNetwork: true, ", false),
        ("outsider", "outside", "", "", false),
        (
            "wants",
            "outside",
            "sidecar.istio.io/inject: \"true\"",
            "",
            true,
        ),
        (
            "asks-by-revision",
            "outside",
            "istio.io/rev: default",
            "",
            true,
        ),
        (
            "asks-for-another",
            "outside",
            "istio.io/rev: other",
            "",
            false,
        ),
    ];
    let manifest: Vec<String> = cases
        .iter()
        .map(|(name, namespace, label, spec, _)| pod(name, namespace, label, spec))
        .collect();
    mesh.apply(&manifest.join("---\n"))?;
    for (name, namespace, _, _, injected) in cases {
        expect_proxy(mesh, &format!("{namespace}/{name}"), injected)?;
    }
    mesh.reset()
}

/// The proxy lets a job's request through, and ends with the job.
fn job(mesh: &mut Mesh) -> Result<()> {
    mesh.apply(
        "apiVersion: batch/v1\nkind: Job\nmetadata: {name: caller, namespace: apps}\nspec:\n  backoffLimit: 0\n  template:\n    spec:\n      restartPolicy: Never\n      containers:\n      - name: app\n        image: weft/testapp:0.1.0\n        args: [client, --url, \"http://echo:8080/\", --count, \"3\"]\n",
    )?;
    let done = poll::until("the job's end", START_TIMEOUT, || {
        let pods = mesh.pods("apps/caller")?;
        let done = pods.into_iter().find(|pod| pod.succeeded);
        done.ok_or_else(|| anyhow::anyhow!("it has not ended"))
    })?;
    ensure!(has_proxy(&done), "it had no proxy");
    let said = mesh.cluster().logs(&done, "app")?;
    assert::contains(&said, "\"200\":3")?;
    mesh.reset()
}

/// Pods outside the mesh do not wait for it; pods in the mesh do not start without their proxy.
fn without_control_plane(mesh: &mut Mesh) -> Result<()> {
    mesh.cluster().stop_control_plane()?;
    let result = while_down(mesh);
    mesh.cluster().start_control_plane()?;
    poll::until("the control plane's return", START_TIMEOUT, || {
        mesh.pod("istio-system/istiod")
    })?;
    result?;
    mesh.reset()
}

fn while_down(mesh: &mut Mesh) -> Result<()> {
    mesh.apply(&pod("unlabelled", "outside", "", ""))?;
    expect_proxy(mesh, "outside/unlabelled", false)?;
    let labelled = pod("labelled", "apps", "", "");
    let manifest = mesh.scratch_file(&labelled)?;
    let file = manifest.to_string_lossy();
    poll::until("a refusal", START_TIMEOUT, || {
        let create = ["create", "--dry-run=server", "--output=name", "-f", &file];
        let said = mesh.cluster().tool("kubectl", &create)?.refused()?;
        assert::contains(&said, "sidecar-injector.istio.io")
    })
}

fn pod(name: &str, namespace: &str, label: &str, spec: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: {namespace}, labels: {{{label}}}}}\nspec: {{{spec}{PAUSE}}}\n"
    )
}

/// Waits until the pods whose names begin with `name` are ready, and looks for their proxies.
fn expect_proxy(mesh: &Mesh, name: &str, expected: bool) -> Result<()> {
    let pods = poll::until(name, START_TIMEOUT, || {
        let pods = mesh.pods(name)?;
        let is_ready = !pods.is_empty() && pods.iter().all(|pod| pod.ready);
        ensure!(is_ready, "not ready: {pods:?}");
        Ok(pods)
    })?;
    for pod in &pods {
        let found = has_proxy(pod);
        ensure!(found == expected, "{}: proxy is {found}", pod.name);
    }
    Ok(())
}

fn has_proxy(pod: &Pod) -> bool {
    pod.containers.iter().any(|name| name == PROXY)
}
