//! One target in a process of its own, which ends when an input costs too much or panics.
//!
//! The input under way is in a file, so that whoever started the process has it however the process ends: a stack
//! that overflows and memory that runs out leave no other trace.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use cap::Cap;
use rustix::time::{ClockId, clock_gettime};

use crate::Target;
use crate::corpus;
use crate::mutate::Mutator;
use crate::target::{Outcome, STACK_BYTES};

/// The allocator that ends the process when it gives more than the limit.
pub type Allocator = Cap<std::alloc::System>;

/// Exit status after a panic.
pub const PANICKED: i32 = 70;

/// Exit status after too much CPU time.
pub const TOO_SLOW: i32 = 71;

/// How often the time is looked at.
const TICK: Duration = Duration::from_millis(20);

/// Wall-clock time for each second of CPU time: something that waits for ever uses none.
const WAITING_FACTOR: u32 = 10;

/// Inputs that are mutated further, at most.
const KEPT_MAX: usize = 4096;

/// For how long to go on.
#[derive(Debug, Clone, Copy)]
pub struct Bound {
    /// Inputs, if not unlimited.
    pub runs: Option<u64>,
    /// Time, if not unlimited.
    pub time: Option<Duration>,
}

impl Bound {
    fn is_reached(&self, runs: u64, started: Instant) -> bool {
        self.runs.is_some_and(|most| runs >= most)
            || self.time.is_some_and(|most| started.elapsed() >= most)
    }
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    /// Inputs, seeds included.
    pub runs: u64,
    /// Inputs with an outcome that no earlier one had.
    pub kept: usize,
    /// The longest time that one took.
    pub slowest: Duration,
}

/// Runs the seeds, then what mutations make of them. An input that breaks a limit ends the process.
///
/// # Errors
/// When seeds cannot be read or the input under way cannot be written.
pub fn fuzz(
    target: &'static Target,
    allocator: &'static Allocator,
    seed: u64,
    bound: Bound,
    under_way: &Path,
) -> io::Result<Done> {
    let seeds = corpus::seeds(target)?;
    let guard = Guard::new(target, allocator, File::create(under_way)?);
    on_own_stack(move || explore(target, &guard, seeds, seed, bound))
}

/// Runs one input.
///
/// # Errors
/// When the input under way cannot be written.
pub fn once(
    target: &'static Target,
    allocator: &'static Allocator,
    input: Vec<u8>,
    under_way: &Path,
) -> io::Result<Outcome> {
    let guard = Guard::new(target, allocator, File::create(under_way)?);
    on_own_stack(move || guard.run(&input))
}

fn on_own_stack<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let thread = thread::Builder::new().stack_size(STACK_BYTES).spawn(work)?;
    thread.join().unwrap_or_else(|_| exit(PANICKED))
}

fn explore(
    target: &Target,
    guard: &Guard,
    seeds: Vec<Vec<u8>>,
    seed: u64,
    bound: Bound,
) -> io::Result<Done> {
    let started = Instant::now();
    let mut done = Done {
        runs: 0,
        kept: 0,
        slowest: Duration::ZERO,
    };
    let mut outcomes = HashSet::new();
    let mut run = |input: &[u8]| -> io::Result<bool> {
        let before = Instant::now();
        let is_new = outcomes.insert(guard.run(input)?);
        done.runs += 1;
        done.kept += usize::from(is_new);
        done.slowest = done.slowest.max(before.elapsed());
        Ok(is_new)
    };
    let mut inputs = seeds;
    for input in &inputs {
        run(input)?;
    }
    let mut runs = inputs.len() as u64;
    let mut mutator = Mutator::new(seed, target.dictionary, target.bytes_max);
    while !bound.is_reached(runs, started) {
        let input = mutator.next(&inputs);
        if run(&input)? && inputs.len() < KEPT_MAX {
            inputs.push(input);
        }
        runs += 1;
    }
    Ok(done)
}

/// Holds one input after the other to the limits.
struct Guard {
    run: fn(&[u8]) -> Outcome,
    memory_bytes: usize,
    allocator: &'static Allocator,
    under_way: File,
    watch: Arc<Watch>,
}

/// When the input under way began, in microseconds; 0 if there is none.
#[derive(Default)]
struct Watch {
    cpu: AtomicU64,
    wall: AtomicU64,
}

impl Guard {
    fn new(target: &Target, allocator: &'static Allocator, under_way: File) -> Self {
        let watch = Arc::new(Watch::default());
        let watched = Arc::clone(&watch);
        let limit = target.limits.cpu_time;
        thread::spawn(move || watched.watch(limit));
        Self {
            run: target.run,
            memory_bytes: target.limits.memory_bytes,
            allocator,
            under_way,
            watch,
        }
    }

    fn run(&self, input: &[u8]) -> io::Result<Outcome> {
        self.under_way.write_all_at(input, 8)?;
        self.under_way
            .write_all_at(&(input.len() as u64).to_le_bytes(), 0)?;
        let limit = self.allocator.allocated() + self.memory_bytes;
        // Fails only if more is in use already, which it is not.
        let _ = self.allocator.set_limit(limit);
        self.watch.begin();
        let outcome = catch_unwind(AssertUnwindSafe(|| (self.run)(input)));
        self.watch.end();
        let _ = self.allocator.set_limit(usize::MAX);
        // The panic hook has said what happened.
        Ok(outcome.unwrap_or_else(|_| exit(PANICKED)))
    }
}

impl Watch {
    fn begin(&self) {
        self.wall
            .store(micros(ClockId::Monotonic), Ordering::Relaxed);
        self.cpu
            .store(micros(ClockId::ProcessCPUTime).max(1), Ordering::Release);
    }

    fn end(&self) {
        self.cpu.store(0, Ordering::Release);
    }

    fn watch(&self, limit: Duration) {
        loop {
            thread::sleep(TICK);
            let began = self.cpu.load(Ordering::Acquire);
            let wall = self.wall.load(Ordering::Relaxed);
            if began == 0 {
                continue;
            }
            let used = micros(ClockId::ProcessCPUTime).saturating_sub(began);
            let waited = micros(ClockId::Monotonic).saturating_sub(wall);
            let is_new = self.cpu.load(Ordering::Acquire) != began;
            let too_slow = Duration::from_micros(used) > limit
                || Duration::from_micros(waited) > limit * WAITING_FACTOR;
            if too_slow && !is_new {
                eprintln!(
                    "took more than {limit:?} of CPU time, or {WAITING_FACTOR} times as long"
                );
                exit(TOO_SLOW);
            }
        }
    }
}

fn micros(clock: ClockId) -> u64 {
    let now = clock_gettime(clock);
    now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1000
}

/// The input that was under way in a process that has ended.
///
/// # Errors
/// When the file cannot be read or is not one of [`fuzz`].
pub fn input_under_way(path: &Path) -> io::Result<Vec<u8>> {
    let bytes = std::fs::read(path)?;
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, "no input was under way");
    let (length, rest) = bytes.split_first_chunk::<8>().ok_or_else(damaged)?;
    let length = u64::from_le_bytes(*length) as usize;
    Ok(rest.get(..length).ok_or_else(damaged)?.to_vec())
}
