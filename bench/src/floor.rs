//! The floor: a proxy on tokio and hyper, with a worker for each core, that does nothing but forward. Whatever another
//! proxy on the same libraries costs beyond it is the price of what that proxy does.
//!
//! No timeouts, no limits, no metrics, no log. Not for use.

pub mod args;
mod forward;
mod tls;
mod upstream;

use std::{net::SocketAddr, rc::Rc, thread};

use anyhow::Context;
use hyper::{
    rt::Executor,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use socket2::{Domain, Socket, Type};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    task::{self, LocalSet},
};
use tokio_rustls::TlsAcceptor;

use self::{
    args::{Args, Speaks},
    upstream::Upstream,
};

const BACKLOG: i32 = 4096;
/// As the proxies that it is compared with.
const STREAMS_MAX: u32 = 1000;

/// Serves to the end of the process.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let threads: Vec<_> = (0..workers)
        .map(|_| {
            let args = args.clone();
            thread::spawn(move || worker(&args))
        })
        .collect();
    for thread in threads {
        thread.join().expect("a worker does not panic")?;
    }
    Ok(())
}

fn worker(args: &Args) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, accept(args))
}

async fn accept(args: &Args) -> anyhow::Result<()> {
    let listener = listen(args.listen)?;
    let upstream = Rc::new(Upstream::new(args)?);
    let acceptor = match args.from {
        Speaks::H2Tls => Some(tls::acceptor(args.identity()?)?),
        Speaks::Http1 | Speaks::H2c => None,
    };
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        // The peer's end is the normal end.
        drop(task::spawn_local(serve(
            stream,
            args.from,
            acceptor.clone(),
            upstream.clone(),
        )));
    }
}

async fn serve(
    stream: TcpStream,
    from: Speaks,
    acceptor: Option<TlsAcceptor>,
    upstream: Rc<Upstream>,
) -> anyhow::Result<()> {
    match (from, acceptor) {
        (Speaks::Http1, _) => {
            let forward = service_fn(|request| forward::forward(request, &upstream));
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), forward);
            Ok(connection.await?)
        }
        (Speaks::H2Tls, Some(acceptor)) => http2(acceptor.accept(stream).await?, &upstream).await,
        (Speaks::H2c | Speaks::H2Tls, _) => http2(stream, &upstream).await,
    }
}

async fn http2<S>(stream: S, upstream: &Rc<Upstream>) -> anyhow::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let forward = service_fn(|request| {
        let upstream = upstream.clone();
        async move { forward::forward(request, &upstream).await }
    });
    let connection = http2::Builder::new(Local)
        .max_concurrent_streams(STREAMS_MAX)
        .serve_connection(TokioIo::new(stream), forward);
    Ok(connection.await?)
}

/// A listener that every worker has on the same address.
fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_port(true)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into()).context("cannot listen")
}

/// Runs hyper's tasks on the worker that they belong to.
#[derive(Debug, Clone, Copy)]
struct Local;

impl<F: Future + 'static> Executor<F> for Local {
    fn execute(&self, task: F) {
        task::spawn_local(async move {
            let _ = task.await;
        });
    }
}
