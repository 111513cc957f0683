//! Supervised tasks: every long-lived task has a name, an owner and a reported end.
//!
//! A task of a [`Tasks`] set runs until it ends by itself or the set is stopped. One that returns an error or
//! panics is logged with its name and reported by [`Tasks::failure`], which the assembly awaits next to the
//! stop signals: a program whose essential task is gone must not linger half alive.

use std::fmt::{self, Display};
use std::future::Future;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

/// Failures kept until someone reads them; the first one ends the program, the rest are only logged.
const FAILURES_MAX: usize = 16;

/// A task that ended with an error or a panic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The name given at spawn.
    pub task: &'static str,
    /// What it said last.
    pub reason: String,
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "task \"{}\" failed: {}", self.task, self.reason)
    }
}

impl std::error::Error for Failure {}

/// An owner of tasks. Dropping it stops them.
#[derive(Debug)]
pub struct Tasks {
    spawner: Spawner,
    failures: mpsc::Receiver<Failure>,
}

/// Adds tasks to a [`Tasks`] set.
#[derive(Clone, Debug)]
pub struct Spawner {
    tracker: TaskTracker,
    stop: CancellationToken,
    failures: mpsc::Sender<Failure>,
}

impl Default for Tasks {
    fn default() -> Self {
        Self::new()
    }
}

impl Tasks {
    /// An empty set.
    pub fn new() -> Self {
        let (sender, failures) = mpsc::channel(FAILURES_MAX);
        let spawner = Spawner {
            tracker: TaskTracker::new(),
            stop: CancellationToken::new(),
            failures: sender,
        };
        Self { spawner, failures }
    }

    /// Runs `work` under `name`; see [`Spawner::spawn`].
    pub fn spawn<F, E>(&self, name: &'static str, work: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Display + Send + 'static,
    {
        self.spawner.spawn(name, work);
    }

    /// A handle that can add tasks from elsewhere.
    pub fn spawner(&self) -> Spawner {
        self.spawner.clone()
    }

    /// The next failure. Pends for as long as every task is well.
    pub async fn failure(&mut self) -> Failure {
        match self.failures.recv().await {
            Some(failure) => failure,
            None => unreachable!("self holds a sender"),
        }
    }

    /// Stops all tasks at their next await point and waits for their ends.
    pub async fn stop(self) {
        self.spawner.stop.cancel();
        self.spawner.tracker.close();
        self.spawner.tracker.wait().await;
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.spawner.stop.cancel();
    }
}

impl Spawner {
    /// Runs `work` under `name` until it ends or the set stops.
    pub fn spawn<F, E>(&self, name: &'static str, work: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Display + Send + 'static,
    {
        let span = tracing::info_span!("task", name);
        let stop = self.stop.clone();
        let failures = self.failures.clone();
        self.tracker.spawn(async move {
            // A task of its own, so that a panic ends it alone and can be reported.
            let mut inner = AbortOnDrop(tokio::spawn(work.instrument(span)));
            let ended = tokio::select! {
                ended = &mut inner.0 => ended,
                () = stop.cancelled() => return,
            };
            let reason = match ended {
                Ok(Ok(())) => return tracing::debug!(task = name, "task ended"),
                Ok(Err(error)) => error.to_string(),
                Err(panic) => panic.to_string(),
            };
            tracing::error!(task = name, reason, "task failed");
            // A full channel means that a failure is waiting to be read already.
            let _ = failures.try_send(Failure { task: name, reason });
        });
    }
}

struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[tokio::test]
    async fn errors_and_panics_are_reported_by_name() {
        let mut tasks = Tasks::new();
        tasks.spawn("good", async { Ok::<(), Infallible>(()) });
        tasks.spawn("bad", async { Err("no more data") });
        assert_eq!(
            tasks.failure().await.to_string(),
            "task \"bad\" failed: no more data"
        );
        tasks.spawn("worse", async {
            if true {
                panic!("broken invariant");
            }
            Ok::<(), Infallible>(())
        });
        let failure = tasks.failure().await;
        assert_eq!(failure.task, "worse");
        assert!(failure.reason.contains("broken invariant"), "{failure}");
    }

    #[tokio::test]
    async fn stopping_ends_tasks_that_would_run_for_ever() {
        let tasks = Tasks::new();
        tasks.spawn("endless", std::future::pending::<Result<(), Infallible>>());
        tasks.stop().await;
    }
}
