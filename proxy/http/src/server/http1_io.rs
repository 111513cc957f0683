//! The socket of an HTTP/1 connection as hyper sees it: what must not be passed on never reaches hyper whole, and
//! what hyper answers by itself is answered in Envoy's words instead.
//!
//! Hyper writes by itself only when it gives a request up before the service sees it, then with an empty body. Such
//! bytes are told from a response by the time they come: while no request runs and everything before was written
//! out. A request that [`Scanner`] refuses is cut off before the byte that tells it, and ended for hyper by bytes
//! that no head may have; so there is one way for all refusals, and it keeps the order of pipelined requests.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::framing::{Found, HeadLimits, Scanner};
use super::sniff::Rewind;
use crate::config::http::ServerHeaderMode;
use crate::connection_manager::ConnectionManager;
use crate::refusal::Refusal;

/// What no head may contain, and the end of a head, without which hyper would wait for more.
const UNACCEPTABLE: &[u8] = b"\0\r\n\r\n";

/// How much of what a refused client still sends is read, in bytes: twice the largest head.
const LINGER_BYTES_MAX: usize = 256 * 1024;

/// What the requests of a connection tell its socket, and the reverse. Plain loads and stores of one thread; atomic
/// only because hyper wants the socket to be `Send`.
#[derive(Debug, Default)]
pub struct Exchanges {
    begun: AtomicU32,
    ended: AtomicU32,
    refused: AtomicU8,
    broken: AtomicU8,
}

impl Exchanges {
    /// A request begins.
    pub fn begin(&self) {
        increment(&self.begun);
    }

    /// A request is over.
    pub fn end(&self) {
        increment(&self.ended);
    }

    /// Why the connection's last request was refused before the service saw it.
    pub fn refused(&self) -> Option<Refusal> {
        Refusal::from_number(self.refused.load(Ordering::Relaxed))
    }

    /// Something behind the head of a request is malformed, for which the connection ends.
    pub fn note_broken(&self, refusal: Refusal) {
        self.broken.store(refusal as u8, Ordering::Relaxed);
    }

    /// What is malformed behind the head of a request.
    pub fn broken(&self) -> Option<Refusal> {
        Refusal::from_number(self.broken.load(Ordering::Relaxed))
    }

    fn begun(&self) -> u32 {
        self.begun.load(Ordering::Relaxed)
    }

    fn is_idle(&self) -> bool {
        self.begun() == self.ended.load(Ordering::Relaxed)
    }
}

fn increment(count: &AtomicU32) {
    count.store(
        count.load(Ordering::Relaxed).wrapping_add(1),
        Ordering::Relaxed,
    );
}

/// A connection whose requests are looked at before hyper parses them.
#[derive(Debug)]
pub struct Http1Io<I> {
    inner: Rewind<I>,
    hcm: Arc<ConnectionManager>,
    exchanges: Arc<Exchanges>,
    scanner: Scanner,
    input: Input,
    /// Requests whose responses are written out.
    written: u32,
    /// Who waits for the response before a refused request to be written out.
    waiting: Option<Waker>,
    output: Output,
    lingering: Option<Linger>,
}

#[derive(Debug, Clone, Copy)]
enum Input {
    Scanned,
    /// Refused; that many bytes of [`UNACCEPTABLE`] were given to hyper.
    Refused(usize),
    /// The body is malformed.
    Broken,
}

#[derive(Debug)]
enum Output {
    Hypers,
    /// What is left of our refusal, which stands in for hyper's.
    Refusal(Bytes),
    /// The refusal was written; nothing follows it.
    Ended,
}

#[derive(Debug)]
struct Linger {
    end: Pin<Box<Sleep>>,
    read: usize,
}

impl<I> Http1Io<I> {
    /// A connection at its beginning.
    pub fn new(inner: Rewind<I>, hcm: Arc<ConnectionManager>, exchanges: Arc<Exchanges>) -> Self {
        let limits = HeadLimits {
            bytes_max: hcm.limits.max_headers_bytes as usize,
            lines_max: hcm.limits.max_headers_count as usize,
        };
        Self {
            inner,
            hcm,
            exchanges,
            scanner: Scanner::new(limits),
            input: Input::Scanned,
            written: 0,
            waiting: None,
            output: Output::Hypers,
            lingering: None,
        }
    }

    /// No request runs, and the responses to all before are written out.
    fn is_quiet(&self) -> bool {
        self.written == self.exchanges.begun()
    }

    fn refuse(&mut self, found: Found) {
        if found.in_body {
            self.exchanges.note_broken(found.refusal);
            self.input = Input::Broken;
        } else {
            let refusal = found.refusal as u8;
            self.exchanges.refused.store(refusal, Ordering::Relaxed);
            self.input = Input::Refused(0);
        }
    }

