//! Pages as long as the mesh is large, written piece by piece.
//!
//! A page of a large mesh takes long to write and is too long to hold. So it is written on a thread of the
//! blocking pool, never on an async worker, into a pipe of a fixed size: what the client has not read yet
//! stops the writer. A client that does not read in time loses the connection, and only a few pages are
//! written at a time.

use std::io::{self, BufWriter, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::Stream;
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// How many pages are written at a time; each occupies a thread.
pub const PAGES_AT_ONCE: usize = 4;

/// Bytes that are passed on at a time.
const PIECE_BYTES: usize = 64 * 1024;

/// Pieces that are written ahead of the client.
const PIECES_AHEAD: usize = 4;

/// How long a client may take to read a piece.
const PIECE_TIMEOUT: Duration = Duration::from_secs(10);

/// Writes pages, a few at a time.
#[derive(Clone, Debug)]
pub struct Pages {
    slots: Arc<Semaphore>,
    piece_timeout: Duration,
}

impl Default for Pages {
    fn default() -> Self {
        Self {
            slots: Arc::new(Semaphore::new(PAGES_AT_ONCE)),
            piece_timeout: PIECE_TIMEOUT,
        }
    }
}

impl Pages {
    /// Answers with `page` as JSON. It should be a value that looks its parts up while it is serialised,
    /// not one that holds them all.
    pub fn json<T: Serialize + Send + 'static>(&self, page: T) -> Response {
        let write =
            move |out: &mut dyn Write| serde_json::to_writer(out, &page).map_err(Into::into);
        self.answer("application/json", write)
    }

    /// Answers with what `write` writes, as text.
    pub fn text(
        &self,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static,
    ) -> Response {
        self.answer("text/plain; charset=utf-8", write)
    }

    /// Runs `find` on a thread of the blocking pool, in place of a page.
    ///
    /// # Errors
    /// The response where it cannot be run now.
    pub async fn look_up<T: Send + 'static>(
        &self,
        find: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Busy> {
        let slot = self.slot()?;
        let found = tokio::task::spawn_blocking(move || {
            let _slot = slot;
            find()
        });
        found.await.map_err(|_| Busy)
    }

    fn slot(&self) -> Result<OwnedSemaphorePermit, Busy> {
        self.slots.clone().try_acquire_owned().map_err(|_| Busy)
    }

    fn answer(
        &self,
        content_type: &'static str,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static,
    ) -> Response {
        let slot = match self.slot() {
            Ok(slot) => slot,
            Err(busy) => return busy.into_response(),
        };
        let (pieces, body) = mpsc::channel(PIECES_AHEAD);
        let (runtime, timeout) = (Handle::current(), self.piece_timeout);
        // Ends with the page, with the client, or with the client's patience.
        tokio::task::spawn_blocking(move || {
            let _slot = slot;
            let pipe = Pipe {
                pieces,
                runtime,
                timeout,
            };
            let mut out = BufWriter::with_capacity(PIECE_BYTES, pipe);
            let written = write(&mut out).and_then(|()| out.flush());
            match written {
                // The mark of a whole page; without it the client sees the connection break.
                Ok(()) => drop(out.get_mut().send(Piece::End)),
                Err(error) => tracing::debug!(%error, "debug page not written to its end"),
            }
            // What is still buffered belongs to a page that is not whole.
            let _ = out.into_parts();
        });
        let headers = [(header::CONTENT_TYPE, content_type)];
        (headers, Body::from_stream(PageBody(Some(body)))).into_response()
    }
}

/// As many pages are being written as may be.
#[derive(Debug)]
pub struct Busy;

impl IntoResponse for Busy {
    fn into_response(self) -> Response {
        let busy = "other pages are being written: ask again\n";
        let headers = [(header::RETRY_AFTER, "1")];
        (StatusCode::SERVICE_UNAVAILABLE, headers, busy).into_response()
    }
}

