//! The strict origin: it records what it parses on each connection, answers as the script says, and tells when
//! bytes arrive that must not.

pub(crate) mod plan;

mod http1;
mod http2;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::lane::LIMIT;
use super::wire::Named;

/// Which server a connection came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Server {
    Http1,
    Http2,
    /// HTTP/1, for copies.
    Shadow,
}

/// What arrived on one connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) server: Server,
    pub(crate) arrivals: Vec<Arrival>,
    /// What must never happen, whatever was sent.
    pub(crate) faults: Vec<String>,
}

/// A request, as far as it arrived.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Arrival {
    pub(crate) method: String,
    pub(crate) path: String,
    /// Names in lower case.
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
    /// It arrived to its end.
    pub(crate) whole: bool,
    /// What came after a 101.
    pub(crate) tunnel: Vec<u8>,
}

impl Arrival {
    pub(crate) fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|(other, _)| other == name)
    }
}

/// The servers of one lane and what they know of its scripts.
#[derive(Debug)]
pub(crate) struct Origin {
    board: Arc<Board>,
    /// Ports by server.
    pub(crate) ports: HashMap<Server, u16>,
    accepting: Vec<JoinHandle<()>>,
}

/// What all connections of a lane share.
#[derive(Debug, Default)]
struct Board {
    /// By path. Kept to the end: a copy may arrive long after its original.
    exchanges: Mutex<HashMap<String, Arc<Named>>>,
    attempts: Mutex<HashMap<(Server, String), usize>>,
    session: Mutex<Session>,
}

/// The time of one script.
#[derive(Debug, Default)]
struct Session {
    finish: CancellationToken,
    connections: Vec<(Server, JoinHandle<Connection>)>,
}

impl Origin {
    pub(crate) async fn start() -> Self {
        let board = Arc::new(Board::default());
        let mut ports = HashMap::new();
        let mut accepting = Vec::new();
        for server in [Server::Http1, Server::Http2, Server::Shadow] {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            ports.insert(server, listener.local_addr().expect("an address").port());
            accepting.push(tokio::spawn(accept(listener, server, board.clone())));
        }
        Self {
            board,
            ports,
            accepting,
        }
    }

    /// Tells the servers what will be sent.
    pub(crate) fn expect(&self, exchanges: &[Arc<Named>]) {
        let mut known = self.board.exchanges.lock().expect("no holder panics");
        known.extend(exchanges.iter().map(|named| (named.path(), named.clone())));
    }

    /// What was ever announced with this path.
    pub(crate) fn known(&self, path: &str) -> Option<Arc<Named>> {
        self.board.known(path)
    }

    /// Ends all connections and returns what arrived on them. The other side has to end them as well.
    pub(crate) async fn finish(&self) -> Vec<Connection> {
        let session = std::mem::take(&mut *self.board.session.lock().expect("no holder panics"));
        session.finish.cancel();
        let mut finished = Vec::new();
        for (server, connection) in session.connections {
            let ended = tokio::time::timeout(LIMIT, connection).await;
            finished.push(ended.map_or_else(
                |_| Connection {
                    faults: vec!["the connection is never closed".into()],
                    ..Connection::new(server)
                },
                |joined| joined.expect("a server does not panic"),
            ));
        }
        finished
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.accepting.iter().for_each(JoinHandle::abort);
    }
}

impl Board {
    fn known(&self, path: &str) -> Option<Arc<Named>> {
        let known = self.exchanges.lock().expect("no holder panics");
        known.get(path).cloned()
    }

    /// How often this request was seen before.
    fn next_attempt(&self, server: Server, path: &str) -> usize {
        let mut attempts = self.attempts.lock().expect("no holder panics");
        let attempt = attempts.entry((server, path.to_owned())).or_default();
        *attempt += 1;
        *attempt - 1
    }
}

impl Connection {
    fn new(server: Server) -> Self {
        Self {
            server,
            arrivals: Vec::new(),
            faults: Vec::new(),
        }
    }
}

async fn accept(listener: TcpListener, server: Server, board: Arc<Board>) {
    while let Ok((socket, _)) = listener.accept().await {
        socket.set_nodelay(true).expect("a TCP option");
        let mut session = board.session.lock().expect("no holder panics");
        let finish = session.finish.clone();
        let board = board.clone();
        let connection = match server {
            Server::Http2 => tokio::spawn(http2::serve(socket, board, finish)),
            _ => tokio::spawn(http1::serve(socket, server, board, finish)),
        };
        session.connections.push((server, connection));
    }
}
