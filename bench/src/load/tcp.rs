//! TCP load: bytes through one connection, and connections of one byte.

use std::{
    cell::Cell,
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Bounds a run in a namespace with few free ports.
const CONNECTIONS_MAX: u64 = 20_000;
const CHUNK_BYTES: usize = 256 * 1024;

/// Pushes bytes for `length` and returns how many arrived at the sink.
pub fn bulk(address: SocketAddr, length: Duration) -> anyhow::Result<u64> {
    super::run(async {
        let mut stream = TcpStream::connect(address).await?;
        let (chunk, start) = (vec![b'b'; CHUNK_BYTES], Instant::now());
        while start.elapsed() < length {
            stream.write_all(&chunk).await?;
        }
        stream.shutdown().await?;
        Ok(stream.read_u64().await?)
    })
}

/// Opens connections one after another on `lanes` lanes, for `length`, and returns how many.
pub fn new_connections(address: SocketAddr, lanes: usize, length: Duration) -> anyhow::Result<u64> {
    super::run(async {
        let (done, start) = (Rc::new(Cell::new(0)), Instant::now());
        let workers = (0..lanes).map(|_| {
            let done = done.clone();
            async move {
                while start.elapsed() < length && done.get() < CONNECTIONS_MAX {
                    one(address).await?;
                    done.set(done.get() + 1);
                }
                Ok(())
            }
        });
        super::join(workers).await?;
        Ok(done.get())
    })
}

async fn one(address: SocketAddr) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    stream.write_u8(1).await?;
    stream.read_u8().await?;
    // Waits for the other side's end, so that it and not this one keeps the port for a while.
    let _: Result<u8, _> = stream.read_u8().await;
    SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::responder::{Speaks, start};

    #[test]
    fn bytes_and_connections_arrive() {
        let length = Duration::from_millis(100);
        let sink = start(Speaks::Sink).unwrap();
        assert!(bulk(sink, length).unwrap() >= CHUNK_BYTES as u64);
        let one_byte = start(Speaks::OneByte).unwrap();
        assert!(new_connections(one_byte, 2, length).unwrap() > 2);
    }
}
