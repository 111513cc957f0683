//! The table: what was measured at each size, the budget, the verdict, and the growth from size to size.

use std::{collections::BTreeMap, io::Write as _};

use anyhow::Context;
use comfy_table::{Table, presets::ASCII_MARKDOWN};
use serde::Serialize;

use super::args::Size;
use crate::report::{median, shown};

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Metric {
    /// Until all sidecars have all that they ask for.
    ConfiguredTime,
    /// What that costs.
    ConfiguredCpu,
    /// With all of them connected.
    Memory,
    /// From the write of an endpoint to half of the sidecars.
    EndpointHalf,
    /// To the last one.
    EndpointLast,
    /// What that costs.
    EndpointCpu,
    /// What each sidecar receives.
    EndpointBytes,
    /// From the write of a route to half of the sidecars.
    RouteHalf,
    /// To the last one.
    RouteLast,
    /// What that costs.
    RouteCpu,
    /// What each sidecar receives.
    RouteBytes,
    /// Until all is read, and all statuses are written, before the first sidecar comes.
    StartCpu,
    /// While nothing changes.
    IdleCpu,
}

impl Metric {
    const ALL: [Self; 13] = [
        Self::ConfiguredTime,
        Self::ConfiguredCpu,
        Self::Memory,
        Self::EndpointHalf,
        Self::EndpointLast,
        Self::EndpointCpu,
        Self::EndpointBytes,
        Self::RouteHalf,
        Self::RouteLast,
        Self::RouteCpu,
        Self::RouteBytes,
        Self::StartCpu,
        Self::IdleCpu,
    ];

    /// What it is called, and what it may be: at every size up to 1,000 services with 1,000 sidecars, or 4,000 with
    /// 100. A change must not cost more in a larger mesh.
    fn named(self) -> (&'static str, Option<f64>) {
        match self {
            Self::ConfiguredTime => ("all proxies configured, s", Some(8.0)),
            Self::ConfiguredCpu => ("the same, CPU s", Some(5.0)),
            Self::Memory => ("memory with them connected, MiB", Some(250.0)),
            Self::EndpointHalf => ("one endpoint added, half of the proxies, ms", Some(25.0)),
            Self::EndpointLast => ("the same, the last proxy, ms", Some(60.0)),
            Self::EndpointCpu => ("the same, CPU ms", Some(35.0)),
            Self::EndpointBytes => ("the same, bytes to each proxy", None),
            Self::RouteHalf => ("one route changed, half of the proxies, ms", Some(60.0)),
            Self::RouteLast => ("the same, the last proxy, ms", Some(150.0)),
            Self::RouteCpu => ("the same, CPU ms", Some(100.0)),
            Self::RouteBytes => ("the same, bytes to each proxy", Some(4096.0)),
            Self::StartCpu => ("start without proxies, CPU s", Some(1.5)),
            Self::IdleCpu => ("idle CPU, % of a core", Some(0.2)),
        }
    }
}

/// What was measured at one size.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    size: Size,
    values: BTreeMap<Metric, Vec<f64>>,
}

impl Figures {
    /// No figures yet.
    pub fn new(size: Size) -> Self {
        let values = BTreeMap::new();
        Self { size, values }
    }

    /// Adds a value; of several, the median counts.
    pub fn set(&mut self, metric: Metric, value: f64) {
        self.values.entry(metric).or_default().push(value);
    }

    fn median(&self, metric: Metric) -> Option<f64> {
        self.values.get(&metric).cloned().map(median)
    }
}

/// All sizes together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// `SERVICES / PROXIES`, in the order of the values.
    sizes: Vec<String>,
    rows: Vec<Row>,
}

/// One metric.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Row {
    metric: &'static str,
    values: Vec<Option<f64>>,
    budget: Option<f64>,
    /// The sizes at which it is above the budget.
    missed: Vec<String>,
    /// How many times the value of the smallest mesh the larger ones with as many proxies have.
    growth: Vec<f64>,
}

impl Report {
    /// The report of what was measured.
    pub fn new(figures: &[Figures]) -> Self {
        let rows = Metric::ALL.map(|metric| Row::new(metric, figures));
        Self {
            sizes: figures.iter().map(|one| one.size.to_string()).collect(),
            rows: rows.to_vec(),
        }
    }

