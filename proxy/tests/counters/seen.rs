//! Which metrics a running proxy has shown with a value other than zero.

use std::collections::BTreeSet;

use proxy::admin::stats::PROCESS_METRICS;
use proxy::telemetry::catalogue::catalogue;

/// Names of series, with the response class where a family has one series for each.
#[derive(Default)]
pub(crate) struct Seen(BTreeSet<String>);

impl Seen {
    /// Takes in a page of `/stats/prometheus`.
    pub(crate) fn add(&mut self, page: &str) {
        for line in page.lines().filter(|line| !line.starts_with('#')) {
            let (series, value) = line.rsplit_once(' ').expect("a series and a value");
            if value != "0" {
                self.0.insert(key(series));
            }
        }
    }

    pub(crate) fn contains(&self, key: &str) -> bool {
        self.0.contains(key)
    }

    /// What was never other than zero.
    pub(crate) fn missing(&self) -> Vec<String> {
        let of_workers = catalogue().into_iter().flat_map(|metric| {
            let class = metric.response_class;
            let name = class.map_or(metric.name.clone(), |c| format!("{}{c}", metric.name));
            match metric.kind {
                "histogram" => vec![format!("{name}_count"), format!("{name}_sum")],
                _ => vec![name],
            }
        });
        let of_process = PROCESS_METRICS.iter().map(|(name, _)| (*name).to_owned());
        of_workers
            .chain(of_process)
            .filter(|name| !self.0.contains(name))
            .collect()
    }
}

fn key(series: &str) -> String {
    let (name, labels) = series.split_once('{').expect("braces");
    let class = labels.strip_prefix("response_code_class=\"");
    let class = class.and_then(|rest| rest.chars().next());
    class.map_or(name.to_owned(), |class| format!("{name}{class}"))
}
