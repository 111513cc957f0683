//! Case 13: what the mesh tells about its traffic.

use anyhow::{Context, Result, ensure};
use regex::Regex;

use super::{Step, in_force, take_steps};
use crate::{
    assert::{self, metric},
    mesh::Mesh,
    traffic::Answer,
};

const CLIENT: &str = "apps/client";
const ECHO: &str = "http://echo:8080";

/// Labels with their values.
type Labels<'a> = &'a [(&'a str, &'a str)];

/// What Istio's request metrics are labelled with.
const REQUEST_LABELS: [&str; 24] = [
    "reporter",
    "source_workload",
    "source_workload_namespace",
    "source_principal",
    "source_app",
    "source_version",
    "source_canonical_service",
    "source_canonical_revision",
    "source_cluster",
    "destination_workload",
    "destination_workload_namespace",
    "destination_principal",
    "destination_app",
    "destination_version",
    "destination_service",
    "destination_service_name",
    "destination_service_namespace",
    "destination_canonical_service",
    "destination_canonical_revision",
    "destination_cluster",
    "request_protocol",
    "response_code",
    "response_flags",
    "connection_security_policy",
];

pub(super) fn run(mesh: &mut Mesh) -> Result<()> {
    let steps: &[Step] = &[
        ("request metrics", request_metrics),
        ("tcp metrics", tcp_metrics),
        ("merged metrics", merged),
        ("access logs", access_logs),
        ("headers", headers),
    ];
    take_steps(mesh, steps)
}

fn scrape(mesh: &Mesh, pod: &str, port: u16) -> Result<String> {
    let url = format!("http://127.0.0.1:{port}/stats/prometheus");
    let report = mesh.from(pod, &url)?.send()?;
    assert::all(&report, "200")?;
    Ok(report.first()?.body.clone())
}

