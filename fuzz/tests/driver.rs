//! The driver finds faults of every kind, and makes their inputs small.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use fuzz::child::Bound;
use fuzz::run::{self, Failure, Kind, Options};
use fuzz::targets;
use tempfile::TempDir;

fn options(out: &Path) -> Options {
    Options {
        program: env!("CARGO_BIN_EXE_fuzz").into(),
        seed: 1,
        bound: Bound {
            runs: Some(200_000),
            time: Some(Duration::from_secs(60)),
        },
        jobs: 2,
        out: out.to_owned(),
    }
}

fn failure(target: &str) -> Failure {
    let folder = TempDir::new().unwrap();
    let target = targets::find(target).unwrap();
    let mut failures = run::all(&[target], &options(folder.path())).unwrap();
    let failure = failures.pop().expect("the fault is found");
    assert_eq!(std::fs::read(&failure.path).unwrap(), failure.input);
    failure
}

#[test]
fn panics() {
    let found = failure("planted-panic");
    assert_eq!(
        (found.kind, found.input.as_slice()),
        (Kind::Panic, &b"fault"[..])
    );
    assert!(found.said.contains("a planted panic"), "{}", found.said);
}

#[test]
fn endless_loops() {
    let found = failure("planted-loop");
    assert_eq!(
        (found.kind, found.input.as_slice()),
        (Kind::TooSlow, &b"fault"[..])
    );
}

#[test]
fn waiting_for_ever() {
    let found = failure("planted-wait");
    assert_eq!(
        (found.kind, found.input.as_slice()),
        (Kind::TooSlow, &b"fault"[..])
    );
}

#[test]
fn memory_beyond_the_limit() {
    let found = failure("planted-memory");
    assert_eq!(
        (found.kind, found.input.as_slice()),
        (Kind::Signal(6), &b"fault"[..])
    );
    assert!(found.said.contains("memory allocation"), "{}", found.said);
}

#[test]
fn stacks_that_overflow() {
    let found = failure("planted-stack");
    assert_eq!(
        (found.kind, found.input.as_slice()),
        (Kind::Signal(6), &b"fault"[..])
    );
    assert!(
        found.said.contains("overflowed its stack"),
        "{}",
        found.said
    );
}

#[test]
fn inputs_with_new_outcomes_are_steps_to_further_ones() {
    let found = failure("planted-steps");
    assert_eq!(found.kind, Kind::Panic);
    assert!(found.input.starts_with(b"ABCDEFGH"), "{found}");
}

#[test]
fn a_target_without_fault_passes() {
    let folder = TempDir::new().unwrap();
    let target = targets::find("planted-none").unwrap();
    let mut options = options(folder.path());
    options.bound.runs = Some(1000);
    let failures = run::all(&[target], &options).unwrap();
    assert!(failures.is_empty(), "{failures:?}");
}

fn fuzz(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fuzz"));
    command.args(arguments).output().unwrap()
}

/// What a person sees: the fault, the input, how to run it again, and a status that stops a script.
#[test]
fn the_command_line_reports_a_fault() {
    let folder = TempDir::new().unwrap();
    let out = folder.path().to_str().unwrap();
    let output = fuzz(&["run", "planted-panic", "--seconds", "60", "--out", out]);
    assert_eq!(output.status.code(), Some(1));
    let report = String::from_utf8(output.stderr).unwrap();
    for part in [
        "planted-panic: Panic",
        "a planted panic",
        "input of 5 bytes: \"fault\"",
        "again: fuzz one planted-panic ",
    ] {
        assert!(report.contains(part), "{report}");
    }
    let again = report
        .split("fuzz one planted-panic ")
        .nth(1)
        .unwrap()
        .trim();
    assert!(!fuzz(&["one", "planted-panic", again]).status.success());
}

#[test]
fn the_same_seed_makes_the_same_inputs() {
    let folder = TempDir::new().unwrap();
    let out = folder.path().to_str().unwrap();
    let runs = ["run", "http-path", "--runs", "500", "--seconds", "300"];
    let arguments = [&runs[..], &["--seed", "7", "--out", out]].concat();
    let outcomes = || {
        let output = fuzz(&arguments);
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        text.split(", slowest").next().unwrap().to_owned()
    };
    assert_eq!(outcomes(), outcomes());
}
