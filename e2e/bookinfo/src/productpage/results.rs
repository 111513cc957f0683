//! The page's own metric: how its neighbours answered.

use std::{collections::BTreeMap, fmt::Write, sync::Mutex};

use axum::http::StatusCode;

/// Answers by neighbour and status.
#[derive(Debug, Default)]
pub(super) struct Results(Mutex<BTreeMap<(&'static str, u16), u64>>);

impl Results {
    /// Counts one answer of `app`.
    pub(super) fn count(&self, app: &'static str, status: StatusCode) {
        let mut counts = self.0.lock().expect("no holder of this lock panics");
        *counts.entry((app, status.as_u16())).or_default() += 1;
    }

    /// The counts in Prometheus' text format.
    pub(super) fn render(&self) -> String {
        let mut text = String::from(
            "# HELP request_result_total Results of requests\n# TYPE request_result_total counter\n",
        );
        let counts = self.0.lock().expect("no holder of this lock panics");
        for ((app, status), count) in counts.iter() {
            let _ = writeln!(
                text,
                "request_result_total{{destination_app=\"{app}\",response_code=\"{status}\"}} {count}"
            );
        }
        text
    }
}