fn request_metrics(mesh: &mut Mesh) -> Result<()> {
    let report = mesh
        .from(CLIENT, &format!("{ECHO}/?status=418"))?
        .count(30)
        .send()?;
    assert::all(&report, "418")?;
    let sides: [(&str, &str, Labels<'_>); 2] = [
        (CLIENT, "source", &[]),
        (
            "apps/echo-v1",
            "destination",
            &[
                ("connection_security_policy", "mutual_tls"),
                (
                    "source_principal",
                    "spiffe://cluster.local/ns/apps/sa/client",
                ),
                (
                    "destination_principal",
                    "spiffe://cluster.local/ns/apps/sa/echo",
                ),
                ("destination_workload", "echo-v1"),
                ("destination_version", "v1"),
            ],
        ),
    ];
    for (pod, reporter, own) in sides {
        let mut labels = vec![
            ("reporter", reporter),
            ("source_workload", "client"),
            ("source_workload_namespace", "apps"),
            ("source_app", "client"),
            ("source_canonical_service", "client"),
            ("destination_workload_namespace", "apps"),
            ("destination_app", "echo"),
            ("destination_service", "echo.apps.svc.cluster.local"),
            ("destination_service_name", "echo"),
            ("destination_service_namespace", "apps"),
            ("destination_canonical_service", "echo"),
            ("request_protocol", "http"),
            ("response_code", "418"),
            ("response_flags", "-"),
        ];
        labels.extend_from_slice(own);
        in_force("the request counter", || {
            let text = scrape(mesh, pod, 15090)?;
            let count = metric(&text, "istio_requests_total", &labels)?;
            ensure!(count >= 1.0, "{count}");
            for name in [
                "istio_request_duration_milliseconds",
                "istio_request_bytes",
                "istio_response_bytes",
            ] {
                metric(&text, &format!("{name}_count"), &labels)?;
                metric(&text, &format!("{name}_sum"), &labels)?;
                let mut bucket = labels.clone();
                bucket.push(("le", "+Inf"));
                metric(&text, &format!("{name}_bucket"), &bucket)?;
            }
            all_labels(&text, "istio_requests_total{")
        })?;
    }
    Ok(())
}

/// Every standard label is there, whatever its value.
fn all_labels(text: &str, series: &str) -> Result<()> {
    let line = text
        .lines()
        .find(|line| line.starts_with(series))
        .context("no series")?;
    for label in REQUEST_LABELS {
        let is_there =
            line.contains(&format!("{{{label}=\"")) || line.contains(&format!(",{label}=\""));
        ensure!(is_there, "label {label} is missing in {line}");
    }
    Ok(())
}

fn tcp_metrics(mesh: &mut Mesh) -> Result<()> {
    let report = mesh.tcp_from(CLIENT, "echo:9000")?.count(30).send()?;
    assert::all(&report, "ok")?;
    // TCP carries no metadata of the peer: at the destination the source is known by its certificate alone.
    for (pod, reporter, source) in [
        (CLIENT, "source", ("source_workload", "client")),
        (
            "apps/echo-v1",
            "destination",
            (
                "source_principal",
                "spiffe://cluster.local/ns/apps/sa/client",
            ),
        ),
    ] {
        let labels = [
            ("reporter", reporter),
            ("source_workload_namespace", "apps"),
            source,
            ("destination_service_name", "echo"),
            ("request_protocol", "tcp"),
        ];
        in_force("the TCP counters", || {
            let text = scrape(mesh, pod, 15090)?;
            for name in ["opened", "closed"] {
                let count = metric(
                    &text,
                    &format!("istio_tcp_connections_{name}_total"),
                    &labels,
                )?;
                ensure!(count >= 1.0, "{name}: {count}");
            }
            for name in ["sent", "received"] {
                // Each connection carried "hello" and a line's end in both directions.
                let bytes = metric(&text, &format!("istio_tcp_{name}_bytes_total"), &labels)?;
                ensure!(bytes >= 6.0, "{name}: {bytes} bytes");
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// The agent's port has the proxy's metrics and the application's own.
fn merged(mesh: &mut Mesh) -> Result<()> {
    let text = scrape(mesh, "apps/echo-v1", 15020)?;
    metric(&text, "testapp_requests_total", &[("version", "v1")])?;
    metric(
        &text,
        "istio_requests_total",
        &[("reporter", "destination")],
    )
    .map(drop)
}

/// The mesh's own settings with another encoding of access logs.
const JSON_LOG: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    accessLogEncoding: JSON
    defaultConfig: {proxyMetadata: {SECRET_TTL: 200s, ISTIO_META_HTTP10: '1'}}
";

fn access_logs(mesh: &mut Mesh) -> Result<()> {
    // Envoy's default format with Istio's additions.
    let default = Regex::new(concat!(
        r#"^\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\] "GET /logged\?n=1 HTTP/1\.1" 200 - via_upstream - "-" "#,
        r#"0 \d+ \d+ \d+ "-" "-" "[0-9a-f-]{36}" "echo:8080" "10\.244\.\d+\.\d+:8080" "#,
        r#"outbound\|8080\|\|echo\.apps\.svc\.cluster\.local 10\.244\.\d+\.\d+:\d+ 10\.96\.\d+\.\d+:8080 "#,
        r#"10\.244\.\d+\.\d+:\d+ - default$"#,
    ))?;
    // Routes of the steps before may still be on their way out.
    in_force("Envoy's default format", || {
        let report = mesh.from(CLIENT, &format!("{ECHO}/logged?n=1"))?.send()?;
        assert::all(&report, "200")?;
        let line = mesh.wait_for_log(CLIENT, "a line in the default format", |line| {
            line.contains("/logged?n=1")
        })?;
        ensure!(default.is_match(&line), "another: {line}");
        Ok(())
    })?;
    mesh.apply(JSON_LOG)?;
    in_force("the JSON format", || {
        mesh.from(CLIENT, &format!("{ECHO}/logged?n=2"))?.send()?;
        let log = mesh.proxy_log(CLIENT)?;
        let line = log
            .lines()
            .rfind(|line| line.starts_with('{') && line.contains("/logged?n=2"))
            .context("no line of JSON yet")?;
        let fields: serde_json::Value = serde_json::from_str(line)?;
        ensure!(
            fields["method"] == "GET" && fields["response_code"] == 200,
            "{fields}"
        );
        ensure!(fields["authority"] == "echo:8080", "{fields}");
        Ok(())
    })
}

fn headers(mesh: &mut Mesh) -> Result<()> {
    let kept = [
        ("x-request-id", "3a2b1c00-1111-4222-8333-444455556666"),
        ("x-b3-traceid", "463ac35c9f6413ad48485a3953bb6124"),
        ("x-b3-spanid", "a2fb4a1d1a96d312"),
        ("x-b3-sampled", "0"),
        (
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
        ),
        ("tracestate", "weft=1"),
    ];
    let mut traffic = mesh.from(CLIENT, ECHO)?;
    for (name, value) in kept {
        traffic = traffic.header(&format!("{name}: {value}"));
    }
    let received = seen(traffic.send()?.first()?)?;
    for (name, value) in kept {
        ensure!(
            received[name] == value,
            "{name} is {} at the server",
            received[name]
        );
    }
    // Without one, every request gets an id of its own.
    let report = mesh.from(CLIENT, ECHO)?.count(2).with("--keep", 2).send()?;
    let ids = report
        .answers
        .iter()
        .map(|answer| Ok(seen(answer)?["x-request-id"].to_string()));
    let ids = ids.collect::<Result<Vec<String>>>()?;
    let [one, other] = &ids[..] else {
        anyhow::bail!("{} answers", ids.len());
    };
    ensure!(
        one != other && one.len() > 30,
        "request ids are {one} and {other}"
    );
    Ok(())
}

/// The headers that the server says it got.
fn seen(answer: &Answer) -> Result<serde_json::Value> {
    Ok(answer.json()?["headers"].clone())
}
