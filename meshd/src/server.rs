//! Listeners: accept, shake hands, serve HTTP/1.1 and HTTP/2 on an axum router, drain.
//!
//! TLS is accepted here rather than by tonic, so that the identity proven in the handshake and the peer's address
//! become extensions of every request on the connection, for citadel and pilot alike.

pub mod access;
pub mod peer;

mod connections;

mod stall;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use citadel::authenticate::mtls::PeerCertificate;
use citadel::serving::ServingTls;
use http::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use mesh_runtime::backoff::Backoff;
use mesh_runtime::drain;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

use connections::{Connections, Place};
use stall::Stall;

/// A client that has not finished its handshake by then is gone or does not mean it.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How often an idle HTTP/2 connection is asked for a sign of life, and how long it may take to give one.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(10));

/// Windows of HTTP/2. hyper ends a connection whose peer sends many small frames that nobody has read yet;
/// the allowance is half of the connection's window, and discovery requests are small frames.
const CONNECTION_WINDOW_BYTES: u32 = 8 * 1024 * 1024;
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;

/// Connections of a listener unless [`Server::with_limits`] says otherwise: proxies keep theirs open.
const CONNECTIONS_MAX: usize = 20_000;

/// Requests under way on one connection of HTTP/2.
const STREAMS_MAX: u32 = 100;

/// Bytes of a request's head, over either protocol; a token has one or two thousand.
const HEAD_BYTES_MAX: u32 = 32 * 1024;

/// Pauses after `accept` failed, mostly for want of file descriptors.
const ACCEPT_RETRY: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// How connections are secured.
#[derive(Clone)]
pub enum Security {
    /// Not at all.
    Plaintext,
    /// By the configuration in force when the connection comes.
    Tls(Arc<ServingTls>),
}

/// What clients together and one connection may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections; above, the address with the most loses some.
    pub connections: usize,
    /// Bytes of HTTP/2 that a client may send before they are read, on a connection and on a stream of it.
    pub windows: (u32, u32),
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: CONNECTIONS_MAX,
            windows: (CONNECTION_WINDOW_BYTES, STREAM_WINDOW_BYTES),
        }
    }
}

/// A socket that is bound and not yet served.
pub struct Server {
    listener: TcpListener,
    security: Security,
    router: axum::Router,
    limits: Limits,
}

impl Server {
    /// Binds `address`; connections wait until [`Server::run`].
    pub async fn bind(
        address: SocketAddr,
        security: Security,
        router: axum::Router,
    ) -> io::Result<Self> {
        Ok(Self {
            listener: TcpListener::bind(address).await?,
            security,
            router,
            limits: Limits::default(),
        })
    }

    /// The same with other limits.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Where it listens.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until the drain begins; connections finish within the drain's deadline.
    pub async fn run(self, drain: drain::Watch) -> io::Result<()> {
        let mut retry = Backoff::new(ACCEPT_RETRY.0, ACCEPT_RETRY.1);
        let connections = Connections::new(self.limits.connections);
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = drain.signaled() => return Ok(()),
            };
            match accepted {
                Ok((stream, peer)) => {
                    retry.reset();
                    let Some(place) = connections.open(peer.ip()) else {
                        tracing::debug!(%peer, "no place for a further connection");
                        continue;
                    };
                    let (security, router) = (self.security.clone(), self.router.clone());
                    let (limits, watch) = (self.limits, drain.clone());
                    let serving = connection(stream, peer, security, router, limits, watch);
                    drain.spawn(while_placed(place, peer, serving));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    retry.wait().await;
                }
            }
        }
    }
}

type Ended = Result<(), Box<dyn std::error::Error + Send + Sync>>;

async fn while_placed(place: Place, peer: SocketAddr, connection: impl Future<Output = Ended>) {
    tokio::select! {
        ended = connection => if let Err(error) = ended {
            tracing::debug!(%peer, %error, "connection ended");
        },
        () = place.lost() => tracing::debug!(%peer, "connection ended for one of another address"),
    }
}

async fn connection(
    stream: TcpStream,
    address: SocketAddr,
    security: Security,
    router: axum::Router,
    limits: Limits,
    drain: drain::Watch,
) -> Ended {
    stream.set_nodelay(true)?;
    let stream = Stall::new(stream);
    match security {
        Security::Plaintext => serve(stream, address, None, router, limits, drain).await,
        Security::Tls(tls) => {
            let handshake = TlsAcceptor::from(tls.current()).accept(stream);
            let stream = tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await??;
            let certificates = stream.get_ref().1.peer_certificates();
            let peer = certificates
                .and_then(|chain| chain.first())
                .map(PeerCertificate::from_verified);
            serve(stream, address, peer, router, limits, drain).await
        }
    }
}

async fn serve<S>(
    stream: S,
    address: SocketAddr,
    peer: Option<PeerCertificate>,
    router: axum::Router,
    limits: Limits,
    drain: drain::Watch,
) -> Ended
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = router.map_request(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(address);
        if let Some(peer) = &peer {
            request.extensions_mut().insert(peer.clone());
        }
        request
    });
    let builder = http_builder(limits);
    let connection =
        builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    tokio::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = drain.signaled() => connection.as_mut().graceful_shutdown(),
    }
    connection.await
}

fn http_builder(limits: Limits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .max_buf_size(HEAD_BYTES_MAX as usize)
        .header_read_timeout(HANDSHAKE_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEPALIVE.0)
        .keep_alive_timeout(KEEPALIVE.1)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEAD_BYTES_MAX)
        .initial_connection_window_size(limits.windows.0)
        .initial_stream_window_size(limits.windows.1);
    builder
}
