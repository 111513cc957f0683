//! The cost of judging an object is held against its size, in steps.

use super::*;
use std::fs;

/// Time that this thread has had a processor for, in milliseconds.
fn processor_ms() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanoseconds = text
        .split(' ')
        .next()
        .and_then(|text| text.parse::<u64>().ok());
    nanoseconds.unwrap() / 1_000_000
}

/// Prints what the largest reviews cost; `cargo test -p galley -- --ignored --nocapture time_of_the_largest`.
#[test]
#[ignore = "measures time"]
fn time_of_the_largest_reviews() {
    let filter = std::env::var("REVIEW").unwrap_or_default();
    let mut times = Vec::new();
    for review in reviews()
        .into_iter()
        .filter(|review| review.name.contains(&filter))
    {
        let body = review.review(4 << 20);
        let before = processor_ms();
        let metrics = crate::webhook::Metrics::default();
        let answer = crate::webhook::review(&body, &MeshConfig::default(), &metrics);
        let time = processor_ms() - before;
        let allowed = answer.unwrap()["response"]["allowed"].clone();
        times.push((time, review.cost(4 << 20), allowed, review.name));
    }
    times.sort_by_key(|row| std::cmp::Reverse(row.0));
    eprintln!("{} reviews", times.len());
    for (time, cost, allowed, name) in times.iter().take(60) {
        eprintln!("{time} ms {cost:?} {allowed} {name}");
    }
}

/// What each field of each kind may cost when the object is ten times larger: linear, with room for a logarithm and
/// for what stands around the items of a small one. Quadratic would be a hundred times.
#[test]
fn steps_grow_no_faster_than_objects() {
    const SMALL: usize = 1 << 10;
    for review in reviews() {
        let (small, _) = review.cost(SMALL);
        let (large, _) = review.cost(10 * SMALL);
        assert!(
            large <= 20 * small + 10_000,
            "{}: {small} steps, {large} for ten times the size",
            review.name
        );
    }
}
