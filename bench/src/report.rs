//! The comparison: medians over the rounds, and ratios.

use std::{collections::BTreeMap, io::Write};

use anyhow::Context;
use comfy_table::{Table, presets::ASCII_MARKDOWN};
use serde::Serialize;

use crate::args::Proxy;

/// One value of one contender in one round.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The scenario.
    pub scenario: &'static str,
    /// What was measured, with its unit.
    pub metric: &'static str,
    /// Whether less is better.
    pub less_is_better: bool,
    /// Who was measured; none for the way without a proxy.
    pub proxy: Option<Proxy>,
    /// The value.
    pub value: f64,
    /// What it should be below, and what it must be below.
    pub bounds: Option<(f64, f64)>,
}

/// One row of the comparison.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    scenario: &'static str,
    metric: &'static str,
    less_is_better: bool,
    /// Medians by contender; "direct" is the way without a proxy.
    medians: BTreeMap<&'static str, f64>,
    /// Weft's median divided by Envoy's.
    ratio: Option<f64>,
    /// Weft's median divided by the floor's.
    to_floor: Option<f64>,
    /// What Weft's median should be below, and what it must be below.
    bounds: Option<(f64, f64)>,
}

/// The whole comparison.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    rows: Vec<Row>,
}

impl Report {
    /// Gathers samples into rows, in the order of their first appearance.
    pub fn new(samples: Vec<Sample>) -> Self {
        let mut rows: Vec<Row> = Vec::new();
        for sample in &samples {
            let known = rows
                .iter()
                .any(|row| (row.scenario, row.metric) == (sample.scenario, sample.metric));
            if !known {
                rows.push(Row::new(sample, &samples));
            }
        }
        Self { rows }
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
        let names = ["direct", "floor", "weft", "envoy"];
        table.set_header([
            "scenario",
            "metric",
            "direct",
            "floor",
            "weft",
            "envoy",
            "weft/envoy",
            "weft/floor",
            "",
        ]);
        for row in &self.rows {
            let mut cells = vec![row.scenario.to_owned(), row.metric.to_owned()];
            let medians =
                names.map(|name| row.medians.get(name).map_or("-".to_owned(), |v| shown(*v)));
            cells.extend(medians);
            let ratios = [row.ratio, row.to_floor];
            cells.extend(ratios.map(|r| r.map_or("-".to_owned(), |r| format!("{r:.2}"))));
            cells.push(row.verdict().to_owned());
            table.add_row(cells);
        }
        table
    }
}

impl Row {
    fn new(first: &Sample, samples: &[Sample]) -> Self {
        let mut values = BTreeMap::<&'static str, Vec<f64>>::new();
        for sample in samples {
            if (sample.scenario, sample.metric) == (first.scenario, first.metric) {
                let name = sample.proxy.map_or("direct", Proxy::name);
                values.entry(name).or_default().push(sample.value);
            }
        }
        let medians: BTreeMap<_, _> = values
            .into_iter()
            .map(|(name, values)| (name, median(values)))
            .collect();
        let ratio_to = |other| match (medians.get("weft"), medians.get(other)) {
            (Some(weft), Some(other)) if *other > 0.0 => Some(weft / other),
            _ => None,
        };
        let (ratio, to_floor) = (ratio_to("envoy"), ratio_to("floor"));
        Self {
            scenario: first.scenario,
            metric: first.metric,
            less_is_better: first.less_is_better,
            medians,
            ratio,
            to_floor,
            bounds: first.bounds,
        }
    }

    fn verdict(&self) -> &'static str {
        if let (Some((aim, limit)), Some(value)) = (self.bounds, self.medians.get("weft")) {
            return match *value {
                value if value < aim => "good",
                value if value < limit => "above the aim",
                _ => "too slow",
            };
        }
        match self.ratio {
            Some(ratio) if (ratio <= 1.0) == self.less_is_better => "better",
            Some(_) => "worse",
            None => "",
        }
    }
}

/// The middle value.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    }
}

/// With as many digits as say something.
pub(crate) fn shown(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(proxy: Option<Proxy>, value: f64) -> Sample {
        Sample {
            scenario: "A",
            metric: "CPU \u{b5}s/request",
            less_is_better: true,
            proxy,
            value,
            bounds: None,
        }
    }

    #[test]
    fn a_bound_is_judged_by_weft_alone() {
        let verdict = |value| {
            let sample = Sample {
                bounds: Some((10.0, 100.0)),
                ..sample(Some(Proxy::Weft), value)
            };
            Report::new(vec![sample]).rows[0].verdict()
        };
        let verdicts = [9.9, 10.0, 100.0].map(verdict);
        assert_eq!(verdicts, ["good", "above the aim", "too slow"]);
    }

    #[test]
    fn medians_and_ratio_come_from_all_rounds() {
        let samples = vec![
            sample(None, 1.0),
            sample(Some(Proxy::Weft), 10.0),
            sample(Some(Proxy::Envoy), 40.0),
            sample(Some(Proxy::Weft), 30.0),
            sample(Some(Proxy::Envoy), 40.0),
            sample(Some(Proxy::Floor), 8.0),
        ];
        let report = Report::new(samples);
        assert_eq!(report.rows.len(), 1);
        let row = &report.rows[0];
        let expected = [
            ("direct", 1.0),
            ("envoy", 40.0),
            ("floor", 8.0),
            ("weft", 20.0),
        ]
        .into();
        assert_eq!(
            (&row.medians, row.ratio, row.to_floor, row.verdict()),
            (&expected, Some(0.5), Some(2.5), "better")
        );
    }
}
