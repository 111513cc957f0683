//! Targets side by side, each in a process of its own, and what is made of those that end.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result, bail};

use crate::child::{Bound, PANICKED, TOO_SLOW, input_under_way};
use crate::minimise::minimise;
use crate::target::{Target, outcome};

/// Lines of what a process has said that are shown.
const LINES_SHOWN: usize = 8;

/// Bytes of an input that are shown.
const BYTES_SHOWN: usize = 400;

/// How to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// This program.
    pub program: PathBuf,
    /// What all inputs follow from.
    pub seed: u64,
    /// For how long each target runs.
    pub bound: Bound,
    /// Targets at the same time.
    pub jobs: usize,
    /// Where inputs are kept that break something.
    pub out: PathBuf,
}

/// An input that breaks a target.
#[derive(Debug)]
pub struct Failure {
    /// The target's name.
    pub target: &'static str,
    /// What happened.
    pub kind: Kind,
    /// What the process said about it.
    pub said: String,
    /// The input, made small.
    pub input: Vec<u8>,
    /// Where it is kept.
    pub path: PathBuf,
}

/// What happened to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A panic, or an assertion of the target.
    Panic,
    /// Too much CPU time.
    TooSlow,
    /// It was ended by this signal: too much memory (6), a stack that overflowed (6 or 11).
    Signal(i32),
}

impl Kind {
    fn of(status: ExitStatus) -> Option<Self> {
        match (status.code(), status.signal()) {
            (Some(PANICKED), _) => Some(Self::Panic),
            (Some(TOO_SLOW), _) => Some(Self::TooSlow),
            (None, Some(signal)) => Some(Self::Signal(signal)),
            _ => None,
        }
    }
}

/// Runs the targets and prints a line for each. Returns what broke.
///
/// # Errors
/// When a process cannot be started, or ends for another reason than its input.
pub fn all(targets: &[&'static Target], options: &Options) -> Result<Vec<Failure>> {
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    let work = || -> Result<()> {
        while let Some(target) = targets.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Some(failure) = one(target, options)? {
                failures.lock().expect("no thread panics").push(failure);
            }
        }
        Ok(())
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..options.jobs.max(1))
            .map(|_| scope.spawn(work))
            .collect();
        let mut ends = threads.into_iter().map(|t| t.join().expect("no panic"));
        ends.try_for_each(|end| end)
    })?;
    Ok(failures.into_inner().expect("no thread panics"))
}

fn one(target: &'static Target, options: &Options) -> Result<Option<Failure>> {
    let folder = tempfile::tempdir()?;
    let under_way = folder.path().join("input");
    let output = start(target, options, &under_way)?;
    if output.status.success() {
        let done = String::from_utf8_lossy(&output.stdout);
        say(&format!("{:<24} {}", target.name, done.trim()));
        return Ok(None);
    }
    let said = last_lines(&output.stderr);
    let Some(kind) = Kind::of(output.status) else {
        bail!("{}: {}\n{said}", target.name, output.status);
    };
    let input = input_under_way(&under_way)?;
    let again = folder.path().join("again");
    let input = minimise(input, |input| breaks(target, options, kind, input, &again));
    let path = keep(target, options, &input)?;
    say(&format!("{:<24} {kind:?}: {}", target.name, path.display()));
    Ok(Some(Failure {
        target: target.name,
        kind,
        said,
        input,
        path,
    }))
}

fn start(target: &Target, options: &Options, under_way: &Path) -> Result<Output> {
    let mut command = Command::new(&options.program);
    command
        .args(["child", target.name, "--under-way"])
        .arg(under_way);
    command.args(["--seed", &options.seed.to_string()]);
    // The message says where it is from; what is before it in the stack is for whoever runs the input again.
    command.env("RUST_BACKTRACE", "0");
    if let Some(runs) = options.bound.runs {
        command.args(["--runs", &runs.to_string()]);
    }
    if let Some(time) = options.bound.time {
        command.args(["--seconds", &time.as_secs().to_string()]);
    }
    let output = command.output();
    output.with_context(|| format!("cannot run {}", options.program.display()))
}

/// Whether the input still ends the process in the same way.
fn breaks(target: &Target, options: &Options, kind: Kind, input: &[u8], again: &Path) -> bool {
    let run = || -> Result<Option<Kind>> {
        fs::write(again, input)?;
        let mut command = Command::new(&options.program);
        let output = command.args(["one", target.name]).arg(again).output()?;
        Ok(Kind::of(output.status))
    };
    run().is_ok_and(|now| now == Some(kind))
}

fn keep(target: &Target, options: &Options, input: &[u8]) -> Result<PathBuf> {
    let folder = options.out.join(target.name);
    fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{:016x}", outcome(input)));
    fs::write(&path, input)?;
    Ok(path)
}

fn last_lines(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.trim().lines().collect();
    lines[lines.len().saturating_sub(LINES_SHOWN)..].join("\n")
}

#[expect(clippy::print_stdout, reason = "a program for the command line")]
fn say(line: &str) {
    println!("{line}");
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = &self.input[..self.input.len().min(BYTES_SHOWN)];
        writeln!(f, "{}: {:?}", self.target, self.kind)?;
        writeln!(f, "{}", self.said)?;
        writeln!(
            f,
            "input of {} bytes: \"{}\"",
            self.input.len(),
            shown.escape_ascii()
        )?;
        write!(f, "again: fuzz one {} {}", self.target, self.path.display())
    }
}
