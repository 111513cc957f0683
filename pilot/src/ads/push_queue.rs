//! How many proxies are pushed to at the same time.
//!
//! A push is computation and encoding, so more of them at once than there are processors only
//! adds memory. Waiting connections are served in the order in which they came.

use tokio::sync::{Semaphore, SemaphorePermit};

/// The places for pushes under way.
#[derive(Debug)]
pub struct PushQueue {
    places: Semaphore,
}

impl PushQueue {
    /// A queue that lets `concurrency` pushes run at once, at least one.
    pub fn new(concurrency: usize) -> Self {
        Self {
            places: Semaphore::new(concurrency.max(1)),
        }
    }

    /// A queue for the processors of this machine.
    pub fn for_this_machine() -> Self {
        Self::new(std::thread::available_parallelism().map_or(1, usize::from))
    }

    /// Waits for a place; dropping it gives it back.
    pub async fn place(&self) -> SemaphorePermit<'_> {
        self.places
            .acquire()
            .await
            .expect("the semaphore is never closed")
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn places_are_limited_and_come_back() {
        let queue = PushQueue::new(0);
        let place = queue.place().await;
        assert!(queue.place().now_or_never().is_none());
        drop(place);
        assert!(queue.place().now_or_never().is_some());
    }
}
