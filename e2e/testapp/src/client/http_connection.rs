//! One connection to an HTTP server, HTTP/1 or HTTP/2, in clear text or TLS.

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use super::{Failure, tls};

/// The body of every request.
pub(super) type Body = UnsyncBoxBody<Bytes, std::convert::Infallible>;

/// Where and how to connect.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) address: String,
    pub(super) server_name: String,
    pub(super) tls: bool,
    pub(super) http2: bool,
}

/// A connection that is ready for requests.
pub(super) enum Connection {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

impl Target {
    /// What `uri` names; `connect` replaces host and port of the connection only.
    pub(super) fn new(uri: &Uri, connect: Option<&str>, http2: bool) -> Self {
        let tls = uri.scheme_str() == Some("https");
        let host = uri.host().unwrap_or("localhost");
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        Self {
            address: connect.map_or_else(|| format!("{host}:{port}"), str::to_owned),
            server_name: host.trim_matches(['[', ']']).to_owned(),
            tls,
            http2,
        }
    }

    /// Connects and shakes hands.
    pub(super) async fn connect(&self) -> Result<Connection, Failure> {
        let stream = tcp(&self.address).await?;
        if !self.tls {
            return self.handshake(stream).await;
        }
        let alpn = if self.http2 { "h2" } else { "http/1.1" };
        let connector = tls::connector(alpn).map_err(|error| Failure::at("tls", &error))?;
        let name = self.server_name.clone();
        let name = rustls_pki_types::ServerName::try_from(name)
            .map_err(|error| Failure::at("server name", &error))?;
        let stream = connector
            .connect(name, stream)
            .await
            .map_err(|error| Failure::at("tls", &error))?;
        self.handshake(stream).await
    }

    async fn handshake<S>(&self, stream: S) -> Result<Connection, Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let failed = |error: hyper::Error| Failure::at("handshake", &error);
        let io = TokioIo::new(stream);
        if self.http2 {
            let (sender, connection) = http2::Builder::new(TokioExecutor::new())
                .adaptive_window(true)
                .handshake(io)
                .await
                .map_err(failed)?;
            tokio::spawn(connection);
            return Ok(Connection::Http2(sender));
        }
        let (sender, connection) = http1::handshake(io).await.map_err(failed)?;
        tokio::spawn(connection.with_upgrades());
        Ok(Connection::Http1(sender))
    }
}

impl Connection {
    /// Whether the next request may be sent here.
    pub(super) async fn is_usable(&mut self) -> bool {
        match self {
            Self::Http1(sender) => sender.ready().await.is_ok(),
            Self::Http2(sender) => sender.ready().await.is_ok(),
        }
    }

    /// Sends `request` and returns the head of its answer.
    pub(super) async fn send(
        &mut self,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, Failure> {
        let sent = match self {
            Self::Http1(sender) => sender.send_request(request).await,
            Self::Http2(sender) => sender.send_request(request).await,
        };
        sent.map_err(|error| Failure::at("send", &error))
    }
}

/// Connects to `address`.
pub(super) async fn tcp(address: &str) -> Result<TcpStream, Failure> {
    let stream = TcpStream::connect(address)
        .await
        .map_err(|error| Failure::at("connect", &error))?;
    let _ = stream.set_nodelay(true);
    Ok(stream)
}
