//! `echo`: one server for every protocol, steered by the request itself.
//!
//! | port flag | protocol |
//! |---|---|
//! | `--http`, `--grpc` | HTTP/1.0, HTTP/1.1, h2c, gRPC, WebSocket, all on either |
//! | `--https` | the same over TLS with a certificate of its own |
//! | `--tcp` | bytes come back |
//! | `--server-first` | a greeting, then bytes come back |
//! | `--early-hints` | HTTP/1.1 with 103 before each answer |
//!
//! What a request may ask for is in [`knobs`].

pub mod counts;
mod early_hints;
mod grpc_service;
mod http_service;
pub mod knobs;
mod tcp;
mod tls;

use std::{net::SocketAddr, sync::Arc};

use clap::Args;
use tokio::{net::TcpListener, task::JoinSet};

use self::{counts::Counts, knobs::Control};
use crate::serve;

/// Which ports to serve and who to be.
#[derive(Debug, Clone, Default, Args)]
pub struct EchoArgs {
    /// Ports for HTTP in clear text, h2c and gRPC included.
    #[arg(long, value_delimiter = ',')]
    pub http: Vec<u16>,
    /// The same under the name that readers expect.
    #[arg(long, value_delimiter = ',')]
    pub grpc: Vec<u16>,
    /// Ports for HTTP over TLS.
    #[arg(long, value_delimiter = ',')]
    pub https: Vec<u16>,
    /// Ports where bytes come back.
    #[arg(long, value_delimiter = ',')]
    pub tcp: Vec<u16>,
    /// Ports where the server speaks first.
    #[arg(long, value_delimiter = ',')]
    pub server_first: Vec<u16>,
    /// Ports where each answer is preceded by 103.
    #[arg(long, value_delimiter = ',')]
    pub early_hints: Vec<u16>,
    /// The version to show.
    #[arg(long, env = "VERSION", default_value = "v1")]
    pub version: String,
    /// The pod's name to show.
    #[arg(long, env = "HOSTNAME", default_value = "localhost")]
    pub pod: String,
}

/// The state that all ports share.
#[derive(Debug)]
pub struct Echo {
    pod: String,
    version: String,
    counts: Counts,
    control: Control,
}

/// The addresses that are served, in the order of the flags.
#[derive(Debug, Default)]
pub struct Addresses {
    /// HTTP and gRPC.
    pub http: Vec<SocketAddr>,
    /// HTTP over TLS.
    pub https: Vec<SocketAddr>,
    /// Bytes.
    pub tcp: Vec<SocketAddr>,
    /// Greeting and bytes.
    pub server_first: Vec<SocketAddr>,
    /// 103 and answer.
    pub early_hints: Vec<SocketAddr>,
}

/// Serves until told to end.
pub async fn run(args: &EchoArgs) -> anyhow::Result<()> {
    let (_servers, _) = start(args).await?;
    serve::end_signal()?.await;
    Ok(())
}

/// Starts all ports; they end with the returned set.
pub async fn start(args: &EchoArgs) -> anyhow::Result<(JoinSet<()>, Addresses)> {
    let echo = Arc::new(Echo {
        pod: args.pod.clone(),
        version: args.version.clone(),
        counts: Counts::default(),
        control: Control::default(),
    });
    let mut servers = JoinSet::new();
    let mut addresses = Addresses::default();
    for port in args.http.iter().chain(&args.grpc) {
        let listener = bind(*port, &mut addresses.http).await?;
        let echo = echo.clone();
        servers.spawn(serve::accept(listener, move |stream| {
            http_service::connection(echo.clone(), stream)
        }));
    }
    for port in &args.https {
        let listener = bind(*port, &mut addresses.https).await?;
        let (echo, acceptor) = (echo.clone(), tls::acceptor()?);
        servers.spawn(serve::accept(listener, move |stream| {
            tls::connection(echo.clone(), acceptor.clone(), stream)
        }));
    }
    for port in &args.tcp {
        let listener = bind(*port, &mut addresses.tcp).await?;
        servers.spawn(serve::accept(listener, tcp::echo));
    }
    for port in &args.server_first {
        let listener = bind(*port, &mut addresses.server_first).await?;
        let greeting = format!("{} {}\n", echo.version, echo.pod);
        servers.spawn(serve::accept(listener, move |stream| {
            tcp::greet(stream, greeting.clone())
        }));
    }
    for port in &args.early_hints {
        let listener = bind(*port, &mut addresses.early_hints).await?;
        servers.spawn(serve::accept(listener, early_hints::connection));
    }
    Ok((servers, addresses))
}

async fn bind(port: u16, addresses: &mut Vec<SocketAddr>) -> anyhow::Result<TcpListener> {
    let listener = serve::listen(port).await?;
    addresses.push(listener.local_addr()?);
    Ok(listener)
}
