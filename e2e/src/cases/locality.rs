//! Locality: who is near is asked first, the next nearest when it fails, and shares by locality are kept.
//!
//! Pods say where they are by label, which comes before the labels of their node and works without one.

use std::time::Duration;

use anyhow::{Context, Result};

use super::{ECHO_VERSION, Misbehaving, in_force};
use crate::{assert, mesh::Mesh, poll, traffic::Report};

const CLIENT: &str = "apps/traveller";
const NEAR: &str = "apps/zone-near";
const URL: &str = "http://zones:8080";

/// How long new pods may take until they are ready.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How long an ejection may take.
const EJECTION_TIMEOUT: Duration = Duration::from_secs(20);

pub(super) fn run(mesh: &mut Mesh) -> Result<()> {
    start(mesh)?;
    let spread = "{loadBalancer: {simple: ROUND_ROBIN}}";
    mesh.apply(&policy(spread))?;
    in_force("all localities without outlier detection", || {
        assert::only(&send(mesh, 30)?, &["near", "region", "abroad"])
    })?;
    failover(mesh).context("failover")?;
    distribute(mesh).context("distribute")
}

fn start(mesh: &mut Mesh) -> Result<()> {
    let mut manifest = String::from(
        "apiVersion: v1\nkind: Service\nmetadata: {name: zones, namespace: apps}\n\
         spec: {selector: {app: zones}, ports: [{name: http, port: 8080}]}\n",
    );
    for (name, app, locality) in [
        ("traveller", "traveller", "eu.a"),
        ("zone-near", "zones", "eu.a"),
        ("zone-region", "zones", "eu.b"),
        ("zone-abroad", "zones", "us.a"),
    ] {
        let version = name.trim_start_matches("zone-");
        manifest += &format!(
            "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}, namespace: apps}}\n\
             spec:\n  selector: {{matchLabels: {{app: {app}, version: {version}}}}}\n  template:\n    \
             metadata: {{labels: {{app: {app}, version: {version}, istio-locality: {locality}}}}}\n    \
             spec:\n      containers:\n      - name: echo\n        image: weft/testapp:0.1.0\n        \
             args: [echo, --http=8080, --version={version}]\n        \
             readinessProbe: {{httpGet: {{path: /healthz, port: 8080}}, periodSeconds: 1}}\n"
        );
    }
    mesh.apply(&manifest)?;
    mesh.wait_until_ready(START_TIMEOUT).map(drop)
}

fn policy(policy: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\n\
         metadata: {{name: zones, namespace: apps}}\n\
         spec: {{host: zones, trafficPolicy: {policy}}}\n"
    )
}

fn send(mesh: &Mesh, count: u64) -> Result<Report> {
    mesh.from(CLIENT, URL)?
        .count(count)
        .group_by(ECHO_VERSION)
        .send()
}

fn failover(mesh: &mut Mesh) -> Result<()> {
    mesh.apply(&policy(
        "{outlierDetection: {consecutive5xxErrors: 2, interval: 1s, baseEjectionTime: 60s, maxEjectionPercent: 100}}",
    ))?;
    in_force("the nearest alone", || {
        assert::only(&send(mesh, 30)?, &["near"])
    })?;
    let failing = Misbehaving::new(mesh, NEAR, "status=500")?;
    poll::until(
        "the same region when the nearest fails",
        EJECTION_TIMEOUT,
        || assert::only(&send(mesh, 30)?, &["region"]),
    )?;
    drop(failing);
    Ok(())
}

fn distribute(mesh: &mut Mesh) -> Result<()> {
    mesh.apply(&policy(
        "{loadBalancer: {localityLbSetting: {distribute: [\
         {from: eu/a/*, to: {\"eu/b/*\": 80, \"us/a/*\": 20}}]}}, \
         outlierDetection: {consecutive5xxErrors: 2, interval: 1s}}",
    ))?;
    in_force("no request to the nearest", || {
        assert::only(&send(mesh, 30)?, &["region", "abroad"])
    })?;
    let report = send(mesh, 400)?;
    assert::weights(&report, &[("region", 80.0), ("abroad", 20.0)])
}
