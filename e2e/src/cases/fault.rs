//! Case 4: injected delays and aborts, route timeouts and retries.

use anyhow::{Result, ensure};

use super::{JASON, in_force, open_bookinfo};
use crate::{assert, mesh::Mesh};

const ECHO: &str = "http://echo:8080";
const CLIENT: &str = "apps/client";

const TIMEOUT: &str = r#"
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: echo-timeout, namespace: apps}
spec:
  hosts: [echo]
  http:
  - timeout: 0.5s
    route: [{destination: {host: echo, port: {number: 8080}}}]
"#;

const RETRIES: &str = r#"
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: echo-retries, namespace: apps}
spec:
  hosts: [echo]
  http:
  - match: [{uri: {prefix: /none}}]
    retries: {attempts: 0}
    route: [{destination: {host: echo, subset: v1, port: {number: 8080}}}]
  - match: [{uri: {prefix: /slow}}]
    timeout: 5s
    retries: {attempts: 2, perTryTimeout: 0.3s, retryOn: "5xx"}
    route: [{destination: {host: echo, subset: v1, port: {number: 8080}}}]
  - retries: {attempts: 3, retryOn: "500,502"}
    route: [{destination: {host: echo, subset: v1, port: {number: 8080}}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: echo-retries, namespace: apps}
spec:
  host: echo
  subsets: [{name: v1, labels: {version: v1}}]
"#;

pub(super) fn run(mesh: &mut Mesh) -> Result<()> {
    open_bookinfo(mesh)?;
    mesh.apply_bookinfo("destination-rule-all")?;
    mesh.apply_bookinfo("virtual-service-all-v1")?;
    mesh.apply_bookinfo("virtual-service-reviews-test-v2")?;
    delay(mesh)?;
    abort(mesh)?;
    details_abort(mesh)?;
    mesh.reset()?;
    timeout(mesh)?;
    mesh.reset()?;
    retries(mesh)?;
    mesh.no_rejections()
}

/// Seven seconds before ratings are more than the page waits for reviews, for jason alone.
fn delay(mesh: &mut Mesh) -> Result<()> {
    mesh.apply_bookinfo("virtual-service-ratings-test-delay")?;
    in_force("the delay for jason", || {
        let report = mesh.ingress("/productpage").header(JASON).send()?;
        let sorry = "Sorry, product reviews are currently unavailable for this book.";
        assert::contains(&report.first()?.body, sorry)
    })?;
    let report = mesh.ingress("/productpage").header(JASON).send()?;
    let waited = report.latency_us.min;
    ensure!(
        (5_900_000..6_900_000).contains(&waited),
        "the page waited {waited} \u{b5}s, not twice 3 s"
    );
    let report = mesh.ingress("/productpage").count(20).send()?;
    assert::all(&report, "200")?;
    ensure!(
        report.latency_us.max < 3_000_000,
        "others waited too: {:?}",
        report.latency_us
    );
    // A caller with more patience gets its answer, and its proxy logs why it was late.
    let patient = mesh.from(CLIENT, "http://ratings.default:9080/ratings/0")?;
    let report = patient.header("end-user: jason").send()?;
    assert::all(&report, "200")?;
    ensure!(
        report.latency_us.min >= 6_900_000,
        "the delay is not 7 s: {:?}",
        report.latency_us
    );
    logged(mesh, CLIENT, "DI")
}

fn abort(mesh: &mut Mesh) -> Result<()> {
    mesh.apply_bookinfo("virtual-service-ratings-test-abort")?;
    in_force("the abort for jason", || {
        let report = mesh.ingress("/productpage").header(JASON).send()?;
        assert::contains(
            &report.first()?.body,
            "Ratings service is currently unavailable",
        )
    })?;
    let ratings = "/api/v1/products/0/ratings";
    assert::all(
        &mesh.ingress(ratings).header(JASON).count(50).send()?,
        "500",
    )?;
    assert::all(&mesh.ingress(ratings).count(50).send()?, "200")?;
    logged(mesh, "default/productpage", "FI")
}

fn details_abort(mesh: &mut Mesh) -> Result<()> {
    mesh.apply_bookinfo("fault-injection-details-v1")?;
    in_force("the abort of details", || {
        assert::all(&mesh.ingress("/api/v1/products/0").count(10).send()?, "555")
    })?;
    let report = mesh.ingress("/productpage").send()?;
    assert::contains(&report.first()?.body, "Error fetching product details")
}

/// The proxy of `pod` has logged a request with the response flag.
fn logged(mesh: &Mesh, pod: &str, flag: &str) -> Result<()> {
    let field = format!(" {flag} ");
    mesh.wait_for_log(pod, &format!("flag {flag} in the log"), |line| {
        line.contains(&field)
    })
    .map(drop)
}

fn timeout(mesh: &mut Mesh) -> Result<()> {
    mesh.apply(TIMEOUT)?;
    let slow = format!("{ECHO}/slow?delay=3000");
    in_force("the timeout", || {
        assert::all(&mesh.from(CLIENT, &slow)?.send()?, "504")
    })?;
    let report = mesh.from(CLIENT, &slow)?.count(5).concurrency(5).send()?;
    assert::all(&report, "504")?;
    let waited = report.latency_us;
    ensure!(
        waited.min >= 450_000 && waited.max < 2_000_000,
        "the timeout is not 0.5 s: {waited:?}"
    );
    assert::contains(&report.first()?.body, "upstream request timeout")?;
    logged(mesh, CLIENT, "UT")
}

fn retries(mesh: &mut Mesh) -> Result<()> {
    mesh.apply(RETRIES)?;
    in_force("the retries", || {
        let key = unique("probe", mesh)?;
        let url = format!("{ECHO}/?key={key}&fail=2&fail-status=500");
        assert::all(&mesh.from(CLIENT, &url)?.send()?, "200")
    })?;
    // What the client sees, and how often the server was asked.
    for (path, knobs, status, asked) in [
        ("/", "fail=3&fail-status=502", "200", 4),
        ("/", "fail=9&fail-status=500", "500", 4),
        ("/", "fail=9&fail-status=503", "503", 1),
        ("/none", "fail=9&fail-status=500", "500", 1),
        ("/slow", "delay-first=2:2000", "200", 3),
        ("/slow", "delay=2000", "504", 3),
    ] {
        let key = unique(&format!("retry-{asked}-{status}"), mesh)?;
        let url = format!("{ECHO}{path}?key={key}&{knobs}");
        let report = mesh.from(CLIENT, &url)?.send()?;
        assert::all(&report, status)?;
        let counted = count_at_server(mesh, "apps/echo-v1", &key)?;
        ensure!(
            counted == asked,
            "{path}?{knobs}: the server was asked {counted} times, not {asked}"
        );
    }
    Ok(())
}

/// A key that no earlier request has used.
fn unique(prefix: &str, mesh: &Mesh) -> Result<String> {
    let file = mesh.scratch_file("")?;
    let name = file
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    Ok(format!("{prefix}-{name}"))
}

/// How often the echo server in `pod` was asked for `key`, as it tells itself.
fn count_at_server(mesh: &Mesh, pod: &str, key: &str) -> Result<u64> {
    let report = mesh.from(pod, "http://127.0.0.1:8080/counts")?.send()?;
    let counts = report.first()?.json()?;
    Ok(counts["by_key"][key].as_u64().unwrap_or(0))
}
