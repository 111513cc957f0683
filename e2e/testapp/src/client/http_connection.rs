//! One connection to an HTTP server, HTTP/1 or HTTP/2, in clear text or TLS.

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use super::{ClientArgs, Failure, tls};

/// The body of every request.
pub(super) type Body = UnsyncBoxBody<Bytes, std::convert::Infallible>;

/// Where and how to connect.
#[derive(Clone)]
pub(super) struct Target {
    address: String,
    server_name: String,
    tls: Option<TlsConnector>,
    http2: bool,
}

/// A connection that is ready for requests.
pub(super) enum Connection {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

impl Target {
    /// What `uri` names; `--connect` replaces host and port of the connection only.
    pub(super) fn new(uri: &Uri, args: &ClientArgs, http2: bool) -> anyhow::Result<Self> {
        let tls = (uri.scheme_str() == Some("https")).then(|| tls::connector(args, http2));
        let host = uri.host().unwrap_or("localhost");
        let default_port = if tls.is_some() { 443 } else { 80 };
        let port = uri.port_u16().unwrap_or(default_port);
        let named = || format!("{host}:{port}");
        Ok(Self {
            address: args.connect.clone().unwrap_or_else(named),
            server_name: host.trim_matches(['[', ']']).to_owned(),
            tls: tls.transpose()?,
            http2,
        })
    }

    /// Connects and shakes hands.
    pub(super) async fn connect(&self) -> Result<Connection, Failure> {
        let stream = tcp(&self.address).await?;
        let Some(tls) = &self.tls else {
            return self.handshake(stream).await;
        };
        let name = ServerName::try_from(self.server_name.clone())
            .map_err(|error| Failure::at("server name", &error))?;
        let stream = tls
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
