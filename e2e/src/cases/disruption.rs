//! Case 11: under steady load through the gateway nothing fails, whatever changes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use super::{REVIEWS, Step, answered_by, in_force, open_bookinfo};
use crate::{mesh::Mesh, poll};

/// Requests for each second. The product page makes a connection for each of them, and its pod has 28,232 ports for
/// connections, each of which rests for a minute after use: 470 a second at the most.
const RATE: u64 = 400;
const CONCURRENCY: u64 = 64;
/// A bound for each run; it is ended earlier.
const LOAD_SECONDS_MAX: u64 = 180;
const WITHOUT_CONTROL_PLANE: Duration = Duration::from_secs(60);
const REPLACEMENT_TIMEOUT: Duration = Duration::from_secs(60);
/// More than the time to renewal in this mesh.
const ROTATION_TIMEOUT: Duration = Duration::from_secs(130);

pub(super) fn run(mesh: &mut Mesh) -> Result<()> {
    open_bookinfo(mesh)?;
    mesh.apply_bookinfo("destination-rule-all")?;
    let steps: [Step; 4] = [
        ("route changes", route_changes),
        ("a rolling replacement", rolling_replacement),
        ("loss of the control plane", control_plane_loss),
        ("rotation of certificates", rotation),
    ];
    for (name, step) in steps {
        under_load(mesh, step).context(name)?;
    }
    Ok(())
}

/// Makes `change` while requests arrive at a steady rate, then asks that none failed.
fn under_load(mesh: &mut Mesh, change: fn(&mut Mesh) -> Result<()>) -> Result<()> {
    let load = mesh
        .ingress(REVIEWS)
        .with("--rate", RATE)
        .with("--duration", LOAD_SECONDS_MAX)
        .concurrency(CONCURRENCY)
        .start()?;
    let report = load.during(|| change(mesh))?;
    // How fast they are answered is not asked here: a busy machine falls behind, and may, as long as nothing fails.
    ensure!(
        report.sent > RATE,
        "only {} requests were sent",
        report.sent
    );
    Ok(())
}

fn route_changes(mesh: &mut Mesh) -> Result<()> {
    for _ in 0..3 {
        for (file, versions) in [
            ("virtual-service-all-v1", &["v1"][..]),
            ("virtual-service-reviews-v3", &["v3"]),
            ("virtual-service-reviews-v2-v3", &["v2", "v3"]),
        ] {
            mesh.apply_bookinfo(file)?;
            in_force(file, || answered_by(mesh, versions))?;
        }
        let rollback = mesh
            .samples()
            .bookinfo_networking("virtual-service-reviews-v2-v3")?;
        mesh.cluster().delete(&rollback)?;
        in_force("no route", || answered_by(mesh, &["v1", "v2", "v3"]))?;
    }
    Ok(())
}

/// Every pod of reviews is replaced by another one.
fn rolling_replacement(mesh: &mut Mesh) -> Result<()> {
    let names = |mesh: &Mesh| -> Result<BTreeSet<String>> {
        let pods = mesh.pods("default/reviews-")?;
        Ok(pods.into_iter().map(|pod| pod.name).collect())
    };
    let before = names(mesh)?;
    let bookinfo = fs::read_to_string(mesh.samples().bookinfo()?)?;
    let replaced = mesh.scratch_file(&with_new_templates(&bookinfo))?;
    // What `up` started stays until `down`; this is not the case's to delete.
    mesh.cluster().apply(&replaced)?;
    poll::until("new pods of reviews", REPLACEMENT_TIMEOUT, || {
        let pods = mesh.pods("default/reviews-")?;
        let old = pods.iter().filter(|pod| before.contains(&pod.name)).count();
        let ready = pods.iter().filter(|pod| pod.ready).count();
        ensure!(
            old == 0 && ready == before.len(),
            "{old} old ones, {ready} ready ones"
        );
        Ok(())
    })?;
    in_force("answers of the new pods", || {
        answered_by(mesh, &["v1", "v2", "v3"])
    })
}

/// The deployments of reviews with another label on their pods, which replaces them.
fn with_new_templates(bookinfo: &str) -> String {
    bookinfo
        .split("---\n")
        .filter(|document| {
            document.contains("kind: Deployment") && document.contains("name: reviews-")
        })
        .map(|deployment| {
            let template = "    metadata:\n      labels:\n";
            let replaced = format!("{template}        replaced: \"true\"\n");
            format!("{}---\n", deployment.replace(template, &replaced))
        })
        .collect()
}

/// SIGKILL, a minute without, and the return; afterwards changes are taken again.
fn control_plane_loss(mesh: &mut Mesh) -> Result<()> {
    mesh.cluster().stop_control_plane()?;
    thread::sleep(WITHOUT_CONTROL_PLANE);
    mesh.cluster().start_control_plane()?;
    poll::until("the control plane's return", REPLACEMENT_TIMEOUT, || {
        mesh.pod("istio-system/istiod")
    })?;
    // Nodes learn of its address a moment after it is ready, and a change that cannot be validated is refused.
    poll::until("validation", REPLACEMENT_TIMEOUT, || {
        mesh.apply_bookinfo("virtual-service-reviews-v3")
    })?;
    poll::until("a change after the return", REPLACEMENT_TIMEOUT, || {
        answered_by(mesh, &["v3"])
    })
}

/// Certificates by pod, as the proxies show them.
type Serials = BTreeMap<String, String>;

/// Pods whose certificates are watched.
const ROTATED: [&str; 4] = [
    "default/productpage",
    "default/details",
    "default/ratings",
    "istio-system/istio-ingressgateway",
];

fn serials(mesh: &Mesh) -> Result<Serials> {
    let serial = |pod: &str| -> Result<(String, String)> {
        let chain = mesh.certificate_chain(pod)?;
        let serial = chain.into_iter().next().context("no certificate")?;
        Ok((pod.to_owned(), serial))
    };
    ROTATED.into_iter().map(serial).collect()
}

/// Every workload gets another certificate while requests pass: their lives are short in this mesh.
fn rotation(mesh: &mut Mesh) -> Result<()> {
    let before = serials(mesh)?;
    poll::until("other certificates", ROTATION_TIMEOUT, || {
        let now = serials(mesh)?;
        let same: Vec<&String> = now
            .keys()
            .filter(|pod| now.get(*pod) == before.get(*pod))
            .collect();
        ensure!(same.is_empty(), "{same:?} have the same one");
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::Samples;

    #[test]
    fn only_reviews_are_replaced() {
        let bookinfo =
            fs::read_to_string(Samples::find(None).unwrap().bookinfo().unwrap()).unwrap();
        let replaced = with_new_templates(&bookinfo);
        assert_eq!(replaced.matches("kind: Deployment").count(), 3);
        assert_eq!(replaced.matches("replaced: \"true\"").count(), 3);
    }
}
