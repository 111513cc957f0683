//! Calls to a neighbour: one connection for each request.
//!
//! Connections are not kept, as in the original services, so that load distribution over versions can be
//! seen even where nothing but the kernel balances.

use std::{io, time::Duration};

use axum::http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

/// A neighbour's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    host: String,
    port: u16,
}

/// A complete answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: StatusCode,
    /// The whole body.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name did not resolve, or nothing accepted the connection.
    #[error("cannot connect")]
    Connect(#[from] io::Error),
    /// The connection broke, or what came back was not HTTP.
    #[error("cannot exchange")]
    Http(#[from] hyper::Error),
    /// The path or a header cannot be sent.
    #[error("cannot build the request")]
    Request(#[from] axum::http::Error),
    /// The time is over.
    #[error("no answer in time")]
    Timeout(#[from] tokio::time::error::Elapsed),
}

impl Upstream {
    /// The neighbour at `host` and `port`.
    pub fn new(host: String, port: u16) -> Self {
        Self { host, port }
    }

    /// Host and port as they stand in the `host` header.
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// GETs `path` with `headers`; everything together may take `limit`.
    pub async fn get(
        &self,
        path: &str,
        headers: HeaderMap,
        limit: Duration,
    ) -> Result<Answer, Error> {
        timeout(limit, self.exchange(path, headers)).await?
    }

    async fn exchange(&self, path: &str, headers: HeaderMap) -> Result<Answer, Error> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        stream.set_nodelay(true)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Ends with the exchange: the sender is dropped on return, which closes the connection.
        tokio::spawn(connection);
        let mut request = Request::get(path)
            .header(header::HOST, self.authority())
            .header(header::ACCEPT, HeaderValue::from_static("application/json"))
            .body(Empty::<Bytes>::new())?;
        request.headers_mut().extend(headers);
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        Ok(Answer { status, body })
    }
}
