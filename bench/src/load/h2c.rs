//! HTTP/2 in clear text: every lane is a stream at a time of one connection.

use std::net::SocketAddr;

use anyhow::ensure;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

/// A handle on the connection.
#[derive(Clone)]
pub(super) struct H2c {
    sender: SendRequest<Empty<Bytes>>,
}

impl H2c {
    pub(super) async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = Builder::new(TokioExecutor::new())
            .handshake(TokioIo::new(stream))
            .await?;
        tokio::spawn(connection);
        Ok(Self { sender })
    }

    /// Sends a request and reads its answer.
    pub(super) async fn exchange(&mut self) -> anyhow::Result<()> {
        let request = Request::post("http://backend.bench/bench.v1.Items/Get")
            .header("te", "trailers")
            .body(Empty::new())?;
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        let status = response.status();
        ensure!(status == StatusCode::OK, "the answer is {status}");
        response.into_body().collect().await?;
        Ok(())
    }
}
