//! Reviews: whether discovery, signing and readiness go on while the webhooks get the most expensive objects.
//!
//! `meshd` has one core. Several callers send it what costs most, as fast as responses come, while one asks for a
//! stream's first response, a certificate and the readiness in turn. A response should take less than 10 ms beyond
//! which people notice, and must take less than 100 ms.

mod meshd;
mod worst;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use bytes::Bytes;
use hdrhistogram::Histogram;

use super::Turn;
use meshd::{Meshd, Probe};

const NAME: &str = "reviews";
/// Callers of the webhooks.
const CALLERS: usize = 8;
/// The pause between questions, of each kind.
const PAUSE: Duration = Duration::from_millis(5);
/// Milliseconds that a response should take less than, and must.
const BOUNDS_MS: (f64, f64) = (10.0, 100.0);
/// The loads' own threads stand behind the one that measures, on the same core.
const NICENESS: i32 = 19;

pub(super) fn measure(turn: &mut Turn<'_>) -> anyhow::Result<()> {
    let meshd = Arc::new(Meshd::start(turn.args, turn.dir)?);
    let (end, reviewed) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let worst = Arc::new(worst::reviews());
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let (meshd, worst) = (meshd.clone(), worst.clone());
            let (end, reviewed) = (end.clone(), reviewed.clone());
            thread::spawn(move || send(&meshd, worst.iter().cycle().skip(caller), &end, &reviewed))
        })
        .collect();
    let asked = ask(&meshd, turn.args.length());
    end.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.join().expect("a caller does not panic")?;
    }
    for (metrics, latencies) in asked? {
        let at = |nanoseconds: u64| nanoseconds as f64 / 1e6;
        turn.bounded(
            NAME,
            metrics[0],
            at(latencies.value_at_quantile(0.5)),
            BOUNDS_MS,
        );
        turn.bounded(
            NAME,
            metrics[1],
            at(latencies.value_at_quantile(0.99)),
            BOUNDS_MS,
        );
        turn.bounded(NAME, metrics[2], at(latencies.max()), BOUNDS_MS);
    }
    let reviewed = reviewed.load(Ordering::Relaxed) as f64;
    ensure!(reviewed > 0.0, "no review was answered or refused");
    turn.more(
        NAME,
        "reviews/s meanwhile",
        reviewed / turn.args.length().as_secs_f64(),
    );
    Ok(())
}

/// Sends the worst objects by turns, each caller from another one on.
fn send<'a>(
    meshd: &Meshd,
    worst: impl Iterator<Item = &'a (&'static str, Bytes)>,
    end: &AtomicBool,
    sent: &AtomicU64,
) -> anyhow::Result<()> {
    let _ = rustix::process::setpriority_process(None, NICENESS);
    for (path, body) in worst {
        if end.load(Ordering::Relaxed) {
            break;
        }
        // Answered, refused, or refused for lack of a place: each is a way to go on.
        let status = runtime()?.block_on(meshd.review(path, body.clone()))?;
        ensure!(
            matches!(status, 200 | 413 | 503 | 504),
            "{path}: status {status}"
        );
        sent.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

type Latencies = ([&'static str; 3], Histogram<u64>);

fn ask(meshd: &Meshd, length: Duration) -> anyhow::Result<Vec<Latencies>> {
    let runtime = runtime()?;
    let mut asked = Vec::new();
    for (probe, metrics) in [
        (
            Probe::Discovery,
            ["discovery p50 ms", "discovery p99 ms", "discovery max ms"],
        ),
        (
            Probe::Signing,
            ["signing p50 ms", "signing p99 ms", "signing max ms"],
        ),
        (
            Probe::Readiness,
            ["readiness p50 ms", "readiness p99 ms", "readiness max ms"],
        ),
    ] {
        let latencies = Histogram::<u64>::new_with_max(60_000_000_000, 3)?;
        asked.push((probe, (metrics, latencies)));
    }
    runtime.block_on(async {
        let mut connection = meshd.connect().await?;
        let start = Instant::now();
        while start.elapsed() < length {
            for (probe, (_, latencies)) in &mut asked {
                let begun = Instant::now();
                let answered = connection.ask(*probe).await;
                answered.with_context(|| format!("{probe:?}"))?;
                latencies.saturating_record(begun.elapsed().as_nanos() as u64);
            }
            tokio::time::sleep(PAUSE).await;
        }
        anyhow::Ok(())
    })?;
    Ok(asked.into_iter().map(|(_, latencies)| latencies).collect())
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    Ok(builder.enable_all().build()?)
}
