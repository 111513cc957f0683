//! HTTP/1.1 with a 103 (RFC 8297) before each answer.
//!
//! Written on the socket, since hyper's server sends no informational answers of the application's choice.

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

const ANSWER: &[u8] = b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n\
    HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 6\r\n\r\nhinted";
const HEAD_LINES_MAX: usize = 200;

/// Answers requests without bodies until the peer ends.
pub(super) async fn connection(mut stream: TcpStream) {
    let (read, mut write) = stream.split();
    let mut lines = BufReader::new(read).lines();
    for _ in 0..HEAD_LINES_MAX {
        match lines.next_line().await {
            Ok(Some(line)) if line.is_empty() => {
                if write.write_all(ANSWER).await.is_err() {
                    return;
                }
            }
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return,
        }
    }
}
