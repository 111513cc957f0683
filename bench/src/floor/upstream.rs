//! A worker's connections to the upstream: as many as there are requests at a time over HTTP/1.1, one over HTTP/2.

use std::{cell::RefCell, net::SocketAddr};

use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::{net::TcpStream, sync::OnceCell, task};
use tokio_rustls::TlsConnector;

use super::{
    Local,
    args::{Args, Speaks},
    tls,
};
use crate::certs::HOST;

/// Where requests go.
pub(super) struct Upstream {
    address: SocketAddr,
    tls: Option<TlsConnector>,
    idle: Idle,
}

enum Idle {
    Http1(RefCell<Vec<http1::SendRequest<Incoming>>>),
    Http2(OnceCell<http2::SendRequest<Incoming>>),
}

/// A connection that can take a request.
pub(super) enum Sender {
    /// Comes back with [`Upstream::put`].
    Http1(http1::SendRequest<Incoming>),
    /// Shared.
    Http2(http2::SendRequest<Incoming>),
}

impl Upstream {
    pub(super) fn new(args: &Args) -> anyhow::Result<Self> {
        let tls = match args.to {
            Speaks::H2Tls => Some(tls::connector(args.identity()?)?),
            Speaks::Http1 | Speaks::H2c => None,
        };
        let idle = match args.to {
            Speaks::Http1 => Idle::Http1(RefCell::default()),
            Speaks::H2c | Speaks::H2Tls => Idle::Http2(OnceCell::new()),
        };
        Ok(Self {
            address: args.upstream,
            tls,
            idle,
        })
    }

    /// An idle connection, or a new one.
    pub(super) async fn take(&self) -> anyhow::Result<Sender> {
        match &self.idle {
            Idle::Http1(idle) => {
                if let Some(sender) = take_ready(&mut idle.borrow_mut()) {
                    return Ok(Sender::Http1(sender));
                }
                let stream = TokioIo::new(self.connect().await?);
                let (sender, connection) = http1::handshake(stream).await?;
                task::spawn_local(connection);
                Ok(Sender::Http1(sender))
            }
            Idle::Http2(shared) => {
                let sender = shared.get_or_try_init(|| self.connect_http2()).await?;
                Ok(Sender::Http2(sender.clone()))
            }
        }
    }

    /// Gives a connection back; it is taken again once its response has been read.
    pub(super) fn put(&self, sender: http1::SendRequest<Incoming>) {
        if let Idle::Http1(idle) = &self.idle {
            idle.borrow_mut().push(sender);
        }
    }

    async fn connect(&self) -> anyhow::Result<TcpStream> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    async fn connect_http2(&self) -> anyhow::Result<http2::SendRequest<Incoming>> {
        let stream = self.connect().await?;
        let Some(tls) = &self.tls else {
            let (sender, connection) = http2::handshake(Local, TokioIo::new(stream)).await?;
            task::spawn_local(connection);
            return Ok(sender);
        };
        let stream = tls.connect(ServerName::try_from(HOST)?, stream).await?;
        let (sender, connection) = http2::handshake(Local, TokioIo::new(stream)).await?;
        task::spawn_local(connection);
        Ok(sender)
    }
}

fn take_ready(
    idle: &mut Vec<http1::SendRequest<Incoming>>,
) -> Option<http1::SendRequest<Incoming>> {
    let ready = idle.iter().rposition(http1::SendRequest::is_ready);
    if ready.is_none() {
        idle.retain(|sender| !sender.is_closed());
    }
    ready.map(|index| idle.swap_remove(index))
}
