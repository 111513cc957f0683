//! What is known of a downstream connection: written by the listener, read by rules, headers and logs.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::listener::Direction;

/// A downstream connection. Immutable once the filter chain runs.
#[derive(Debug)]
pub struct ConnectionInfo {
    /// Unique within the process.
    pub id: u64,
    /// Towards or from the application.
    pub direction: Direction,
    /// The client, after PROXY protocol.
    pub remote: SocketAddr,
    /// The client as the socket has it.
    pub direct_remote: SocketAddr,
    /// Where the client connected to, after original-destination restoration.
    pub local: SocketAddr,
    /// The address before redirection, if an `original_dst` listener filter restored one: where clusters of
    /// type `ORIGINAL_DST` connect to. `None` for a client that connected to the proxy itself.
    pub original_destination: Option<SocketAddr>,
    /// SNI of the ClientHello, TLS terminated here or not.
    pub server_name: Option<Box<str>>,
    /// Termination of TLS, if it happened here.
    pub tls: Option<TlsInfo>,
    /// When it was accepted.
    pub start: Instant,
    /// The filter chain's name.
    pub filter_chain: Arc<str>,
    /// `per_connection_buffer_limit_bytes` of the listener: how much of what a side sends may wait here for the other.
    pub buffer_limit_bytes: u32,
}

/// A TLS session that ended here.
#[derive(Debug, Default)]
pub struct TlsInfo {
    /// `TLSv1.3`, `TLSv1.2`.
    pub version: &'static str,
    /// IANA name of the cipher suite.
    pub cipher: Cow<'static, str>,
    /// The protocol chosen by ALPN.
    pub alpn: Option<Box<[u8]>>,
    /// The verified peer certificate; `None` if the client sent none.
    pub peer: Option<PeerCertificate>,
    /// URI SANs of our own certificate.
    pub local_uri_sans: Vec<Box<str>>,
}

/// What policies and headers need of a verified peer certificate.
#[derive(Debug, Default)]
pub struct PeerCertificate {
    /// URI SANs. A mesh certificate has exactly one, its SPIFFE identity.
    pub uri_sans: Vec<Box<str>>,
    /// DNS SANs.
    pub dns_sans: Vec<Box<str>>,
    /// Subject as RFC 2253 text.
    pub subject: Box<str>,
    /// SHA-256 of the DER, lower-case hex.
    pub sha256_hex: Box<str>,
    /// The certificate itself (XFCC `Cert`).
    pub der: Box<[u8]>,
}
