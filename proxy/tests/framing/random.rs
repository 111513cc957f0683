//! The property over random sequences.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::check::{Fault, Rule};
use super::contender::{Contender, Ports};
use super::generate;
use super::lane::Lane;
use super::script::Script;
use super::shrink;

/// Sequences unless `WEFT_FRAMING_SEQUENCES` says otherwise.
const SEQUENCES: u64 = 10_000;

/// Sequences at the same time, each with an origin of its own.
const LANES: usize = 24;

/// No further sequence is begun after so many failures.
const FAILURES_MAX: usize = 40;

/// How many kinds of failure are reported.
const KINDS_MAX: usize = 12;

/// How long a failing sequence is made simpler.
const SHRINK_TIME: Duration = Duration::from_secs(20);

/// How often a simpler sequence is played until it counts as one that holds.
const SHRINK_PLAYS: usize = 2;

struct Failure {
    seed: u64,
    script: Script,
    faults: Vec<Fault>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn framing_holds_in_random_sequences() {
    let number = |name| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse().expect("a number"))
    };
    let seed: Option<u64> = number("WEFT_FRAMING_SEED");
    let sequences = number("WEFT_FRAMING_SEQUENCES");
    let sequences = sequences.unwrap_or(if seed.is_some() { 1 } else { SEQUENCES });
    let (lanes, mut contender) = start(LANES).await;
    let begun = Instant::now();
    let failures = play_all(&lanes, contender.ports, seed.unwrap_or(0), sequences).await;
    contender.assert_running();
    println!(
        "framing: sequences took {:?}, {} failed",
        begun.elapsed(),
        failures.len()
    );
    if failures.is_empty() {
        return;
    }
    let mut report = String::new();
    for (kind, failure) in by_kind(failures).into_iter().take(KINDS_MAX) {
        report += &describe(&kind, failure, &lanes[0], contender.ports).await;
    }
    panic!("framing does not hold:\n{report}");
}

/// A proxy with this many lanes.
pub(super) async fn start(lanes: usize) -> (Vec<Lane>, Contender) {
    let lanes = join_all((0..lanes).map(Lane::start)).await;
    let contender = Contender::start(&lanes).await;
    (lanes, contender)
}

async fn play_all(lanes: &[Lane], ports: Ports, first: u64, sequences: u64) -> Vec<Failure> {
    let next = AtomicU64::new(0);
    let failed = Arc::new(AtomicUsize::new(0));
    let lane = async |lane: &Lane| {
        let mut failures = Vec::new();
        while failed.load(Ordering::Relaxed) < FAILURES_MAX {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= sequences {
                break;
            }
            let seed = first.wrapping_add(index);
            let script = generate::script(seed);
            let faults = lane.play(ports, &script).await;
            if !faults.is_empty() {
                failed.fetch_add(1, Ordering::Relaxed);
                failures.push(Failure {
                    seed,
                    script,
                    faults,
                });
            }
        }
        failures
    };
    join_all(lanes.iter().map(lane))
        .await
        .into_iter()
        .flatten()
        .collect()
}

/// The shortest failure of each kind.
fn by_kind(failures: Vec<Failure>) -> BTreeMap<(Rule, String), Failure> {
    let mut shortest = BTreeMap::<_, Failure>::new();
    for failure in failures {
        let kind = failure.faults[0].kind();
        let length = failure.script.exchanges().count();
        match shortest.get(&kind) {
            Some(known) if known.script.exchanges().count() <= length => {}
            _ => drop(shortest.insert(kind, failure)),
        }
    }
    shortest
}

async fn describe(kind: &(Rule, String), failure: Failure, lane: &Lane, ports: Ports) -> String {
    let (script, faults) = simplest(kind, &failure, lane, ports).await;
    let mut text = format!("\nWEFT_FRAMING_SEED={}\n{}", failure.seed, failure.script);
    for fault in &failure.faults {
        text += &format!("  ! {fault}\n");
    }
    text += &format!("made simpler:\n{script}");
    for fault in &faults {
        text += &format!("  ! {fault}\n");
    }
    text
}

/// The simplest script found that breaks the same rule in the same way.
async fn simplest(
    kind: &(Rule, String),
    failure: &Failure,
    lane: &Lane,
    ports: Ports,
) -> (Script, Vec<Fault>) {
    let start = Instant::now();
    let mut best = (failure.script.clone(), failure.faults.clone());
    'again: loop {
        for script in shrink::simpler(&best.0) {
            for _ in 0..SHRINK_PLAYS {
                if start.elapsed() > SHRINK_TIME {
                    return best;
                }
                let faults = lane.play(ports, &script).await;
                if faults.iter().any(|fault| fault.kind() == *kind) {
                    best = (script, faults);
                    continue 'again;
                }
            }
        }
        return best;
    }
}
