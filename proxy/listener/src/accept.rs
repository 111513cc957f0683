//! Accepting connections from one socket of one worker.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::balance::{Balance, Handed, Load};
use super::connection;
use super::inspect::Fresh;
use crate::shared::SharedListener;
use crate::upstream::connect;
use crate::worker::ListeningWorker;

/// How long to leave a socket alone after the process has run out of file descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The listener that a socket serves at the moment; replaced by updates.
pub(super) type Current = Rc<RefCell<Arc<SharedListener>>>;

/// Accepts until `stop`, then takes what is in the queue already, so that no client that was told "connected"
/// is refused afterwards.
pub(super) async fn run(
    worker: Rc<ListeningWorker>,
    balance: Arc<Balance>,
    socket: TcpListener,
    current: Current,
    stop: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => place(&worker, &balance, &current, stream, peer),
            Err(error) if is_about_the_client(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    let Ok(socket) = socket.into_std() else {
        return;
    };
    while let Ok((stream, peer)) = socket.accept() {
        if stream.set_nonblocking(true).is_ok()
            && let Ok(stream) = TcpStream::from_std(stream)
        {
            place(&worker, &balance, &current, stream, peer);
        }
    }
}

/// Starts a connection here or on a worker that has less to do.
fn place(
    worker: &Rc<ListeningWorker>,
    balance: &Arc<Balance>,
    current: &Current,
    stream: TcpStream,
    peer: SocketAddr,
) {
    let listener = current.borrow().clone();
    let chosen = balance.choose(worker.index);
    let load = balance.count(chosen);
    if chosen == worker.index {
        return start(worker, listener, stream, peer, load);
    }
    match stream.into_std() {
        Ok(socket) => balance.hand_over(
            chosen,
            Handed {
                socket,
                peer,
                listener,
                load,
            },
        ),
        Err(error) => tracing::debug!(%error, "connection lost on its way to another worker"),
    }
}

/// Starts a connection that another worker has accepted.
pub fn receive(worker: &Rc<ListeningWorker>, handed: Handed) {
    match TcpStream::from_std(handed.socket) {
        Ok(stream) => start(worker, handed.listener, stream, handed.peer, handed.load),
        Err(error) => tracing::debug!(%error, "connection lost on its way from another worker"),
    }
}

fn start(
    worker: &Rc<ListeningWorker>,
    listener: Arc<SharedListener>,
    stream: TcpStream,
    peer: SocketAddr,
    load: Load,
) {
    // Neither can fail on a healthy socket; a broken one shows at the first read.
    let _ = stream.set_nodelay(true);
    if let Some(keepalive) = &listener.tcp_keepalive {
        let _ = socket2::SockRef::from(&stream).set_tcp_keepalive(&connect::keepalive(keepalive));
    }
    let Ok(fresh) = Fresh::new(stream, peer) else {
        return;
    };
    let worker = worker.clone();
    // A task of its own: a panic in it ends this connection and no other.
    tokio::task::spawn_local(async move {
        let _load = load;
        connection::run(worker, listener, fresh).await;
    });
}

/// Errors of accept(2) that concern the one connection only.
fn is_about_the_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}
