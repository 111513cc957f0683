//! The API server and etcd are killed and stay away: requests pass meanwhile, and afterwards nothing is lost, nothing is
//! sent again that has not changed, and changes are taken as before.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{REVIEWS, answered_by, in_force, open_bookinfo, restarts};
use crate::{assert, mesh::Mesh, poll};

const MANIFEST: &str = include_str!("../../manifests/outage.yaml");
const OUTAGE: Duration = Duration::from_secs(30);
const BEGIN_TIMEOUT: Duration = Duration::from_secs(30);
/// With the time that the cluster's own controllers take to be back.
const RETURN_TIMEOUT: Duration = Duration::from_secs(150);
/// A bound for the load; it is ended earlier.
const LOAD_SECONDS_MAX: u64 = 300;
const RATE: u64 = 100;
const GATEWAY: &str = "istio-system/istio-ingressgateway";

pub(super) fn run(mesh: &mut Mesh) -> Result<()> {
    open_bookinfo(mesh)?;
    mesh.apply_bookinfo("destination-rule-all")?;
    mesh.apply_bookinfo("virtual-service-reviews-v3")?;
    in_force("the route", || answered_by(mesh, &["v3"]))?;
    let before = configuration(mesh)?;
    let pushes_before = pushes(mesh)?;
    let load = mesh
        .ingress(REVIEWS)
        .with("--rate", RATE)
        .with("--duration", LOAD_SECONDS_MAX)
        .start()?;
    load.during(|| outage(mesh))?;
    in_force("the same configuration", || {
        let after = configuration(mesh)?;
        let lost: Vec<&String> = before.difference(&after).collect();
        let new: Vec<&String> = after.difference(&before).collect();
        let same = lost.is_empty() && new.is_empty();
        ensure!(same, "{lost:#?} became {new:#?}");
        Ok(())
    })?;
    let pushes_after = pushes(mesh)?;
    ensure!(
        pushes_after == pushes_before,
        "{pushes_before:?} became {pushes_after:?}, and nothing has changed"
    );
    changes_are_taken(mesh)
}

/// How often clusters, listeners and routes were sent to proxies.
fn pushes(mesh: &Mesh) -> Result<Vec<String>> {
    let metrics = mesh.control_plane_metrics()?;
    let counter = |name| {
        let counter = format!("pilot_xds_pushes{{type=\"{name}\"}}");
        let line = metrics.lines().find(|line| line.starts_with(&counter));
        line.map(str::to_owned)
            .with_context(|| format!("no {counter}"))
    };
    ["cds", "lds", "rds"].into_iter().map(counter).collect()
}

fn outage(mesh: &mut Mesh) -> Result<()> {
    let [node, image] = api_server(mesh)?;
    let seconds = OUTAGE.as_secs().to_string();
    let manifest = MANIFEST
        .replace("${NODE}", &node)
        .replace("${IMAGE}", &image)
        .replace("${SECONDS}", &seconds);
    let start = Instant::now();
    mesh.apply(&manifest)?;
    poll::until("the end of the API server", BEGIN_TIMEOUT, || {
        ensure!(!is_ready(mesh)?, "it is ready");
        Ok(())
    })?;
    let report = mesh.ingress(REVIEWS).new_connections().count(20).send()?;
    assert::all(&report, "200").context("new connections without an API server")?;
    poll::until("its return", RETURN_TIMEOUT, || {
        ensure!(is_ready(mesh)?, "it is not ready");
        Ok(())
    })?;
    let away = start.elapsed();
    ensure!(away >= OUTAGE, "it was away for {away:?} only");
    mesh.wait_until_ready(RETURN_TIMEOUT).map(drop)
}

/// The node and the image of the API server.
fn api_server(mesh: &Mesh) -> Result<[String; 2]> {
    let get = [
        "get",
        "pods",
        "-n",
        "kube-system",
        "-l",
        "component=kube-apiserver",
    ];
    let path = "jsonpath={.items[0].spec.nodeName} {.items[0].spec.containers[0].image}";
    let said = mesh.kubectl(&[&get[..], &["--output", path]].concat())?;
    let found = said
        .split_once(' ')
        .context("the API server is not a pod")?;
    Ok([found.0.to_owned(), found.1.to_owned()])
}

fn is_ready(mesh: &Mesh) -> Result<bool> {
    let ask = ["get", "--raw", "/readyz", "--request-timeout=2s"];
    Ok(mesh.cluster().tool("kubectl", &ask)?.success)
}

/// The resources that the gateway was told, with the versions that stand for their contents.
fn configuration(mesh: &Mesh) -> Result<BTreeSet<String>> {
    let pod = mesh.pod(GATEWAY)?;
    let name = format!("{}.{}", pod.name, pod.namespace);
    let args = ["proxy-config", "all", &name, "--output=json"];
    let said = mesh.cluster().meshctl(&args)?.ok()?;
    let dump: Value = serde_json::from_str(&said).context("the configuration is not JSON")?;
    let mut found = BTreeSet::new();
    collect(&dump, &mut found);
    ensure!(!found.is_empty(), "no resource has a version");
    Ok(found)
}

/// Names and versions of all resources within a dump.
fn collect(dump: &Value, found: &mut BTreeSet<String>) {
    let children: Vec<&Value> = match dump {
        Value::Array(items) => items.iter().collect(),
        Value::Object(fields) => fields.values().collect(),
        _ => return,
    };
    if let Some(version) = dump["version_info"].as_str() {
        let mut resources = children.iter().filter_map(|child| {
            let name = child["name"].as_str().or(child["cluster_name"].as_str())?;
            Some((child["@type"].as_str()?, name))
        });
        // Certificates change by themselves.
        let resource = resources
            .next()
            .filter(|(kind, _)| !kind.ends_with(".Secret"));
        found.extend(resource.map(|(kind, name)| format!("{kind} {name}: {version}")));
    }
    children.into_iter().for_each(|child| collect(child, found));
}

/// Objects and pods that come after the return.
fn changes_are_taken(mesh: &mut Mesh) -> Result<()> {
    restarts::replace(mesh, "default", "ratings-v1")?;
    mesh.apply_bookinfo("virtual-service-all-v1")?;
    in_force("a route from after the return", || {
        answered_by(mesh, &["v1"])
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn resources_of_all_kinds_are_found() {
        let dump = json!({"configs": [
            {"dynamic_active_clusters": [{"cluster": {"@type": "Cluster", "name": "a"}, "version_info": "1"}]},
            {"dynamic_listeners": [
                {"name": "b", "active_state": {"listener": {"@type": "Listener", "name": "b"}, "version_info": "2"}},
            ]},
            {"dynamic_endpoint_configs": [
                {"endpoint_config": {"@type": "ClusterLoadAssignment", "cluster_name": "c"}, "version_info": "3"},
            ]},
        ]});
        let mut found = BTreeSet::new();
        collect(&dump, &mut found);
        let expected = [
            "Cluster a: 1",
            "ClusterLoadAssignment c: 3",
            "Listener b: 2",
        ];
        assert_eq!(found, expected.map(str::to_owned).into());
    }
}
