//! HTTP/1 or HTTP/2 by the first bytes (RFC 9113 section 3.4).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How much is read at once, in bytes: the head of an ordinary request.
const FIRST_READ_BYTES: usize = 2048;

/// A connection whose protocol is known.
#[derive(Debug)]
pub struct Sniffed<I> {
    /// The connection, from its first byte.
    pub io: Rewind<I>,
    /// True for HTTP/2.
    pub http2: bool,
}

/// Reads until the protocol is clear; `None` if the client closes before.
pub async fn sniff<I: AsyncRead + Unpin>(mut io: I) -> Option<Sniffed<I>> {
    let mut read = Vec::with_capacity(FIRST_READ_BYTES);
    loop {
        if io.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
        let known = read.len().min(PREFACE.len());
        let matches = read[..known] == PREFACE[..known];
        if !matches || known == PREFACE.len() {
            return Some(Sniffed {
                io: Rewind {
                    prefix: read.into(),
                    inner: io,
                },
                http2: matches,
            });
        }
    }
}

/// A connection with bytes that were read ahead.
#[derive(Debug)]
pub struct Rewind<I> {
    prefix: Bytes,
    inner: I,
}

impl<I> Rewind<I> {
    /// A connection of which nothing was read.
    pub fn new(inner: I) -> Self {
        Self {
            prefix: Bytes::new(),
            inner,
        }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Rewind<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.prefix.is_empty() {
            return Pin::new(&mut self.inner).poll_read(cx, buf);
        }
        let len = self.prefix.len().min(buf.remaining());
        buf.put_slice(&self.prefix[..len]);
        self.prefix.advance(len);
        if self.prefix.is_empty() {
            self.prefix = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Rewind<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
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

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn sniffed(input: &'static [u8]) -> Option<(bool, Vec<u8>)> {
        let mut sniffed = sniff(input).await?;
        let mut all = Vec::new();
        sniffed.io.read_to_end(&mut all).await.unwrap();
        Some((sniffed.http2, all))
    }

    #[tokio::test]
    async fn the_first_bytes_tell() {
        for (input, expected) in [
            (&b""[..], None),
            (b"PRI * HT", None),
            (b"GET / HTTP/1.1\r\n", Some(false)),
            (b"PRI /a HTTP/1.1\r\n", Some(false)),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nmore", Some(true)),
        ] {
            let expected = expected.map(|http2| (http2, input.to_vec()));
            assert_eq!(sniffed(input).await, expected);
        }
    }
}
