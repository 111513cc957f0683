//! Clients over HTTP/1.

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::fixture::Fixture;
use crate::harness::LIMIT;

/// One request on a connection of its own: status and body.
pub(crate) async fn request(stream: TcpStream, path: &str, host: &str) -> (u16, String) {
    let answering = async {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(connection.with_upgrades());
        let request = Request::get(path).header("host", host);
        let request = match path.ends_with("/upgrade") {
            true => request
                .header("connection", "upgrade")
                .header("upgrade", "websocket"),
            false => request,
        };
        let response = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap());
        let response = response.await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await;
        connection.abort();
        let body = body.map(|body| body.to_bytes()).unwrap_or_default();
        (status, String::from_utf8(body.to_vec()).unwrap())
    };
    tokio::time::timeout(LIMIT, answering)
        .await
        .expect("a response")
}

impl Fixture {
    /// The status of a request to listener `http`.
    pub(crate) async fn get(&self, path: &str) -> u16 {
        let stream = self.proxy.connect("http").await;
        request(stream, path, "a").await.0
    }

    /// Begins a request that is never answered; it ends when the connection is dropped.
    pub(crate) async fn begin(&self, path: &str) -> TcpStream {
        use tokio::io::AsyncWriteExt;
        let mut stream = self.proxy.connect("http").await;
        let head = format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    }
}
