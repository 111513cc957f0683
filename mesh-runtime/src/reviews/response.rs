//! A response that counts as memory of its caller until it is sent, and that is given up when that takes too long.
//!
//! Over HTTP/2 a client may ask for much and then take nothing, while it keeps the connection alive.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::BoxError;
use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::task::JoinHandle;

use crate::ledger::Loan;

/// How long a client may take for a response; it is as long as a pod.
const SENDING_MAX: Duration = Duration::from_secs(10);

/// Bytes that are handed to the connection at once, and that are beyond our reach from then on.
const CHUNK_BYTES: usize = 32 * 1024;

/// A body of `bytes` which `loan` covers.
pub(super) fn lent(bytes: Bytes, loan: Loan) -> Body {
    let left = bytes.len();
    let rest = Arc::new(Mutex::new(Some((bytes, loan))));
    let given_up = rest.clone();
    let timer = tokio::spawn(async move {
        tokio::time::sleep(SENDING_MAX).await;
        drop(lock(&given_up).take());
    });
    Body::new(Lent { rest, left, timer })
}

type Rest = Option<(Bytes, Loan)>;

fn lock(rest: &Mutex<Rest>) -> MutexGuard<'_, Rest> {
    rest.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Lent {
    rest: Arc<Mutex<Rest>>,
    left: usize,
    timer: JoinHandle<()>,
}

impl http_body::Body for Lent {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let chunk = match &mut *lock(&self.rest) {
            Some((bytes, _)) => bytes.split_to(bytes.len().min(CHUNK_BYTES)),
            None => return Poll::Ready(Some(Err("the response was not taken in time".into()))),
        };
        self.left -= chunk.len();
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left as u64)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.timer.abort();
        // What the timer's task still holds goes with it, at some later time.
        drop(lock(&self.rest).take());
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use http_body_util::BodyExt as _;

    use super::*;
    use crate::ledger::Ledger;

    fn lent_from(ledger: &Ledger, length: usize) -> Body {
        let mut loan = ledger.open(Ipv4Addr::LOCALHOST.into());
        assert!(loan.grow(length));
        lent(Bytes::from(vec![7; length]), loan)
    }

    #[tokio::test]
    async fn a_response_is_memory_until_it_is_sent() {
        let ledger = Ledger::new(100_000, 100_000);
        let body = lent_from(&ledger, 100_000);
        assert_eq!(ledger.total(), 100_000);
        let sent = body.collect().await.unwrap().to_bytes();
        assert_eq!(sent, vec![7; 100_000]);
        assert_eq!(ledger.total(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_that_nobody_takes_is_given_up() {
        let ledger = Ledger::new(100_000, 100_000);
        let mut body = lent_from(&ledger, 100_000);
        assert!(body.frame().await.unwrap().is_ok());
        tokio::time::sleep(2 * SENDING_MAX).await;
        assert_eq!(ledger.total(), 0);
        assert!(body.frame().await.unwrap().is_err());
    }
}
