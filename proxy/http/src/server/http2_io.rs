//! The socket of an HTTP/2 connection as h2 sees it: without what h2 would hide, and not all at once.
//!
//! A client may send a hundred requests in 8 KiB by naming headers that it sent before. h2 would take as many as the
//! socket holds before any other connection of the worker has its turn; here it waits for its next turn after each
//! read that brings many of them.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::http1_io::Exchanges;
use super::http2_scan::Scanner;
use super::sniff::Rewind;
use crate::refusal::Refusal;

/// Frames with headers after which a connection waits for its next turn. A page of a browser asks for fewer at once.
const HEADER_FRAMES_PER_TURN: usize = 16;

/// A connection whose header frames are looked at before h2 decodes them.
#[derive(Debug)]
pub struct Http2Io<I> {
    inner: Rewind<I>,
    exchanges: Arc<Exchanges>,
    scanner: Scanner,
    refused: bool,
    header_frames: usize,
}

impl<I> Http2Io<I> {
    /// A connection at its beginning, whose trailers may have `entries_max` entries.
    pub fn new(inner: Rewind<I>, entries_max: usize, exchanges: Arc<Exchanges>) -> Self {
        Self {
            inner,
            exchanges,
            scanner: Scanner::new(entries_max),
            refused: false,
            header_frames: 0,
        }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Http2Io<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.refused {
            return Poll::Ready(Err(malformed()));
        }
        if this.header_frames >= HEADER_FRAMES_PER_TURN {
            this.header_frames = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let Poll::Ready(read) = Pin::new(&mut this.inner).poll_read(cx, buf) else {
            // The others have their turn.
            this.header_frames = 0;
            return Poll::Pending;
        };
        read?;
        let scanned = this.scanner.scan(&buf.filled()[before..]);
        this.header_frames += this.scanner.take_header_frames();
        let Err(found) = scanned else {
            return Poll::Ready(Ok(()));
        };
        buf.set_filled(before + found.at);
        this.refused = true;
        this.exchanges.note_broken(Refusal::Codec);
        // No byte at all would mean an orderly end.
        if found.at == 0 {
            return Poll::Ready(Err(malformed()));
        }
        Poll::Ready(Ok(()))
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "malformed HTTP/2 headers")
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Http2Io<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
