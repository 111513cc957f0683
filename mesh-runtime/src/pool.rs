//! Threads of their own for work that is caused by bytes from outside and may take long.
//!
//! Such work on a worker of the async runtime would hold up everything else that the worker serves. Tokio's own
//! blocking threads are no place for it either: there are hundreds, and their queue has no end. Here both are
//! bounded. Threads for what the process could as well refuse ([`Pool::background`]) have a lower priority than the
//! runtime's, so that on a small machine the rest goes on.
//!
//! The queue is fair: callers take turns, and where it is full the caller with the most waiting work loses its
//! newest. So nobody gets another's share by asking more often.

mod lanes;

use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use prometheus_client::metrics::gauge::Gauge;
use thiserror::Error;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::metrics::Registry;
use lanes::Lanes;

/// How much the threads stand behind others: by the kernel's weights a tenth of the CPU remains for them when the
/// rest of the process could use all of it.
const NICENESS: i32 = 10;

/// Why work was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    /// No place in the queue, or it was lost to a caller with less waiting work.
    #[error("too much work is waiting")]
    Full,
    /// It was not done in time. If it had begun, it goes on and its result is dropped.
    #[error("the work was not done in time")]
    Late,
    /// It panicked; the thread goes on with the next.
    #[error("the work failed")]
    Panicked,
}

/// A fixed number of threads and a bounded queue. Dropping the last clone ends the threads, each after the work that
/// it has begun.
#[derive(Clone, Debug)]
pub struct Pool {
    owner: Arc<Owner>,
}

#[derive(Debug)]
struct Owner(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    waiting: Gauge,
    running: Gauge,
}

#[derive(Debug)]
struct State {
    lanes: Lanes<Box<dyn Work>>,
    closed: bool,
}

/// What a thread does for somebody who waits.
trait Work: Send {
    fn run(self: Box<Self>);

    /// Whether nobody waits any more.
    fn is_abandoned(&self) -> bool;
}

impl std::fmt::Debug for dyn Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Work")
    }
}

struct Task<T, F> {
    work: F,
    result: oneshot::Sender<Result<T, Refused>>,
}

impl<T, F> Work for Task<T, F>
where
    T: Send,
    F: FnOnce() -> T + Send,
{
    fn run(self: Box<Self>) {
        let result = catch_unwind(AssertUnwindSafe(self.work));
        // Nobody may wait any more, which is theirs to decide.
        let _ = self.result.send(result.map_err(|_| Refused::Panicked));
    }

    fn is_abandoned(&self) -> bool {
        self.result.is_closed()
    }
}

impl Pool {
    /// Starts `threads` threads called `name`; at most `queue` pieces of work wait for them.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn new(name: &str, threads: usize, queue: usize) -> std::io::Result<Self> {
        Self::start(name, threads, queue, 0)
    }

    /// The same with threads that run when nothing else in the process would.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn background(name: &str, threads: usize, queue: usize) -> std::io::Result<Self> {
        Self::start(name, threads, queue, NICENESS)
    }

    fn start(name: &str, threads: usize, queue: usize, niceness: i32) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                lanes: Lanes::new(queue),
                closed: false,
            }),
            wake: Condvar::new(),
            waiting: Gauge::default(),
            running: Gauge::default(),
        });
        // Ends those that were started if a later one fails.
        let pool = Self {
            owner: Arc::new(Owner(shared.clone())),
        };
        for number in 0..threads {
            let shared = shared.clone();
            thread::Builder::new()
                .name(format!("{name}-{number}"))
                .spawn(move || shared.work(niceness))?;
        }
        Ok(pool)
    }

    /// Registers `queue_depth` and `running`.
    pub fn register(&self, registry: &mut Registry) {
        let shared = &self.owner.0;
        registry.register(
            "queue_depth",
            "Pieces of work that wait for a thread",
            shared.waiting.clone(),
        );
        registry.register(
            "running",
            "Pieces of work that a thread runs",
            shared.running.clone(),
        );
    }

    /// Runs `work` for `caller` on one of the threads and waits for its result until `deadline`.
    ///
    /// Work that nobody waits for any more is not begun.
    ///
    /// # Errors
    /// When it is not done; see [`Refused`].
    pub async fn run<T: Send + 'static>(
        &self,
        caller: IpAddr,
        deadline: Instant,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refused> {
        let finished = tokio::time::timeout_at(deadline, self.finish(caller, work));
        finished.await.unwrap_or(Err(Refused::Late))
    }

    /// Runs `work` for `caller` on one of the threads and waits for its result, however long that takes.
    ///
    /// Work that nobody waits for any more is not begun.
    ///
    /// # Errors
    /// When it is not done; see [`Refused`].
    pub async fn finish<T: Send + 'static>(
        &self,
        caller: IpAddr,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refused> {
        let (result, done) = oneshot::channel();
        self.owner.0.add(caller, Box::new(Task { work, result }))?;
        // Without a result it was displaced from the queue.
        done.await.unwrap_or(Err(Refused::Full))
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.wake.notify_all();
    }
}

impl Shared {
    fn add(&self, caller: IpAddr, work: Box<dyn Work>) -> Result<(), Refused> {
        let mut state = self.lock();
        if state.lanes.is_full() {
            state.lanes.retain(|work| !work.is_abandoned());
        }
        // Dropped outside of the lock: it wakes whoever waits for it.
        let displaced = state.lanes.push(caller, work);
        self.observe(&state);
        drop(state);
        match displaced {
            Some((loser, _)) if loser == caller => return Err(Refused::Full),
            _ => {}
        }
        self.wake.notify_one();
        Ok(())
    }

    /// A thread's life.
    fn work(&self, niceness: i32) {
        if niceness != 0 {
            // Without a lower priority the work is still bounded; a kernel that forbids it changes no result.
            let _ = rustix::process::setpriority_process(None, niceness);
        }
        while let Some(work) = self.next() {
            if !work.is_abandoned() {
                self.running.inc();
                work.run();
                self.running.dec();
            }
        }
    }

    fn next(&self) -> Option<Box<dyn Work>> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some(work) = state.lanes.pop() {
                self.observe(&state);
                return Some(work);
            }
            state = self
                .wake
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn observe(&self, state: &State) {
        self.waiting
            .set(i64::try_from(state.lanes.len()).unwrap_or(i64::MAX));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held; if it did, what is in it is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
