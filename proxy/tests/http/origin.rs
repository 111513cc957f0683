//! Both ends of the wire by hand: what a test reads and writes is what the proxy wrote and reads.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{LIMIT, Proxy};

/// A server that answers what the test writes.
pub(crate) struct Origin(TcpListener);

impl Origin {
    pub(crate) async fn start() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    /// The next connection that the proxy makes.
    pub(crate) async fn accept(&self) -> Peer {
        let accepted = tokio::time::timeout(LIMIT, self.0.accept());
        let (stream, _) = accepted.await.expect("a connection").unwrap();
        Peer::new(stream)
    }
}

/// One end of a connection.
pub(crate) struct Peer {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Peer {
    pub(crate) fn new(stream: TcpStream) -> Self {
        let read = Vec::new();
        Self { stream, read }
    }

    /// A client of the proxy.
    pub(crate) async fn client(proxy: &Proxy) -> Self {
        Self::new(proxy.connect("in").await)
    }

    pub(crate) async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Reads a head: its first line and, in the order of their names, the headers that delimit the message.
    pub(crate) async fn head(&mut self) -> String {
        let end = loop {
            let end = self.read.windows(4).position(|four| four == b"\r\n\r\n");
            if let Some(end) = end {
                break end + 4;
            }
            assert!(self.fill().await > 0, "a head: {:?}", self.text());
        };
        let head: Vec<u8> = self.read.drain(..end).collect();
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let mut kept = vec![lines.next().unwrap()];
        let framing = [
            "connection",
            "content-length",
            "keep-alive",
            "te",
            "transfer-encoding",
            "upgrade",
        ];
        let mut headers: Vec<_> = lines
            .filter(|line| framing.contains(&line.split(':').next().unwrap()))
            .collect();
        headers.sort_unstable();
        kept.append(&mut headers);
        kept.join("\n")
    }

    /// Reads so many bytes.
    pub(crate) async fn take(&mut self, length: usize) -> String {
        while self.read.len() < length {
            assert!(self.fill().await > 0, "{length} bytes: {:?}", self.text());
        }
        let bytes: Vec<u8> = self.read.drain(..length).collect();
        String::from_utf8(bytes).unwrap()
    }

    /// Reads what still comes before the connection ends.
    pub(crate) async fn rest(&mut self) -> String {
        while self.fill().await > 0 {}
        self.text()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.read).into_owned()
    }

    /// A reset is an end like any other.
    async fn fill(&mut self) -> usize {
        let reading = tokio::time::timeout(LIMIT, self.stream.read_buf(&mut self.read));
        reading.await.expect("bytes, or an end").unwrap_or(0)
    }
}
