//! One HTTP request over a connection that somebody else opened.

use anyhow::{Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::rt::{Read, Write};

/// Asks for `path`; `pod` is named in errors.
pub(super) async fn get(stream: impl Read + Write + Unpin, pod: &str, path: &str) -> Result<Bytes> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
    let request = http::Request::get(path)
        .header("host", "localhost")
        .body(Empty::<Bytes>::new())?;
    let answer = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        ensure!(status.is_success(), "{path} of pod \"{pod}\": {status}");
        Ok(body)
    };
    tokio::pin!(answer, connection);
    // The connection must be driven while the answer is awaited; it may end first.
    let mut open = true;
    loop {
        tokio::select! {
            answer = &mut answer => return answer,
            _ = &mut connection, if open => open = false,
        }
    }
}
