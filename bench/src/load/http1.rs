//! HTTP/1.1 with as little work as possible: one prepared request, and answers with a content-length.

use std::net::SocketAddr;

use anyhow::{Context, bail, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const REQUEST: &[u8] = b"GET /api/items/42?page=2 HTTP/1.1\r\nhost: backend.bench\r\n\
    user-agent: bench\r\naccept: application/json\r\n\r\n";
const BUFFER_BYTES: usize = 16 * 1024;

/// One connection.
pub(super) struct Http1 {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Http1 {
    pub(super) async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: vec![0; BUFFER_BYTES],
        })
    }

    /// Sends the request and reads its answer.
    pub(super) async fn exchange(&mut self) -> anyhow::Result<()> {
        self.stream.write_all(REQUEST).await?;
        let (mut length, mut whole) = (0, None);
        while whole.is_none_or(|whole| length < whole) {
            ensure!(length < self.buffer.len(), "the answer is too long");
            let read = self.stream.read(&mut self.buffer[length..]).await?;
            ensure!(read > 0, "the connection was closed");
            length += read;
            if whole.is_none() {
                whole = answer_length(&self.buffer[..length])?;
            }
        }
        Ok(())
    }
}

/// The length of an answer, head and body, once its head is there.
fn answer_length(bytes: &[u8]) -> anyhow::Result<Option<usize>> {
    let Some(end) = bytes.windows(4).position(|end| end == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = std::str::from_utf8(&bytes[..end]).context("the answer's head is not text")?;
    let (status, fields) = head.split_once("\r\n").unwrap_or((head, ""));
    if !status.contains(" 200") {
        bail!("the answer is \"{status}\"");
    }
    let length = fields.split("\r\n").find_map(|field| {
        let (name, value) = field.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse::<usize>().ok())?
    });
    let length = length.context("the answer has no content-length")?;
    Ok(Some(end + 4 + length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_an_answer_is_known_from_its_head() {
        let length = |text: &str| answer_length(text.as_bytes());
        assert_eq!(length("HTTP/1.1 200 OK\r\nContent-").unwrap(), None);
        assert_eq!(
            length("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n").unwrap(),
            Some(43)
        );
        assert!(length("HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n").is_err());
        assert!(length("HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
