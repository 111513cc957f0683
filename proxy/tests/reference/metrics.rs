//! `metrics.md`: the metrics of the data plane, from the cells that workers count in.

use proxy::admin::stats::PROCESS_METRICS;
use proxy::telemetry::catalogue::{Metric, catalogue};
use proxy::telemetry::request_metrics::cells::BUCKETS;

use super::page::{Page, table};

#[test]
fn the_page_lists_the_metrics_that_are_exported() {
    let all = catalogue();
    let of = |prefix: &str| {
        // RBAC filters have blocks of their own.
        let own = |metric: &&Metric| {
            metric.name.starts_with(prefix)
                && metric.name.contains("_rbac_") == prefix.contains("_rbac_")
        };
        rows(all.iter().filter(own))
    };
    let process = PROCESS_METRICS
        .iter()
        .map(|(name, meaning)| vec![format!("`{name}`"), (*meaning).to_owned()]);
    let blocks = [
        ("metrics of Istio", of("istio_")),
        ("buckets", buckets()),
        ("metrics of clusters", of("envoy_cluster_")),
        ("metrics of connection managers", of("envoy_http_")),
        ("metrics of RBAC filters", of("envoy_http_rbac_")),
        ("metrics of listeners", of("envoy_listener_")),
        ("metrics of TCP proxies", of("envoy_tcp_")),
        (
            "metrics of RBAC filters of connections",
            of("envoy_tcp_rbac_"),
        ),
        (
            "metrics of the process",
            table(&["Gauge", "Value"], process),
        ),
    ];
    Page::open("metrics.md").check(&blocks);
}

/// Series of one family that differ by the class of a response share a row.
fn rows<'a>(metrics: impl Iterator<Item = &'a Metric>) -> String {
    let mut metrics: Vec<&Metric> = metrics.collect();
    metrics.dedup_by(|b, a| a.name == b.name);
    let row = |metric: &Metric| {
        let meaning = match metric.response_class {
            Some(_) => "Responses, by `response_code_class`: `1` to `5`.",
            None => metric.meaning,
        };
        let name = format!("`{}`", metric.name);
        vec![name, metric.kind.to_owned(), meaning.to_owned()]
    };
    table(&["Metric", "Type", "Counts"], metrics.into_iter().map(row))
}

fn buckets() -> String {
    let bounds = BUCKETS.map(|bound| bound.to_string());
    format!("Buckets of the histograms: {}.\n", bounds.join(", "))
}
