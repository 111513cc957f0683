//! The numbers of all workers as Prometheus text, written by the control thread when it is asked.
//!
//! The text is written here rather than by `prometheus-client`: series come and go with the configuration, their
//! labels are text already, and the page is joined with the application's own, which OpenMetrics' closing
//! `# EOF` would not allow. Names are Envoy's, labels those of Istio's `stats_tags`.

use std::fmt::Write;
use std::sync::Arc;

use super::Registry;
use super::request_metrics::cells::{BUCKETS, HISTOGRAM_VALUES};
use super::stats::{Cells, Kind, Scopes};

/// The content type of the page.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A number that is not kept in cells, by the assembly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Number {
    /// The whole name.
    pub name: String,
    /// Labels as written, without braces.
    pub labels: String,
    /// Whether it only grows.
    pub kind: Kind,
    /// The value.
    pub value: u64,
}

/// Prefix and label of the metrics of clusters, connection managers, their RBAC filters, listeners, TCP proxies, and the
/// RBAC filters of connections.
pub(super) const SCOPES: [(&str, &str); 6] = [
    ("envoy_cluster_", "cluster_name"),
    ("envoy_http_", "http_conn_manager_prefix"),
    ("envoy_http_rbac_", "http_conn_manager_prefix"),
    ("envoy_listener_", "listener_address"),
    ("envoy_tcp_", "tcp_prefix"),
    ("envoy_tcp_rbac_", "tcp_prefix"),
];

/// The page: Istio's metrics, Envoy's, and further numbers.
pub fn render(registry: &Registry, further: &[Number]) -> String {
    let mut page = String::new();
    requests(registry, &mut page);
    connections(registry, &mut page);
    let scopes: [Vec<Row>; 6] = [
        rows(&registry.clusters),
        rows(&registry.http),
        rows(&registry.http_rbac),
        rows(&registry.listeners),
        rows(&registry.tcp),
        rows(&registry.tcp_rbac),
    ];
    for ((prefix, label), rows) in SCOPES.into_iter().zip(scopes) {
        families(prefix, label, &rows, &mut page);
    }
    let mut last = "";
    for number in further {
        if number.name != last {
            header(&number.name, number.kind, &mut page);
            last = &number.name;
        }
        line(&number.name, &number.labels, number.value, &mut page);
    }
    page
}

/// Appends a label value with Prometheus' escapes.
pub(super) fn escape(value: &str, out: &mut String) {
    for character in value.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            other => out.push(other),
        }
    }
}

