//! How soon a watch that failed is tried again.

use std::time::Duration;

use ::kube::runtime::watcher::{DefaultBackoff, Error};
use tokio::time::sleep;

/// However long the API server was away, its return is noticed after this time. kube's
/// own limit is half a minute, and twice that with jitter.
const DELAY_MAX: Duration = Duration::from_secs(10);

/// The pace of one watch.
#[derive(Default)]
pub(super) struct Pace {
    backoff: DefaultBackoff,
    failing: bool,
}

impl Pace {
    /// The watch works.
    pub(super) fn success(&mut self) {
        self.failing = false;
    }

    /// Waits until it is time to try again. Only the first of several failures is
    /// logged for everyone.
    pub(super) async fn failure(&mut self, what: &str, error: &Error) {
        if is_expired(error) {
            tracing::debug!(what, %error, "listing again");
            return;
        }
        match std::mem::replace(&mut self.failing, true) {
            false => tracing::warn!(what, %error, "cannot watch, will try again"),
            true => tracing::debug!(what, %error, "still cannot watch"),
        }
        let delay = self.backoff.next().unwrap_or(DELAY_MAX);
        sleep(delay.min(DELAY_MAX)).await;
    }
}

/// The watch was away too long to go on where it was: nothing is wrong.
fn is_expired(error: &Error) -> bool {
    match error {
        Error::WatchError(status) => status.code == 410,
        Error::WatchStartFailed(::kube::Error::Api(status)) => status.code == 410,
        _ => false,
    }
}
