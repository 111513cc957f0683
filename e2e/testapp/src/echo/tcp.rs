//! Plain TCP: what comes in goes out, with or without a greeting before.

use tokio::{
    io::{AsyncWriteExt, copy},
    net::TcpStream,
};

/// Sends everything back until the peer has ended its side.
pub(super) async fn echo(mut stream: TcpStream) {
    let (mut read, mut write) = stream.split();
    if copy(&mut read, &mut write).await.is_ok() {
        let _ = write.shutdown().await;
    }
}

/// Speaks first, then echoes.
pub(super) async fn greet(mut stream: TcpStream, greeting: String) {
    if stream.write_all(greeting.as_bytes()).await.is_ok() {
        echo(stream).await;
    }
}
