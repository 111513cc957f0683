//! Every metric that workers count, with its meaning: what the reference lists and what a test drives with traffic.

use super::prometheus::{REQUEST_COUNTERS, REQUEST_HISTOGRAMS, SCOPES, family};
use super::request_metrics;
use super::stats::{Cells, ClusterCells, HttpCells, ListenerCells, RbacCells, TcpCells};

/// A metric as it is exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metric {
    /// The family's name.
    pub name: String,
    /// The response class of one series of the family.
    pub response_class: Option<char>,
    /// The label by which scopes differ; empty for Istio's metrics, which have many.
    pub label: &'static str,
    /// `counter`, `gauge` or `histogram`, as Prometheus names them.
    pub kind: &'static str,
    /// What it counts.
    pub meaning: &'static str,
}

/// All metrics in the order in which they are exported.
pub fn catalogue() -> Vec<Metric> {
    let istio = |kind| {
        move |(name, meaning): (&str, &'static str)| Metric {
            name: name.to_owned(),
            response_class: None,
            label: "",
            kind,
            meaning,
        }
    };
    let counters = REQUEST_COUNTERS.into_iter().map(istio("counter"));
    let histograms = REQUEST_HISTOGRAMS.into_iter().map(istio("histogram"));
    let mut all: Vec<Metric> = counters.chain(histograms).collect();
    all.extend(scope::<request_metrics::cells::TcpCells>(("", "")));
    let [clusters, http, http_rbac, listeners, tcp, tcp_rbac] = SCOPES;
    all.extend(scope::<ClusterCells>(clusters));
    all.extend(scope::<HttpCells>(http));
    all.extend(scope::<RbacCells>(http_rbac));
    all.extend(scope::<ListenerCells>(listeners));
    all.extend(scope::<TcpCells>(tcp));
    all.extend(scope::<RbacCells>(tcp_rbac));
    all
}

fn scope<T: Cells>((prefix, label): (&'static str, &'static str)) -> impl Iterator<Item = Metric> {
    let fields = T::fields().iter().zip(T::descriptions());
    fields.map(move |((field, kind), meaning)| {
        let (name, response_class) = family(prefix, field);
        Metric {
            name,
            response_class,
            label,
            kind: kind.name(),
            meaning: meaning.trim(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_has_a_meaning() {
        let unexplained: Vec<String> = catalogue()
            .into_iter()
            .filter(|metric| !metric.meaning.ends_with('.'))
            .map(|metric| metric.name)
            .collect();
        assert_eq!(unexplained, Vec::<String>::new());
        assert_eq!(
            ClusterCells::fields().len(),
            ClusterCells::descriptions().len()
        );
    }
}
