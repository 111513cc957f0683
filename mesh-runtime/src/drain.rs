//! Drain: stop accepting, tell peers, wait for work in flight until a deadline, then cut.
//!
//! The assembly holds the [`Signal`]; everything that serves holds a [`Watch`]. Work in flight is anything
//! spawned through [`Watch::spawn`] or covered by a [`Hold`]. Two steps reach the workers:
//! [`Watch::signaled`] (finish what you have) and [`Watch::cut`] (the deadline has passed, give up).

use std::future::Future;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// Makes a connected pair.
pub fn channel() -> (Signal, Watch) {
    let watch = Watch {
        start: CancellationToken::new(),
        cut: CancellationToken::new(),
        work: TaskTracker::new(),
    };
    (
        Signal {
            watch: watch.clone(),
        },
        watch,
    )
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All work finished by itself.
    Drained,
    /// The deadline passed with this many pieces of work left.
    Cut {
        /// Pieces of work that were cut off.
        left: usize,
    },
}

/// Starts the drain. Dropping it does not.
#[derive(Debug)]
pub struct Signal {
    watch: Watch,
}

impl Signal {
    /// Tells every watcher to finish, without waiting.
    pub fn start(&self) {
        self.watch.start.cancel();
        self.watch.work.close();
    }

    /// Tells every watcher to finish, waits at most `deadline`, then cuts what is left.
    pub async fn drain(self, deadline: Duration) -> Outcome {
        self.start();
        let finished = tokio::time::timeout(deadline, self.watch.work.wait()).await;
        let left = self.watch.work.len();
        self.watch.cut.cancel();
        match finished {
            Ok(()) => Outcome::Drained,
            Err(_) => Outcome::Cut { left },
        }
    }

    /// Another watcher.
    pub fn watch(&self) -> Watch {
        self.watch.clone()
    }
}

/// Sees the drain and registers work that it must wait for.
#[derive(Clone, Debug)]
pub struct Watch {
    start: CancellationToken,
    cut: CancellationToken,
    work: TaskTracker,
}

impl Watch {
    /// Returns when the drain has begun.
    pub async fn signaled(&self) {
        self.start.cancelled().await;
    }

    /// Returns when the deadline of the drain has passed.
    pub async fn cut(&self) {
        self.cut.cancelled().await;
    }

    /// Whether the drain has begun.
    pub fn is_draining(&self) -> bool {
        self.start.is_cancelled()
    }

    /// The token that is cancelled when the drain begins, for code built on tokens.
    pub fn token(&self) -> CancellationToken {
        self.start.clone()
    }

    /// Makes the drain wait until the returned value is dropped.
    pub fn hold(&self) -> Hold {
        Hold {
            _token: self.work.token(),
        }
    }

    /// Runs work that the drain waits for, and that is dropped when the deadline passes.
    pub fn spawn<F>(&self, work: F) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let cut = self.cut.clone();
        self.work.spawn(async move {
            tokio::select! {
                () = work => {}
                () = cut.cancelled() => {}
            }
        })
    }
}

/// A piece of work in flight that is not a task of its own.
#[derive(Debug)]
#[must_use = "dropping it says that the work is done"]
pub struct Hold {
    _token: TaskTrackerToken,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_for_work_in_flight() {
        let (signal, watch) = channel();
        let inside = watch.clone();
        let task = watch.spawn(async move {
            inside.signaled().await;
            tokio::time::sleep(Duration::from_secs(3)).await;
        });
        assert!(!watch.is_draining());
        assert_eq!(signal.drain(Duration::from_secs(5)).await, Outcome::Drained);
        assert!(watch.is_draining());
        task.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn cuts_what_outlives_the_deadline() {
        let (signal, watch) = channel();
        let hold = watch.hold();
        let task = watch.spawn(std::future::pending());
        assert_eq!(
            signal.drain(Duration::from_secs(5)).await,
            Outcome::Cut { left: 2 }
        );
        watch.cut().await;
        task.await.unwrap();
        drop(hold);
    }
}