    /// What hyper reads once the scanner has refused something.
    fn poll_refused(&mut self, cx: &Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Input::Refused(given) = self.input else {
            let error = io::Error::new(io::ErrorKind::InvalidData, "malformed request body");
            return Poll::Ready(Err(error));
        };
        if !self.is_quiet() {
            self.waiting = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let left = &UNACCEPTABLE[given..];
        let given_now = left.len().min(buf.remaining());
        buf.put_slice(&left[..given_now]);
        self.input = Input::Refused(given + given_now);
        Poll::Ready(Ok(()))
    }

    /// The refusal in place of hyper's own reply.
    fn refusal(&self, hypers: &[u8]) -> Bytes {
        let refusal = self.exchanges.refused().unwrap_or_else(|| {
            let refusal = match hypers.get(9..12) {
                Some(b"431" | b"414") => Refusal::HeadTooLarge,
                _ => Refusal::Codec,
            };
            let number = refusal as u8;
            self.exchanges.refused.store(number, Ordering::Relaxed);
            refusal
        });
        let text = refusal.text();
        let mut reply = format!(
            "HTTP/1.1 {} {}\r\ncontent-length: {}\r\n",
            refusal.status().as_str(),
            refusal.status().canonical_reason().unwrap_or_default(),
            text.len()
        )
        .into_bytes();
        if !text.is_empty() {
            reply.extend_from_slice(b"content-type: text/plain\r\n");
        }
        if let Some(date) = date_line(hypers) {
            reply.extend_from_slice(date);
        }
        if self.hcm.server_header.mode != ServerHeaderMode::PassThrough {
            reply.extend_from_slice(b"server: ");
            reply.extend_from_slice(self.hcm.server_header.name.as_bytes());
            reply.extend_from_slice(b"\r\n");
        }
        reply.extend_from_slice(b"connection: close\r\n\r\n");
        reply.extend_from_slice(text.as_bytes());
        reply.into()
    }
}

/// The line with the date, so that the clock is formatted in one place.
fn date_line(head: &[u8]) -> Option<&[u8]> {
    let lines = head.split_inclusive(|byte| *byte == b'\n');
    let mut dates = lines.filter(|line| line.starts_with(b"date: "));
    dates.next()
}

impl<I: AsyncWrite + Unpin> Http1Io<I> {
    /// Writes the refusal in the place of `total` bytes of hyper's, which begin with `hypers`.
    fn poll_write_refusal(
        &mut self,
        cx: &mut Context<'_>,
        hypers: &[u8],
        total: usize,
    ) -> Poll<io::Result<usize>> {
        if matches!(self.output, Output::Hypers) {
            self.output = Output::Refusal(self.refusal(hypers));
        }
        while let Output::Refusal(left) = &mut self.output {
            let written = ready!(Pin::new(&mut self.inner).poll_write(cx, left))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            left.advance(written);
            if left.is_empty() {
                self.output = Output::Ended;
            }
        }
        Poll::Ready(Ok(total))
    }
}

impl<I: AsyncRead + Unpin> Http1Io<I> {
    /// Reads what the client still sends, so that the refusal is not lost with the reset that unread bytes cause.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let limit = self.hcm.limits.delayed_close_timeout;
        if limit.is_zero() {
            return Poll::Ready(Ok(()));
        }
        let linger = self.lingering.get_or_insert_with(|| Linger {
            end: Box::pin(tokio::time::sleep(limit)),
            read: 0,
        });
        let mut scratch = [0; 4096];
        while linger.read < LINGER_BYTES_MAX && linger.end.as_mut().poll(cx).is_pending() {
            let mut buf = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut self.inner).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => linger.read += buf.filled().len(),
                _ => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Http1Io<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !matches!(this.input, Input::Scanned) {
            return this.poll_refused(cx, buf);
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
        let Err(found) = this.scanner.scan(&buf.filled()[before..]) else {
            return Poll::Ready(Ok(()));
        };
        buf.set_filled(before + found.at);
        this.refuse(found);
        // No byte at all would mean the end of the connection.
        if found.at == 0 {
            return this.poll_refused(cx, buf);
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Http1Io<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_quiet() {
            return self.poll_write_refusal(cx, buf, buf.len());
        }
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.is_quiet() {
            let total = bufs.iter().map(|buf| buf.len()).sum();
            let first = bufs.iter().find(|buf| !buf.is_empty());
            let hypers = first.map_or(&[][..], |buf| buf);
            return self.poll_write_refusal(cx, hypers, total);
        }
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    /// Hyper calls it when it has nothing left to write.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.inner).poll_flush(cx))?;
        if self.exchanges.is_idle() {
            self.written = self.exchanges.begun();
            if let Some(waiting) = self.waiting.take() {
                waiting.wake();
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            ready!(Pin::new(&mut self.inner).poll_shutdown(cx))?;
        }
        match self.output {
            Output::Ended => self.poll_linger(cx),
            _ => Poll::Ready(Ok(())),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