enum Piece {
    Bytes(Bytes),
    End,
}

/// The writing end.
struct Pipe {
    pieces: mpsc::Sender<Piece>,
    runtime: Handle,
    timeout: Duration,
}

impl Pipe {
    fn send(&self, piece: Piece) -> io::Result<()> {
        let sent = async { tokio::time::timeout(self.timeout, self.pieces.send(piece)).await };
        match self.runtime.block_on(sent) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(io::ErrorKind::BrokenPipe.into()),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // The buffer passes a write on undivided that is longer than itself.
        let piece = &bytes[..bytes.len().min(PIECE_BYTES)];
        self.send(Piece::Bytes(Bytes::copy_from_slice(piece)))?;
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The reading end; `None` once it has ended.
struct PageBody(Option<mpsc::Receiver<Piece>>);

impl Stream for PageBody {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(pieces) = &mut self.0 else {
            return Poll::Ready(None);
        };
        let piece = std::task::ready!(pieces.poll_recv(context));
        Poll::Ready(match piece {
            Some(Piece::Bytes(bytes)) => Some(Ok(bytes)),
            Some(Piece::End) => {
                self.0 = None;
                None
            }
            None => {
                self.0 = None;
                Some(Err(io::ErrorKind::UnexpectedEof.into()))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    async fn read(response: Response) -> Result<Bytes, axum::Error> {
        axum::body::to_bytes(response.into_body(), usize::MAX).await
    }

    #[tokio::test]
    async fn a_page_is_written_by_no_async_worker() {
        let worker = std::thread::current().id();
        let pages = Pages::default();
        let response = pages.text(move |out| {
            assert_ne!(std::thread::current().id(), worker);
            out.write_all(b"text")
        });
        assert_eq!(
            response.headers()["content-type"],
            "text/plain; charset=utf-8"
        );
        assert_eq!(read(response).await.unwrap(), "text");
        let long = vec!["x".repeat(1000); 1000];
        let expected = serde_json::to_vec(&long).unwrap();
        assert_eq!(read(pages.json(long)).await.unwrap(), expected);
        let looked_up = pages.look_up(|| std::thread::current().id()).await;
        assert_ne!(looked_up.unwrap(), worker);
    }

    /// A value without end that counts how often it was asked.
    struct Endless(Arc<AtomicU64>);

    impl Serialize for Endless {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_seq(std::iter::repeat_with(|| {
                self.0.fetch_add(1, Ordering::Relaxed);
                "x".repeat(1000)
            }))
        }
    }

    #[tokio::test]
    async fn who_does_not_read_stops_the_writer_and_loses_the_page() {
        let asked = Arc::new(AtomicU64::new(0));
        let pages = Pages {
            piece_timeout: Duration::from_millis(10),
            ..Pages::default()
        };
        let response = pages.json(Endless(asked.clone()));
        while pages.slots.available_permits() < PAGES_AT_ONCE {
            tokio::task::yield_now().await;
        }
        let ahead = (PIECE_BYTES * (PIECES_AHEAD + 3) / 1000) as u64;
        let asked = asked.load(Ordering::Relaxed);
        assert!(asked <= ahead, "{asked} of at most {ahead}");
        assert!(read(response).await.is_err(), "the connection breaks");
    }

    #[tokio::test]
    async fn few_pages_are_written_at_a_time() {
        let pages = Pages::default();
        let endless = || pages.json(Endless(Arc::default()));
        let open: Vec<_> = (0..PAGES_AT_ONCE).map(|_| endless()).collect();
        let refused = endless();
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        drop(open);
        // The writers notice that nobody reads, and make room.
        while endless().status() != StatusCode::OK {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_page_that_fails_is_not_taken_for_a_whole_one() {
        let response = Pages::default().text(|out| {
            out.write_all(&[b'x'; 2 * PIECE_BYTES])?;
            Err(io::Error::other("no more"))
        });
        assert!(read(response).await.is_err());
    }
}
