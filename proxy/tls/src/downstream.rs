//! The byte stream of a downstream connection, as the code after the listener sees it.
//!
//! Listener filters read the first bytes from the socket; [`Prefixed`] gives them back to whoever reads next.
//! Reading and replaying costs one system call less than `MSG_PEEK` followed by a read of the same bytes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::MaybeTls;

/// A downstream connection after the listener's work: bytes of the application protocol. What is plain may be encrypted
/// for someone behind us.
pub type Downstream = MaybeTls<Prefixed, TlsStream<Prefixed>>;

impl Downstream {
    /// The socket underneath.
    pub fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(io) => io.socket(),
            Self::Tls(tls) => tls.get_ref().0.socket(),
        }
    }
}

/// A socket with bytes that were read from it ahead of time.
#[derive(Debug)]
pub struct Prefixed {
    /// Read before anything else; released as soon as it is empty.
    prefix: Option<BytesMut>,
    socket: TcpStream,
}

impl Prefixed {
    /// `socket`, of which `prefix` was read already.
    pub fn new(prefix: BytesMut, socket: TcpStream) -> Self {
        Self {
            prefix: (!prefix.is_empty()).then_some(prefix),
            socket,
        }
    }

    /// The socket underneath.
    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// The bytes read ahead that nobody has taken yet, and the socket.
    pub fn into_parts(self) -> (BytesMut, TcpStream) {
        (self.prefix.unwrap_or_default(), self.socket)
    }
}

impl AsyncRead for Prefixed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(prefix) = &mut self.prefix else {
            return Pin::new(&mut self.socket).poll_read(cx, buf);
        };
        let taken = prefix.len().min(buf.remaining());
        buf.put_slice(&prefix[..taken]);
        prefix.advance(taken);
        if prefix.is_empty() {
            self.prefix = None;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Prefixed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn bytes_read_ahead_come_first() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (server, _) = listener.accept().await.unwrap();
        client.write_all(b" world").await.unwrap();
        client.shutdown().await.unwrap();
        let mut stream = Downstream::Plain(Prefixed::new(BytesMut::from("hello"), server));
        let mut first = [0; 2];
        stream.read_exact(&mut first).await.unwrap();
        let mut rest = String::new();
        stream.read_to_string(&mut rest).await.unwrap();
        assert_eq!((&first, rest.as_str()), (b"he", "llo world"));
    }
}
