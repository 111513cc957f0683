//! The oracle of the data plane: the same resources into Envoy and into this proxy, the same requests to both,
//! the same answers from both.
//!
//! `differential/bootstrap.yaml` holds the resources, `differential/rows.txt` the requests, one a line. Compared
//! are the status, the headers, the body (in which the upstream tells what it was sent, so that the upstream
//! chosen and every header edit are part of it) and the access log line with flags and details.
//!
//! The Envoy binary is named by `WEFT_ENVOY`; without it the suite fails, because it would prove
//! nothing, or is skipped by `WEFT_SKIP=envoy`.

#![allow(
    unreachable_pub,
    clippy::print_stdout,
    reason = "the modules are this test's own, and its count is for whoever reads the log"
)]

#[path = "differential/answer.rs"]
mod answer;
#[path = "differential/contender.rs"]
mod contender;
#[path = "differential/row.rs"]
mod row;
#[path = "differential/upstream.rs"]
mod upstream;

use std::io::Write;

use answer::Answer;
use contender::Contender;
use row::Row;

/// The binary to compare with; `None` if the comparison is to be skipped.
fn envoy() -> Option<String> {
    if let Ok(envoy) = std::env::var("WEFT_ENVOY") {
        return Some(envoy);
    }
    let skipped = std::env::var("WEFT_SKIP").unwrap_or_default();
    assert!(
        skipped.split(',').any(|name| name == "envoy"),
        "WEFT_ENVOY does not name Envoy's binary: \"make envoy\" installs it, and WEFT_SKIP=envoy skips this test"
    );
    // Past the harness, which shows what a test prints only when it fails.
    let _ = writeln!(
        std::io::stderr(),
        "proxy: nothing was compared with Envoy (WEFT_SKIP)"
    );
    None
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn same_resources_same_requests_same_answers() {
    let Some(envoy) = envoy() else {
        return;
    };
    let only = std::env::var("WEFT_ROWS").unwrap_or_default();
    let rows: Vec<Row> = Row::parse_all(include_str!("differential/rows.txt"))
        .into_iter()
        .filter(|row| row.text.contains(&only))
        .collect();
    let ours = env!("CARGO_BIN_EXE_weft-proxy");
    let (theirs, ours) = tokio::join!(
        answers(Contender::envoy(&envoy), &rows),
        answers(Contender::weft(ours), &rows)
    );
    let (mut wrong, mut known) = (Vec::new(), 0);
    for ((row, theirs), ours) in rows.iter().zip(&theirs).zip(&ours) {
        let differences = theirs.differences(ours);
        let row_text = format!("row {} `{}`", row.number, row.text);
        match (&row.differs, differences.is_empty()) {
            (None, true) => {}
            (Some(_), false) => known += 1,
            (None, false) => wrong.push(format!("{row_text}\n{}", differences.join("\n"))),
            (Some(_), true) => wrong.push(format!(
                "{row_text}\n  is answered alike now: take its `differs` away"
            )),
        }
    }
    println!(
        "differential: {} requests, {known} known to differ, {} wrong",
        rows.len(),
        wrong.len()
    );
    assert!(
        wrong.is_empty(),
        "{} of {} rows are wrong:\n\n{}",
        wrong.len(),
        rows.len(),
        wrong.join("\n\n")
    );
}

/// Starts a contender with upstreams of its own, sends it all rows in order, and reads its access log.
async fn answers(contender: Contender, rows: &[Row]) -> Vec<Answer> {
    let running = contender.start().await;
    let mut answers = Vec::with_capacity(rows.len());
    for row in rows {
        answers.push(row.send(running.http_port).await);
    }
    let logged = rows.iter().zip(&answers);
    let logged = logged.filter(|(row, answer)| row.is_logged(answer));
    let logged: Vec<String> = logged.map(|(row, _)| row.id()).collect();
    let mut lines = running.access_log(&logged).await;
    for (row, answer) in rows.iter().zip(&mut answers) {
        if row.is_logged(answer) {
            answer.log = lines.remove(&row.id());
        }
    }
    answers
}
