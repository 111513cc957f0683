//! Targets with faults, by which the driver is tested.

use std::time::Duration;

use crate::target::{Limits, Outcome, Target, outcome};

const LIMITS: Limits = Limits {
    cpu_time: Duration::from_millis(200),
    memory_bytes: 1 << 20,
};

const fn planted(name: &'static str, run: fn(&[u8]) -> Outcome) -> Target {
    Target {
        limits: LIMITS,
        dictionary: &["fault"],
        ..Target::new(name, run)
    }
}

pub(super) static TARGETS: &[Target] = &[
    planted("planted-none", |input| outcome(input.first())),
    planted("planted-panic", |input| {
        assert!(!is_faulty(input), "a planted panic");
        0
    }),
    planted("planted-loop", |input| {
        while is_faulty(input) {
            std::hint::black_box(input);
        }
        0
    }),
    planted("planted-wait", |input| {
        while is_faulty(input) {
            std::thread::park();
        }
        0
    }),
    planted("planted-memory", |input| match is_faulty(input) {
        true => std::hint::black_box(vec![1_u8; 4 << 20]).len() as u64,
        false => 0,
    }),
    planted("planted-stack", |input| match is_faulty(input) {
        true => recurse(1),
        false => 0,
    }),
    // More steps than one input is mutated: they are taken only if the inputs on the way are kept.
    Target {
        dictionary: &["A", "B", "C", "D", "E", "F", "G", "H"],
        ..planted("planted-steps", |input| {
            let steps = input.iter().zip(b"ABCDEFGH");
            let taken = steps.take_while(|(byte, step)| byte == step).count();
            assert!(taken < 8, "the last step");
            taken as u64
        })
    },
];

fn is_faulty(input: &[u8]) -> bool {
    input.windows(5).any(|window| window == b"fault")
}

fn recurse(depth: u64) -> u64 {
    std::hint::black_box(depth) + if depth > 0 { recurse(depth + 1) } else { 0 }
}
