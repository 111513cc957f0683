//! The mesh changes, goes and comes by `meshctl`, under the releases that are there, and leaves nothing behind.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{Step, open_bookinfo, take_steps};
use crate::{
    cluster::SYSTEM,
    mesh::{Mesh, PROXY},
    poll,
};

const RESTART_TIMEOUT: Duration = Duration::from_secs(180);
const GONE_TIMEOUT: Duration = Duration::from_secs(60);

pub(super) fn run(mesh: &mut Mesh) -> Result<()> {
    let values = values(mesh)?;
    let values = mesh.scratch_file(&values.to_string())?;
    let steps: [Step; 4] = [
        ("verification", verified),
        ("a second installation", second),
        ("an upgrade in place", upgraded),
        ("removal", removed),
    ];
    take_steps(mesh, &steps)?;
    installed(mesh, &values.to_string_lossy()).context("installation")
}

/// What was set for the mesh as it is, in the form of `meshctl install --values`.
fn values(mesh: &Mesh) -> Result<Value> {
    let of = |release: &str| -> Result<Value> {
        let args = ["get", "values", release, "-n", SYSTEM, "--output=json"];
        let values = mesh.cluster().tool("helm", &args)?.ok()?;
        serde_json::from_str(&values).context("values are not JSON")
    };
    let mut values = match of("istiod")? {
        Value::Null => json!({}),
        values => values,
    };
    values["gateway"] = of("istio-ingressgateway")?;
    Ok(values)
}

fn verified(mesh: &mut Mesh) -> Result<()> {
    let said = mesh.cluster().meshctl(&["verify-install"])?.ok()?;
    for part in [
        "deployment \"istiod\"",
        "deployment \"istio-ingressgateway\"",
    ] {
        let line = format!("{part} is available");
        ensure!(said.contains(&line), "no \"{line}\" in: {said}");
    }
    Ok(())
}

fn second(mesh: &mut Mesh) -> Result<()> {
    let before = releases(mesh)?;
    let said = mesh.cluster().meshctl(&["install"])?.refused()?;
    let reason = "\"istiod\" is installed already";
    ensure!(said.contains(reason), "another reason: {said}");
    let after = releases(mesh)?;
    ensure!(before == after, "{before} became {after}");
    Ok(())
}

/// The releases of the mesh, with the numbers of their changes.
fn releases(mesh: &Mesh) -> Result<Value> {
    let said = mesh
        .cluster()
        .tool("helm", &["list", "-n", SYSTEM, "--output=json"])?;
    serde_json::from_str(&said.ok()?).context("releases are not JSON")
}

fn upgraded(mesh: &mut Mesh) -> Result<()> {
    mesh.cluster().meshctl(&["upgrade"])?.ok()?;
    verified(mesh)
}

/// Nothing of the mesh is left, and nobody misses it: pods of namespaces that are still labelled start.
fn removed(mesh: &mut Mesh) -> Result<()> {
    let said = mesh.cluster().meshctl(&["uninstall", "--purge", "--yes"])?;
    said.ok()?;
    let names = [
        "get",
        "namespaces,customresourcedefinitions",
        "--output=name",
    ];
    let names = mesh.kubectl(&names)?;
    let early = names.lines().find(|name| name.contains("istio"));
    ensure!(early.is_none(), "gone, it said, and there is {early:?}");
    poll::until("an empty cluster", GONE_TIMEOUT, || {
        let left = remains(mesh)?;
        ensure!(left.is_empty(), "these remain: {}", left.join(", "));
        Ok(())
    })?;
    restarted(mesh, false)
}

/// Whatever could be the mesh's, in all namespaces.
fn remains(mesh: &Mesh) -> Result<Vec<String>> {
    const KINDS: &str = "namespaces,configmaps,secrets,serviceaccounts,services,deployments,leases,roles,rolebindings,\
                         clusterroles,clusterrolebindings,mutatingwebhookconfigurations,\
                         validatingwebhookconfigurations,customresourcedefinitions,poddisruptionbudgets,\
                         horizontalpodautoscalers";
    let get = ["get", KINDS, "--all-namespaces", "--output=name"];
    let all = mesh.kubectl(&get)?;
    let mut left: BTreeSet<&str> = all.lines().filter(|name| name.contains("istio")).collect();
    let labelled = [&get[..], &["--selector=app.kubernetes.io/part-of=weft"]].concat();
    let labelled = mesh.kubectl(&labelled)?;
    left.extend(labelled.lines());
    // Where the kind is known at all.
    let classes = ["get", "gatewayclasses", "--output=name"];
    let classes = mesh.cluster().tool("kubectl", &classes)?.out;
    left.extend(classes.lines().filter(|name| name.ends_with("/istio")));
    Ok(left.into_iter().map(str::to_owned).collect())
}

fn installed(mesh: &mut Mesh, values: &str) -> Result<()> {
    let said = mesh.cluster().meshctl(&["install", "--values", values])?;
    said.ok()?;
    verified(mesh)?;
    restarted(mesh, true)?;
    open_bookinfo(mesh)
}

/// New pods of bookinfo, with or without a proxy.
fn restarted(mesh: &Mesh, meshed: bool) -> Result<()> {
    let restart = ["rollout", "restart", "deployment", "-n", "default"];
    mesh.kubectl(&restart)?;
    poll::until("new pods of bookinfo", RESTART_TIMEOUT, || {
        let pods = mesh.pods("default/")?;
        ensure!(!pods.is_empty(), "there are none");
        for pod in &pods {
            ensure!(pod.ready && !pod.terminating, "{} is not ready", pod.name);
            let has_proxy = pod.containers.iter().any(|name| name == PROXY);
            ensure!(has_proxy == meshed, "{} has proxy: {has_proxy}", pod.name);
        }
        Ok(())
    })
}
