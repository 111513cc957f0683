//! What came back.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Failure, Group, Tally};

/// Different error texts that are kept apart.
const ERRORS_MAX: usize = 20;

/// One answer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The HTTP or gRPC status, or "ok" for TCP.
    pub status: String,
    /// The protocol version of the answer.
    pub protocol: String,
    /// Response headers; several values of one name are joined by commas.
    pub headers: BTreeMap<String, String>,
    /// The first part of the body, as text.
    pub body: String,
    /// The length of the whole body.
    pub body_bytes: u64,
    /// Response trailers.
    pub trailers: BTreeMap<String, String>,
    /// Statuses of the informational answers before.
    pub informational: Vec<u16>,
    /// Messages on the stream.
    pub messages: u64,
    /// The time it took.
    pub latency_us: u64,
}

/// A whole run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Exchanges that were begun.
    pub sent: u64,
    /// Exchanges that got an answer.
    pub answered: u64,
    /// Failures by text.
    pub errors: Tally,
    /// Answers by status.
    pub statuses: Tally,
    /// Answers by what `--group-by` names.
    pub groups: Tally,
    /// Bytes of all bodies received.
    pub body_bytes: u64,
    /// Latencies of the answers.
    pub latency_us: Latency,
    /// How long the run took.
    pub elapsed_ms: u64,
    /// The first answers in full.
    pub answers: Vec<Answer>,
    /// The first answer that was not a success, in full.
    pub first_failure: Option<Answer>,
}

/// Latencies in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    /// The shortest.
    pub min: u64,
    /// Half were no longer.
    pub p50: u64,
    /// 90 % were no longer.
    pub p90: u64,
    /// 99 % were no longer.
    pub p99: u64,
    /// The longest.
    pub max: u64,
}

/// Gathers a report.
pub(super) struct Recorder {
    keep: usize,
    group_by: Option<Group>,
    report: Report,
    latencies: Vec<u64>,
}

impl Recorder {
    pub(super) fn new(keep: usize, group_by: Option<Group>) -> Self {
        Self {
            keep,
            group_by,
            report: Report::default(),
            latencies: Vec::new(),
        }
    }

    pub(super) fn record(&mut self, outcome: Result<Answer, Failure>, latency: Duration) {
        let report = &mut self.report;
        report.sent += 1;
        match outcome {
            Ok(mut answer) => {
                answer.latency_us = latency.as_micros() as u64;
                self.latencies.push(answer.latency_us);
                report.answered += 1;
                report.body_bytes += answer.body_bytes;
                *report.statuses.entry(answer.status.clone()).or_default() += 1;
                if let Some(group_by) = &self.group_by {
                    *report.groups.entry(group_by.of(&answer)).or_default() += 1;
                }
                let failed =
                    !matches!(answer.status.as_bytes(), [b'2', ..] | b"0" | b"ok" | b"101");
                if failed && report.first_failure.is_none() {
                    report.first_failure = Some(answer.clone());
                }
                if report.answers.len() < self.keep {
                    report.answers.push(answer);
                }
            }
            Err(Failure(text)) => {
                let full = report.errors.len() >= ERRORS_MAX && !report.errors.contains_key(&text);
                let key = if full { "other".to_owned() } else { text };
                *report.errors.entry(key).or_default() += 1;
            }
        }
    }

    pub(super) fn into_report(mut self, elapsed: Duration) -> Report {
        self.latencies.sort_unstable();
        self.report.latency_us = Latency::of(&self.latencies);
        self.report.elapsed_ms = elapsed.as_millis() as u64;
        self.report
    }
}

impl Latency {
    /// The quantiles of `sorted` values.
    fn of(sorted: &[u64]) -> Self {
        let quantile = |q: f64| {
            let rank = (q * sorted.len() as f64).ceil() as usize;
            sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0)
        };
        Self {
            min: quantile(0.0),
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
            max: quantile(1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_occurred() {
        let sorted: Vec<u64> = (1..=1000).collect();
        let expected = Latency {
            min: 1,
            p50: 500,
            p90: 900,
            p99: 990,
            max: 1000,
        };
        assert_eq!(Latency::of(&sorted), expected);
        assert_eq!(Latency::of(&[]), Latency::default());
    }

    #[test]
    fn answers_and_failures_are_counted_apart() {
        let mut recorder = Recorder::new(1, Some("header:v".parse().unwrap()));
        for status in ["200", "503", "200"] {
            let answer = Answer {
                status: status.to_owned(),
                ..Answer::default()
            };
            recorder.record(Ok(answer), Duration::from_micros(5));
        }
        recorder.record(Err(Failure("timeout".to_owned())), Duration::ZERO);
        let report = recorder.into_report(Duration::from_millis(7));
        assert_eq!((report.sent, report.answered), (4, 3));
        assert_eq!(report.statuses["200"], 2);
        assert_eq!(report.errors["timeout"], 1);
        assert_eq!(report.groups["-"], 3);
        assert_eq!(report.first_failure.unwrap().status, "503");
    }
}