/// A scope's name with its values and their names.
struct Row {
    scope: Arc<str>,
    values: Vec<(&'static str, Kind, u64)>,
}

fn rows<T: Cells>(scopes: &Scopes<T>) -> Vec<Row> {
    let sums = scopes.sums().into_iter();
    sums.map(|(scope, values)| {
        let fields = T::fields().iter().zip(values);
        Row {
            scope,
            values: fields
                .map(|((name, kind), value)| (*name, *kind, value))
                .collect(),
        }
    })
    .collect()
}

/// All scopes of one kind, family by family. Counters by response class share one family (`..._xx`).
fn families(prefix: &str, label: &str, rows: &[Row], page: &mut String) {
    let Some(first) = rows.first() else {
        return;
    };
    let mut last_class_family = String::new();
    for (column, (field, kind, _)) in first.values.iter().enumerate() {
        let (name, class) = family(prefix, field);
        if class.is_none() || last_class_family != name {
            header(&name, *kind, page);
        }
        if class.is_some() {
            last_class_family.clone_from(&name);
        }
        for row in rows {
            let mut labels = match class {
                Some(class) => format!("response_code_class=\"{class}\","),
                None => String::new(),
            };
            let _ = write!(labels, "{label}=\"");
            escape(&row.scope, &mut labels);
            labels.push('"');
            line(&name, &labels, row.values[column].2, page);
        }
    }
}

/// The family of a field, and its response class.
pub(super) fn family(prefix: &str, field: &str) -> (String, Option<char>) {
    match response_class(field) {
        Some((base, class)) => (format!("{prefix}{base}_xx"), Some(class)),
        None => (format!("{prefix}{field}"), None),
    }
}

/// `upstream_rq_5xx` is class 5 of `upstream_rq`.
fn response_class(field: &str) -> Option<(&str, char)> {
    let (base, class) = field.strip_suffix("xx")?.rsplit_once('_')?;
    Some((base, class.chars().next()?))
}

/// Names and meanings, in the order of the cells.
pub(super) const REQUEST_COUNTERS: [(&str, &str); 3] = [
    ("istio_requests_total", "Requests, when they are over."),
    (
        "istio_request_messages_total",
        "gRPC messages of requests (series with `request_protocol=\"grpc\"`).",
    ),
    (
        "istio_response_messages_total",
        "gRPC messages of responses (series with `request_protocol=\"grpc\"`).",
    ),
];

/// As above.
pub(super) const REQUEST_HISTOGRAMS: [(&str, &str); 3] = [
    (
        "istio_request_duration_milliseconds",
        "Time from the first byte of a request to the end of its response.",
    ),
    ("istio_request_bytes", "Body bytes of requests."),
    ("istio_response_bytes", "Body bytes of responses."),
];

fn requests(registry: &Registry, page: &mut String) {
    let sums = registry.requests.sums();
    if sums.is_empty() {
        return;
    }
    for (at, (name, _)) in REQUEST_COUNTERS.into_iter().enumerate() {
        header(name, Kind::Counter, page);
        let grpc_only = at > 0;
        for (labels, values) in &sums {
            if !grpc_only || labels.contains("request_protocol=\"grpc\"") {
                line(name, labels, values[at], page);
            }
        }
    }
    for (n, (name, _)) in REQUEST_HISTOGRAMS.into_iter().enumerate() {
        // Writing to a string cannot fail.
        let _ = writeln!(page, "# TYPE {name} histogram");
        let start = REQUEST_COUNTERS.len() + n * HISTOGRAM_VALUES;
        for (labels, values) in &sums {
            histogram(name, labels, &values[start..start + HISTOGRAM_VALUES], page);
        }
    }
}

fn histogram(name: &str, labels: &str, values: &[u64], page: &mut String) {
    let mut count = 0;
    for (bound, value) in BUCKETS.iter().zip(values) {
        count += value;
        let _ = writeln!(page, "{name}_bucket{{{labels},le=\"{bound}\"}} {count}");
    }
    count += values[BUCKETS.len()];
    let _ = writeln!(page, "{name}_bucket{{{labels},le=\"+Inf\"}} {count}");
    let _ = writeln!(page, "{name}_sum{{{labels}}} {}", values[BUCKETS.len() + 1]);
    let _ = writeln!(page, "{name}_count{{{labels}}} {count}");
}

fn connections(registry: &Registry, page: &mut String) {
    let sums = registry.connections.sums();
    if sums.is_empty() {
        return;
    }
    let fields = super::request_metrics::cells::TcpCells::fields();
    for (column, (name, kind)) in fields.iter().enumerate() {
        header(name, *kind, page);
        for (labels, values) in &sums {
            line(name, labels, values[column], page);
        }
    }
}

fn header(name: &str, kind: Kind, page: &mut String) {
    let _ = writeln!(page, "# TYPE {name} {}", kind.name());
}

fn line(name: &str, labels: &str, value: u64, page: &mut String) {
    let _ = match labels {
        "" => writeln!(page, "{name}{{}} {value}"),
        labels => writeln!(page, "{name}{{{labels}}} {value}"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_are_families_of_their_names() {
        let registry = Registry::default();
        let cells = registry.clusters.cells(&"outbound|80||a\"b".into());
        cells.upstream_rq_total.add(3);
        cells.response(503);
        cells.response(200);
        let page = render(&registry, &[]);
        for expected in [
            "# TYPE envoy_cluster_upstream_rq_total counter\n\
             envoy_cluster_upstream_rq_total{cluster_name=\"outbound|80||a\\\"b\"} 3\n",
            "# TYPE envoy_cluster_upstream_rq_xx counter\n\
             envoy_cluster_upstream_rq_xx{response_code_class=\"1\",cluster_name=\"outbound|80||a\\\"b\"} 0\n",
            "envoy_cluster_upstream_rq_xx{response_code_class=\"5\",cluster_name=\"outbound|80||a\\\"b\"} 1\n",
            "# TYPE envoy_cluster_upstream_rq_active gauge\n",
        ] {
            assert!(page.contains(expected), "{expected} in {page}");
        }
        assert_eq!(
            page.matches("# TYPE envoy_cluster_upstream_rq_xx").count(),
            1
        );
    }

    #[test]
    fn further_numbers_follow() {
        let number = |name: &str, labels: &str, value| Number {
            name: name.into(),
            labels: labels.into(),
            kind: Kind::Gauge,
            value,
        };
        let page = render(
            &Registry::default(),
            &[
                number("envoy_server_live", "", 1),
                number("x", "a=\"1\"", 2),
                number("x", "a=\"2\"", 3),
            ],
        );
        assert_eq!(
            page,
            "# TYPE envoy_server_live gauge\nenvoy_server_live{} 1\n\
             # TYPE x gauge\nx{a=\"1\"} 2\nx{a=\"2\"} 3\n"
        );
    }
}