    /// Whether every budget is met at every size.
    pub fn is_met(&self) -> bool {
        self.rows.iter().all(|row| row.missed.is_empty())
    }

    /// Prints a table, or JSON.
    pub fn print(&self, json: bool) -> anyhow::Result<()> {
        let text = match json {
            true => serde_json::to_string_pretty(self)?,
            false => self.table().to_string(),
        };
        writeln!(std::io::stdout(), "{text}").context("cannot print the report")
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(ASCII_MARKDOWN);
        let sizes = self.sizes.iter().map(String::as_str);
        let after = ["budget", "verdict", "growth"];
        table.set_header(["services / proxies"].into_iter().chain(sizes).chain(after));
        for row in &self.rows {
            table.add_row(row.cells());
        }
        table
    }
}

impl Row {
    fn new(metric: Metric, figures: &[Figures]) -> Self {
        let (name, budget) = metric.named();
        let values: Vec<_> = figures.iter().map(|one| one.median(metric)).collect();
        let is_missed = |value: &Option<f64>| match (value, budget) {
            (Some(value), Some(budget)) => *value > budget,
            _ => false,
        };
        let missed = figures
            .iter()
            .zip(&values)
            .filter(|(_, value)| is_missed(value));
        Self {
            metric: name,
            missed: missed.map(|(one, _)| one.size.to_string()).collect(),
            growth: growth(figures, &values),
            values,
            budget,
        }
    }

    fn cells(&self) -> Vec<String> {
        let or_dash = |value: &Option<f64>| value.map_or("-".to_owned(), shown);
        let verdict = match (self.budget, self.missed.as_slice()) {
            _ if self.values.iter().all(Option::is_none) => String::new(),
            (None, _) => String::new(),
            (Some(_), []) => "met".to_owned(),
            (Some(_), missed) => format!("missed at {}", missed.join(", ")),
        };
        let growth: Vec<_> = self
            .growth
            .iter()
            .map(|times| format!("{times:.1}"))
            .collect();
        let mut cells = vec![self.metric.to_owned()];
        cells.extend(self.values.iter().map(or_dash));
        cells.push(or_dash(&self.budget));
        cells.push(verdict);
        cells.push(match growth.is_empty() {
            true => "-".to_owned(),
            false => format!("\u{d7} {}", growth.join(", ")),
        });
        cells
    }
}

/// The larger meshes' values as multiples of the first one's, where the number of proxies is the same.
fn growth(figures: &[Figures], values: &[Option<f64>]) -> Vec<f64> {
    let mut sizes = figures.iter().map(|one| one.size).zip(values);
    let Some((first, Some(base))) = sizes.next() else {
        return Vec::new();
    };
    let alike = sizes.filter(|(size, _)| size.proxies == first.proxies && *base > 0.0);
    alike
        .filter_map(|(_, value)| Some((*value)? / base))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control_plane::args::Pods;

    fn figures(services: u32, proxies: u32, bytes: &[f64]) -> Figures {
        let mut figures = Figures::new(Size {
            services,
            endpoints: 10,
            proxies,
            pods: Pods::Proxies,
        });
        for value in bytes {
            figures.set(Metric::RouteBytes, *value);
        }
        figures
    }

    #[test]
    fn a_row_has_medians_verdict_and_growth() {
        let all = [
            figures(100, 100, &[1000.0, 9000.0, 2000.0]),
            figures(1000, 100, &[5000.0]),
            figures(4000, 100, &[]),
            figures(1000, 1000, &[4096.0]),
        ];
        let report = Report::new(&all);
        let row = report.rows.iter().find(|row| row.budget == Some(4096.0));
        let expected = [
            "the same, bytes to each proxy",
            "2000",
            "5000",
            "-",
            "4096",
            "4096",
            "missed at 1000 / 100",
            "\u{d7} 2.5",
        ];
        assert_eq!(row.unwrap().cells(), expected);
        let unmeasured = report.rows.iter().find(|row| row.budget == Some(250.0));
        assert_eq!(unmeasured.unwrap().cells()[6], "");
        assert!(!report.is_met());
        assert!(Report::new(&all[2..]).is_met());
    }
}
