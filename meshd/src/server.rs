//! Listeners: accept, shake hands, serve HTTP/1.1 and HTTP/2 on an axum router, drain.
//!
//! TLS is accepted here rather than by tonic, so that the identity proven in the handshake and the peer's address
//! become extensions of every request on the connection, for citadel and pilot alike.

pub mod peer;

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

/// A client that has not finished its handshake by then is gone or does not mean it.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How often an idle HTTP/2 connection is asked for a sign of life, and how long it may take to give one.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(10));

/// Windows of HTTP/2. hyper ends a connection whose peer sends many small frames that nobody has read yet;
/// the allowance is half of the connection's window, and discovery requests are small frames.
const CONNECTION_WINDOW_BYTES: u32 = 8 * 1024 * 1024;
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;

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

/// A socket that is bound and not yet served.
pub struct Server {
    listener: TcpListener,
    security: Security,
    router: axum::Router,
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
        })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until the drain begins; connections finish within the drain's deadline.
    pub async fn run(self, drain: drain::Watch) -> io::Result<()> {
        let mut retry = Backoff::new(ACCEPT_RETRY.0, ACCEPT_RETRY.1);
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = drain.signaled() => return Ok(()),
            };
            match accepted {
                Ok((stream, peer)) => {
                    retry.reset();
                    let (security, router) = (self.security.clone(), self.router.clone());
                    let watch = drain.clone();
                    drain.spawn(async move {
                        if let Err(error) = connection(stream, peer, security, router, watch).await
                        {
                            tracing::debug!(%peer, %error, "connection ended");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    retry.wait().await;
                }
            }
        }
    }
}

async fn connection(
    stream: TcpStream,
    address: SocketAddr,
    security: Security,
    router: axum::Router,
    drain: drain::Watch,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    stream.set_nodelay(true)?;
    match security {
        Security::Plaintext => serve(stream, address, None, router, drain).await,
        Security::Tls(tls) => {
            let handshake = TlsAcceptor::from(tls.current()).accept(stream);
            let stream = tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await??;
            let certificates = stream.get_ref().1.peer_certificates();
            let peer = certificates
                .and_then(|chain| chain.first())
                .map(PeerCertificate::from_verified);
            serve(stream, address, peer, router, drain).await
        }
    }
}

async fn serve<S>(
    stream: S,
    address: SocketAddr,
    peer: Option<PeerCertificate>,
    router: axum::Router,
    drain: drain::Watch,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>>
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
    let builder = http_builder();
    let connection =
        builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    tokio::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = drain.signaled() => connection.as_mut().graceful_shutdown(),
    }
    connection.await
}

fn http_builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HANDSHAKE_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEPALIVE.0)
        .keep_alive_timeout(KEEPALIVE.1)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .initial_stream_window_size(STREAM_WINDOW_BYTES);
    builder
}
