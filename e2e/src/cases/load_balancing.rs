//! Case 9: balancers, connection limits and outlier detection, seen by which pod answers.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{ECHO_VERSION, Misbehaving, in_force};
use crate::{assert, mesh::Mesh, poll, traffic::Report};

const CLIENT: &str = "apps/client";
const ECHO: &str = "http://echo:8080";
const THIRDS: [(&str, f64); 3] = [
    ("v1", 100.0 / 3.0),
    ("v2", 100.0 / 3.0),
    ("v3", 100.0 / 3.0),
];

pub(super) fn run(mesh: &mut Mesh) -> Result<()> {
    simple(mesh)?;
    by_header(mesh).context("consistentHash by header")?;
    by_cookie(mesh).context("consistentHash by cookie")?;
    mesh.reset()?;
    circuit_breaking(mesh).context("circuit breaking")?;
    mesh.reset()?;
    outlier_detection(mesh).context("outlier detection")
}

/// A DestinationRule for echo with a traffic policy, one line of YAML.
fn policy(policy: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\n\
         metadata: {{name: echo, namespace: apps}}\n\
         spec:\n  host: echo\n  trafficPolicy: {policy}\n"
    )
}

fn simple(mesh: &mut Mesh) -> Result<()> {
    let send = |mesh: &Mesh, count: u64| -> Result<Report> {
        mesh.from(CLIENT, ECHO)?
            .count(count)
            .group_by(ECHO_VERSION)
            .send()
    };
    mesh.apply(&policy("{loadBalancer: {simple: ROUND_ROBIN}}"))?;
    in_force("ROUND_ROBIN", || {
        let report = send(mesh, 90)?;
        assert::only(&report, &["v1", "v2", "v3"])?;
        let even = report
            .groups
            .values()
            .all(|count| (29..=31).contains(count));
        ensure!(even, "not in turn: {:?}", report.groups);
        Ok(())
    })?;
    mesh.apply(&policy("{loadBalancer: {simple: RANDOM}}"))?;
    in_force("RANDOM", || {
        let report = send(mesh, 600)?;
        assert::weights(&report, &THIRDS)?;
        ensure!(
            report.groups.values().any(|count| *count != 200),
            "in turn: {:?}",
            report.groups
        );
        Ok(())
    })?;
    mesh.apply(&policy("{loadBalancer: {simple: LEAST_REQUEST}}"))?;
    in_force("LEAST_REQUEST", || slow_pod_gets_less(mesh))
}

/// One pod takes 300 ms for each request: with several in flight it is asked less than the others.
fn slow_pod_gets_less(mesh: &Mesh) -> Result<()> {
    let slow = Misbehaving::new(mesh, "apps/echo-v1", "delay=300")?;
    let report = mesh
        .from(CLIENT, ECHO)?
        .count(300)
        .concurrency(8)
        .group_by(ECHO_VERSION)
        .send()?;
    drop(slow);
    assert::only(&report, &["v1", "v2", "v3"])?;
    let of = |version: &str| report.groups[version];
    ensure!(
        of("v1") * 2 < of("v2").min(of("v3")),
        "the slow pod got its share: {:?}",
        report.groups
    );
    Ok(())
}

fn by_header(mesh: &mut Mesh) -> Result<()> {
    mesh.apply(&policy(
        "{loadBalancer: {consistentHash: {httpHeaderName: x-user}}}",
    ))?;
    in_force("the hash", || {
        let report = mesh
            .from(CLIENT, ECHO)?
            .header("x-user: probe")
            .count(30)
            .group_by(ECHO_VERSION)
            .send()?;
        assert::all(&report, "200")?;
        ensure!(report.groups.len() == 1, "{:?}", report.groups);
        Ok(())
    })?;
    let mut used = std::collections::BTreeSet::new();
    for user in 0..16 {
        let field = format!("x-user: user-{user}");
        let report = mesh
            .from(CLIENT, ECHO)?
            .header(&field)
            .count(8)
            .group_by(ECHO_VERSION)
            .send()?;
        assert::all(&report, "200")?;
        ensure!(
            report.groups.len() == 1,
            "{field} went to {:?}",
            report.groups
        );
        used.extend(report.groups.into_keys());
    }
    ensure!(used.len() == 3, "16 users went to {used:?} only");
    Ok(())
}

fn by_cookie(mesh: &mut Mesh) -> Result<()> {
    mesh.apply(&policy(
        "{loadBalancer: {consistentHash: {httpCookie: {name: lb, ttl: 60s}}}}",
    ))?;
    let given = poll::until("a cookie", poll::IN_FORCE, || {
        let report = mesh.from(CLIENT, ECHO)?.group_by(ECHO_VERSION).send()?;
        assert::all(&report, "200")?;
        let answer = report.first()?.clone();
        ensure!(
            answer.header("set-cookie").starts_with("lb="),
            "{:?}",
            answer.headers
        );
        Ok(answer)
    })?;
    let cookie = given
        .header("set-cookie")
        .split(';')
        .next()
        .unwrap_or_default()
        .to_owned();
    let report = mesh
        .from(CLIENT, ECHO)?
        .header(&format!("cookie: {cookie}"))
        .count(30)
        .group_by(ECHO_VERSION)
        .send()?;
    assert::only(&report, &[given.header("x-version")])
}

fn circuit_breaking(mesh: &mut Mesh) -> Result<()> {
    for limits in [
        "{connectionPool: {tcp: {maxConnections: 1}, http: {http1MaxPendingRequests: 1}}}",
        "{connectionPool: {http: {http2MaxRequests: 2}}}",
    ] {
        mesh.apply(&policy(limits))?;
        in_force(limits, || {
            let report = mesh
                .from(CLIENT, &format!("{ECHO}/?delay=300"))?
                .count(20)
                .concurrency(20)
                .send()?;
            let of = |status: &str| report.statuses.get(status).copied().unwrap_or(0);
            ensure!(
                of("200") >= 1 && of("503") >= 8 && of("200") + of("503") == 20,
                "{:?} {:?}",
                report.statuses,
                report.errors
            );
            let refusal = report.first_failure.as_ref().context("no refusal")?;
            ensure!(
                refusal.header("x-envoy-overloaded") == "true",
                "{:?}",
                refusal.headers
            );
            Ok(())
        })?;
        mesh.wait_for_log(CLIENT, "flag UO in the log", |line| {
            line.contains(" 503 UO ")
        })?;
        let report = mesh.from(CLIENT, ECHO)?.count(20).send()?;
        assert::all(&report, "200")?;
    }
    Ok(())
}

fn outlier_detection(mesh: &mut Mesh) -> Result<()> {
    mesh.apply(&policy(
        "{outlierDetection: {consecutive5xxErrors: 3, interval: 1s, baseEjectionTime: 3s, maxEjectionPercent: 100}}",
    ))?;
    let send = |mesh: &Mesh| -> Result<Report> {
        mesh.from(CLIENT, ECHO)?
            .count(30)
            .group_by(ECHO_VERSION)
            .send()
    };
    in_force("all three pods", || {
        assert::only(&send(mesh)?, &["v1", "v2", "v3"])
    })?;
    let failing = Misbehaving::new(mesh, "apps/echo-v2", "status=500")?;
    poll::until("the ejection of v2", Duration::from_secs(20), || {
        assert::only(&send(mesh)?, &["v1", "v3"])
    })?;
    drop(failing);
    poll::until("the return of v2", Duration::from_secs(30), || {
        assert::only(&send(mesh)?, &["v1", "v2", "v3"])
    })
}
