//! Under steady load through the gateway nothing fails while each part of the mesh is replaced, as in an upgrade of the
//! mesh, and while a node is drained, as in an upgrade of the node.

mod drain;

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Result, ensure};

use super::{REVIEWS, Step, in_force, open_bookinfo, take_steps};
use crate::{assert, cluster::SYSTEM, mesh::Mesh, poll};

/// Requests for each second.
const RATE: u64 = 300;
const CONCURRENCY: u64 = 32;
/// A bound for each run; it is ended earlier.
const LOAD_SECONDS_MAX: u64 = 400;
const REPLACEMENT_TIMEOUT: Duration = Duration::from_secs(180);
const BOOKINFO: [&str; 6] = [
    "productpage-v1",
    "details-v1",
    "ratings-v1",
    "reviews-v1",
    "reviews-v2",
    "reviews-v3",
];

pub(super) fn run(mesh: &mut Mesh) -> Result<()> {
    open_bookinfo(mesh)?;
    let steps: [Step; 4] = [
        ("the control plane", |mesh| {
            replaced_under_load(mesh, SYSTEM, &["istiod"])
        }),
        ("the gateway", |mesh| {
            replaced_under_load(mesh, SYSTEM, &["istio-ingressgateway"])
        }),
        ("bookinfo", |mesh| {
            replaced_under_load(mesh, "default", &BOOKINFO)
        }),
        ("a node", drain::run),
    ];
    take_steps(mesh, &steps)
}

/// Replaces deployments one after the other while requests arrive.
fn replaced_under_load(mesh: &Mesh, namespace: &str, deployments: &[&str]) -> Result<()> {
    under_load(mesh, || {
        deployments
            .iter()
            .try_for_each(|deployment| replace(mesh, namespace, deployment))
    })
}

/// Makes `change` while requests arrive, then asks that none failed.
fn under_load(mesh: &Mesh, change: impl FnOnce() -> Result<()>) -> Result<()> {
    in_force("the product page", || {
        assert::all(&mesh.ingress(REVIEWS).count(10).send()?, "200")
    })?;
    let load = mesh
        .ingress(REVIEWS)
        .with("--rate", RATE)
        .with("--duration", LOAD_SECONDS_MAX)
        .concurrency(CONCURRENCY)
        .start()?;
    load.during(change).map(drop)
}

/// Replaces the pods of a deployment, and waits until none of the old ones is there.
pub(super) fn replace(mesh: &Mesh, namespace: &str, deployment: &str) -> Result<()> {
    let pods = format!("{namespace}/{deployment}-");
    let before: BTreeSet<String> = mesh.pods(&pods)?.into_iter().map(|pod| pod.name).collect();
    mesh.cluster().restart(namespace, deployment)?;
    poll::until(deployment, REPLACEMENT_TIMEOUT, || {
        let now = mesh.pods(&pods)?;
        let old = now.iter().filter(|pod| before.contains(&pod.name)).count();
        let ready = now.iter().filter(|pod| pod.ready).count();
        ensure!(
            old == 0 && ready == before.len(),
            "{old} old pods, {ready} ready ones"
        );
        Ok(())
    })
}
