//! Bytes arrive exactly, in order and counted, and each side's end reaches the other.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// More than what goes through the buffer, so that both ways of moving take part.
const BULK_BYTES: usize = 3 * 1024 * 1024 + 17;

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap());
    let (client, accepted) = tokio::join!(client, listener.accept());
    (client.unwrap(), accepted.unwrap().0)
}

fn pattern(seed: u64, length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| random.u8(..))
        .take(length)
        .collect()
}

async fn send_and_receive(mut peer: TcpStream, bytes: Vec<u8>) -> Vec<u8> {
    let (mut read, mut write) = peer.split();
    let mut received = Vec::new();
    let sending = async {
        write.write_all(&bytes).await.unwrap();
        write.shutdown().await.unwrap();
    };
    let receiving = async { read.read_to_end(&mut received).await.unwrap() };
    tokio::join!(sending, receiving);
    received
}

#[tokio::test]
async fn plain_sockets_carry_bulk_both_ways_byte_for_byte() {
    let ((client, down), (up, server)) = (pair().await, pair().await);
    let (there, back) = (pattern(1, BULK_BYTES), pattern(2, BULK_BYTES));
    let (sent, received, last) = (Cell::new(0), Cell::new(0), Cell::new(Instant::now()));
    let copy = sockets(
        &down,
        &up,
        b"prefix",
        Progress::new(&sent, &last),
        Progress::new(&received, &last),
    );
    let client = send_and_receive(client, there.clone());
    let server = send_and_receive(server, back.clone());
    let (copied, at_client, at_server) = tokio::join!(copy, client, server);
    copied.unwrap();
    assert!(at_client == back, "bytes to the client differ");
    assert!(
        at_server == [&b"prefix"[..], &there].concat(),
        "bytes to the server differ"
    );
    assert_eq!(sent.get(), 6 + BULK_BYTES as u64);
    assert_eq!(received.get(), BULK_BYTES as u64);
}

#[tokio::test]
async fn streams_carry_bulk_both_ways_byte_for_byte() {
    let ((client, mut down), (mut up, server)) = (pair().await, pair().await);
    let (there, back) = (pattern(3, BULK_BYTES), pattern(4, BULK_BYTES));
    let (sent, received, last) = (Cell::new(0), Cell::new(0), Cell::new(Instant::now()));
    let copy = streams(
        &mut down,
        &mut up,
        Progress::new(&sent, &last),
        Progress::new(&received, &last),
    );
    let client = send_and_receive(client, there.clone());
    let server = send_and_receive(server, back.clone());
    let (copied, at_client, at_server) = tokio::join!(copy, client, server);
    copied.unwrap();
    assert!(at_client == back && at_server == there, "bytes differ");
    assert_eq!(
        (sent.get(), received.get()),
        (BULK_BYTES as u64, BULK_BYTES as u64)
    );
}

#[tokio::test]
async fn one_side_may_finish_long_before_the_other() {
    let ((mut client, down), (up, mut server)) = (pair().await, pair().await);
    let (sent, received, last) = (Cell::new(0), Cell::new(0), Cell::new(Instant::now()));
    let copy = sockets(
        &down,
        &up,
        b"",
        Progress::new(&sent, &last),
        Progress::new(&received, &last),
    );
    let talk = async {
        client.shutdown().await.unwrap();
        assert_eq!(server.read(&mut [0; 1]).await.unwrap(), 0);
        server.write_all(b"late").await.unwrap();
        let mut answer = [0; 4];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"late");
        drop(server);
        assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
    };
    let (copied, ()) = tokio::join!(copy, talk);
    copied.unwrap();
    assert_eq!((sent.get(), received.get()), (0, 4));
}

#[tokio::test]
async fn idleness_is_counted_from_the_last_movement() {
    let last = Cell::new(Instant::now() - Duration::from_secs(60));
    // Over already: returns without sleeping.
    idle(&last, Duration::from_secs(30)).await;
}

#[tokio::test]
async fn limited_sockets_carry_bulk_byte_for_byte() {
    let ((client, down), (up, server)) = (pair().await, pair().await);
    let there = pattern(5, BULK_BYTES);
    let (sent, received, last) = (Cell::new(0), Cell::new(0), Cell::new(Instant::now()));
    let copy = sockets(
        &down,
        &up,
        b"",
        Progress::new(&sent, &last).holding(5000),
        Progress::new(&received, &last).holding(5000),
    );
    let client = send_and_receive(client, there.clone());
    let server = send_and_receive(server, Vec::new());
    let (copied, _, at_server) = tokio::join!(copy, client, server);
    copied.unwrap();
    assert!(at_server == there, "bytes differ");
}

#[test]
fn a_pipe_takes_no_more_than_the_limit() {
    let capacity = |bytes_max| Pipe::new(bytes_max).unwrap().capacity;
    assert_eq!(capacity(5000), 5000);
    assert!(capacity(usize::MAX) >= BUFFER_BYTES);
}

/// Has some bytes to read, and remembers the largest room that was offered for them.
struct Source {
    left: usize,
    largest_read: usize,
}

impl AsyncRead for Source {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.largest_read = self.largest_read.max(buf.remaining());
        let bytes = self.left.min(buf.remaining());
        buf.put_slice(&vec![0; bytes]);
        self.left -= bytes;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Source {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_direction_of_streams_reads_no_more_than_it_may_hold() {
    let source = || Source {
        left: 100_000,
        largest_read: 0,
    };
    let (mut a, mut b) = (source(), source());
    let (sent, received, last) = (Cell::new(0), Cell::new(0), Cell::new(Instant::now()));
    let there = Progress::new(&sent, &last).holding(3000);
    let back = Progress::new(&received, &last);
    streams(&mut a, &mut b, there, back).await.unwrap();
    assert_eq!((a.largest_read, b.largest_read), (3000, BUFFER_BYTES));
    assert_eq!((sent.get(), received.get()), (100_000, 100_000));
}
