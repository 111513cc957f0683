//! Runs a listener's filters: what is learned of a connection before its filter chain is chosen.

use std::io;
use std::net::SocketAddr;

use bytes::{Buf, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::http_inspector::{self, Protocol};
use super::original_dst::original_dst;
use super::proxy_protocol::{self, Header};
use super::tls_inspector::{ClientHello, Inspection, TlsInspector};
use crate::config::filter_chain::{ConnectionFacts, Transport};
use crate::config::listener::{Listener, ListenerFilterKind};

/// How much to read at once. A ClientHello with a post-quantum key share fits.
const READ_BYTES: usize = 4096;

/// A connection between accept and filter chain.
pub struct Fresh {
    /// The socket.
    pub socket: TcpStream,
    /// Bytes read ahead.
    pub prefix: BytesMut,
    /// The client, after PROXY protocol.
    pub remote: SocketAddr,
    /// The client as the socket has it.
    pub direct_remote: SocketAddr,
    /// Where it connected to, as far as known by now.
    pub local: SocketAddr,
    /// The restored destination, if there was a redirection.
    pub original_destination: Option<SocketAddr>,
    /// What the first bytes said.
    pub first_bytes: FirstBytes,
}

/// What the inspectors found.
#[derive(Default)]
pub enum FirstBytes {
    /// Nobody has looked.
    #[default]
    Unknown,
    /// Not TLS.
    Raw,
    /// Not TLS, and HTTP (or, `NotHttp`, not).
    Http(Protocol, [Box<str>; 1]),
    /// A ClientHello, of which the parser took this many bytes.
    Tls(Box<ClientHello>, usize),
}

/// Why a connection ends before it has a filter chain.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// `listener_filters_timeout` passed.
    #[error("listener filter timeout")]
    Timeout,
    /// The client went away.
    #[error("closed before its first bytes")]
    Closed,
    /// The socket failed.
    #[error("socket error: {0}")]
    Socket(#[from] io::Error),
    /// The PROXY header is missing or broken.
    #[error("invalid PROXY protocol header")]
    ProxyProtocol,
}

impl Fresh {
    /// A connection that was just accepted.
    pub fn new(socket: TcpStream, peer: SocketAddr) -> io::Result<Self> {
        let local = socket.local_addr()?;
        Ok(Self {
            socket,
            prefix: BytesMut::new(),
            remote: peer,
            direct_remote: peer,
            local,
            original_destination: None,
            first_bytes: FirstBytes::Unknown,
        })
    }

    /// Runs the filters of a listener within its timeout.
    pub async fn inspect(&mut self, listener: &Listener) -> Result<(), Refused> {
        if listener.listener_filters.is_empty() {
            return Ok(());
        }
        let Some(timeout) = listener.listener_filters_timeout else {
            return self.run(listener).await;
        };
        match tokio::time::timeout(timeout, self.run(listener)).await {
            Ok(result) => result,
            // A server-first protocol: nothing can be learned from bytes that do not come.
            Err(_) if listener.continue_on_listener_filters_timeout => Ok(()),
            Err(_) => Err(Refused::Timeout),
        }
    }

    async fn run(&mut self, listener: &Listener) -> Result<(), Refused> {
        for filter in &listener.listener_filters {
            let port = self.local.port();
            if filter
                .disabled
                .as_ref()
                .is_some_and(|disabled| disabled.matches(port))
            {
                continue;
            }
            match filter.kind {
                ListenerFilterKind::OriginalDst => self.restore_destination(listener),
                ListenerFilterKind::TlsInspector => self.inspect_tls().await?,
                ListenerFilterKind::HttpInspector => self.inspect_http().await?,
                ListenerFilterKind::ProxyProtocol { optional } => {
                    self.inspect_proxy_protocol(optional).await?;
                }
            }
        }
        Ok(())
    }

    fn restore_destination(&mut self, listener: &Listener) {
        let original = original_dst(&self.socket, listener.address, listener.bind.transparent);
        if let Some(original) = original {
            self.local = original;
            self.original_destination = Some(original);
        }
    }

    async fn inspect_tls(&mut self) -> Result<(), Refused> {
        if !matches!(self.first_bytes, FirstBytes::Unknown) {
            return Ok(());
        }
        let mut inspector = TlsInspector::default();
        self.first_bytes = loop {
            match inspector.inspect(&self.prefix) {
                Inspection::Tls(hello) => break FirstBytes::Tls(hello, inspector.fed()),
                Inspection::Raw => break FirstBytes::Raw,
                Inspection::More if self.read().await? => {}
                Inspection::More => break FirstBytes::Raw,
            }
        };
        Ok(())
    }

    async fn inspect_http(&mut self) -> Result<(), Refused> {
        if matches!(self.first_bytes, FirstBytes::Tls(..) | FirstBytes::Http(..)) {
            return Ok(());
        }
        let protocol = loop {
            match http_inspector::inspect(&self.prefix) {
                Some(protocol) => break protocol,
                None if self.read().await? => {}
                None => break Protocol::NotHttp,
            }
        };
        let name = protocol.alpn().unwrap_or_default();
        self.first_bytes = FirstBytes::Http(protocol, [name.into()]);
        Ok(())
    }

    async fn inspect_proxy_protocol(&mut self, optional: bool) -> Result<(), Refused> {
        loop {
            match proxy_protocol::inspect(&self.prefix) {
                Header::Found { length, addresses } => {
                    self.prefix.advance(length);
                    if let Some((source, destination)) = addresses {
                        self.remote = source;
                        self.local = destination;
                    }
                    return Ok(());
                }
                Header::Absent if optional => return Ok(()),
                Header::More if self.read().await? => {}
                Header::Absent | Header::Invalid | Header::More => {
                    return Err(Refused::ProxyProtocol);
                }
            }
        }
    }

    /// Reads some more. False if the client will send no more, but has sent something.
    async fn read(&mut self) -> Result<bool, Refused> {
        self.prefix.reserve(READ_BYTES);
        let read = self.socket.read_buf(&mut self.prefix).await?;
        if read == 0 && self.prefix.is_empty() {
            return Err(Refused::Closed);
        }
        Ok(read > 0)
    }

    /// SNI.
    pub fn server_name(&self) -> Option<&str> {
        match &self.first_bytes {
            FirstBytes::Tls(hello, _) => hello.server_name.as_deref(),
            _ => None,
        }
    }

    /// What filter chains are matched with.
    pub fn facts(&self) -> ConnectionFacts<'_> {
        let (transport, application_protocols): (_, &[Box<str>]) = match &self.first_bytes {
            FirstBytes::Unknown | FirstBytes::Raw => (Transport::RawBuffer, &[]),
            FirstBytes::Http(Protocol::NotHttp, _) => (Transport::RawBuffer, &[]),
            FirstBytes::Http(_, names) => (Transport::RawBuffer, names),
            FirstBytes::Tls(hello, _) => (Transport::Tls, &hello.alpn),
        };
        ConnectionFacts {
            destination: self.local,
            direct_source: self.direct_remote.ip(),
            source: self.remote,
            server_name: self.server_name(),
            transport,
            application_protocols,
        }
    }
}
