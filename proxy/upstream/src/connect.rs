//! Connecting to an endpoint: socket, source address, TLS, all within the cluster's `connect_timeout`.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use tokio::net::{TcpSocket, TcpStream};

use super::circuit_breaker::{Overflow, Permit, Resource};
use crate::config::cluster::{Cluster, TcpKeepalive};
use crate::config::connection::TlsInfo;
use crate::shared::TransportSocket;
use crate::telemetry::stats::Gauge;
use crate::telemetry::stream_info::UpstreamConnection;
use crate::tls::client::{TlsOverrides, UpstreamIo};

/// A connection to an endpoint.
#[derive(Debug)]
pub struct UpstreamStream {
    /// The bytes.
    pub io: UpstreamIo,
    /// What is known about the connection.
    pub facts: Rc<ConnectionFacts>,
}

/// What is known about an upstream connection. Holds its place in the circuit breaker and in the count of
/// active connections, so whoever keeps the connection alive keeps this.
#[derive(Debug)]
pub struct ConnectionFacts {
    /// For records of streams, which may outlive the connection.
    pub info: Rc<UpstreamConnection>,
    pub(super) _permit: Permit,
    pub(super) _active: Gauge,
}

/// Why there is no connection. Cloned to every request that waited for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// A circuit breaker is open (flag UO).
    #[error(transparent)]
    Overflow(#[from] Overflow),
    /// `connect_timeout` passed (flag UF).
    #[error("connection timeout")]
    Timeout,
    /// The connection was refused or broke (flag UF).
    #[error("{0}")]
    Socket(Arc<str>),
    /// TLS failed, the peer's identity included (flag UF).
    #[error("{0}")]
    Tls(Arc<str>),
    /// HTTP could not be started on the connection (flag UF).
    #[error("{0}")]
    Protocol(Arc<str>),
}

impl ConnectError {
    /// True if a circuit breaker refused: nothing was tried.
    pub fn is_overflow(&self) -> bool {
        matches!(self, Self::Overflow(_))
    }

    /// The breaker that refused.
    pub fn overflow(&self) -> Option<Resource> {
        match self {
            Self::Overflow(Overflow(resource)) => Some(*resource),
            _ => None,
        }
    }

    /// The text of `%UPSTREAM_TRANSPORT_FAILURE_REASON%` and of the local reply.
    pub fn transport_failure_reason(&self) -> String {
        match self {
            Self::Overflow(_) => String::new(),
            Self::Socket(reason) => format!("delayed connect error: {reason}"),
            Self::Tls(reason) => format!("TLS_error:|{reason}:TLS_error_end"),
            Self::Timeout | Self::Protocol(_) => self.to_string(),
        }
    }
}

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        // Envoy prints the operating system's own text.
        match error.raw_os_error() {
            Some(number) => {
                let text = error.to_string();
                let suffix = format!(" (os error {number})");
                Self::Socket(text.strip_suffix(&suffix).unwrap_or(&text).into())
            }
            None => Self::Socket(error.to_string().into()),
        }
    }
}

/// What a pool wants of TLS.
#[derive(Debug, Default, Clone, Copy)]
pub struct TlsWishes<'a> {
    /// SNI in place of the context's (`auto_sni`, the endpoint's name for `auto_host_sni`).
    pub server_name: Option<&'a str>,
    /// ALPN if the context has none.
    pub alpn_fallback: &'a [&'a [u8]],
}

/// Makes the connection and, where the transport socket asks for it, the TLS session.
pub async fn connect(
    cluster: &Cluster,
    remote: SocketAddr,
    transport: &TransportSocket,
    wishes: &TlsWishes<'_>,
) -> Result<(UpstreamIo, SocketAddr, Option<TlsInfo>), ConnectError> {
    let work = async {
        let socket = connect_tcp(cluster, remote).await?;
        let local = socket.local_addr()?;
        match transport {
            TransportSocket::Raw => Ok((UpstreamIo::Plain(socket), local, None)),
            TransportSocket::Tls(tls) => {
                let fallback = tls.alpn().is_empty() && !wishes.alpn_fallback.is_empty();
                let overrides = TlsOverrides {
                    server_name: wishes.server_name,
                    alpn: fallback.then_some(wishes.alpn_fallback),
                };
                let connected = tls.connect(socket, overrides).await;
                let (stream, peer) =
                    connected.map_err(|error| ConnectError::Tls(error.to_string().into()))?;
                Ok((UpstreamIo::Tls(stream), local, Some(peer)))
            }
        }
    };
    let limited = tokio::time::timeout(cluster.connect_timeout, work).await;
    limited.unwrap_or(Err(ConnectError::Timeout))
}

async fn connect_tcp(cluster: &Cluster, remote: SocketAddr) -> io::Result<TcpStream> {
    let socket = match remote {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_nodelay(true)?;
    super::mark::mark(&socket)?;
    if let Some(keepalive) = &cluster.tcp_keepalive {
        socket2::SockRef::from(&socket).set_tcp_keepalive(&self::keepalive(keepalive))?;
    }
    if let Some(local) = cluster.bind_address_for(remote.ip()) {
        socket.bind(local)?;
    }
    socket.connect(remote).await
}

/// The options of a socket.
pub fn keepalive(keepalive: &TcpKeepalive) -> socket2::TcpKeepalive {
    let mut options = socket2::TcpKeepalive::new();
    if let Some(time) = keepalive.time {
        options = options.with_time(time);
    }
    if let Some(interval) = keepalive.interval {
        options = options.with_interval(interval);
    }
    if let Some(probes) = keepalive.probes {
        options = options.with_retries(probes);
    }
    options
}
