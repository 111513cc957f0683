//! One proxy's stream: requests and new worlds in, responses out.
//!
//! A stream is driven by whoever polls it (the HTTP server), so it needs no task of its own and
//! ends when it is dropped. It waits on the async runtime and works on the threads of
//! [`super::threads`], one step after the other: the session goes there and comes back with the
//! responses that are due. What a proxy's answer to a response settles is done where it arrives,
//! because it is nearly nothing and comes after every push.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures_util::Stream;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};
use xds::delta::Response;
use xds::envoy::discovery::DeltaDiscoveryRequest;

use super::progress::Changes;
use super::receive::Requests;
use super::refusals::Refusals;
use super::registry::Registry;
use super::request::{SHORT_BYTES_MAX, decode};
use super::session::{Peer, Session};
use super::threads::Threads;
use crate::access::Questions;
use crate::metrics::Metrics;
use crate::world::World;

/// What every connection shares.
#[derive(Debug)]
pub struct Shared {
    /// Who is connected.
    pub registry: Registry,
    /// Who was refused.
    pub refusals: Refusals,
    /// Where configuration is generated.
    pub threads: Threads,
    /// Counters.
    pub metrics: Metrics,
    /// When the last configurations came to be.
    pub changes: Changes,
    /// Where it is asked who may read Secrets.
    pub(crate) questions: Questions,
    /// Ends all streams.
    pub shutdown: CancellationToken,
}

/// A stream.
pub struct Connection {
    shared: Arc<Shared>,
    worlds: watch::Receiver<Arc<World>>,
    address: Option<std::net::IpAddr>,
    requests: Requests,
    /// Elsewhere while a step is made.
    session: Option<Session>,
    outbox: VecDeque<Response>,
    /// The stream, from its beginning to its end.
    span: Span,
}

/// What a stream waits for.
enum Event {
    Request(Option<Bytes>),
    NewWorld,
    /// Other Secrets may be read than before.
    NewAccess,
    Shutdown,
}

/// What is done on the threads for generation.
enum Step {
    /// A request that is not decoded yet.
    Encoded(Bytes),
    Request(Box<DeltaDiscoveryRequest>),
    Refresh,
    Flush,
}

impl Connection {
    /// A stream of which nothing has been read yet.
    pub fn new(
        shared: Arc<Shared>,
        worlds: watch::Receiver<Arc<World>>,
        peer: Peer,
        requests: Requests,
    ) -> Self {
        let span = tracing::info_span!(
            "ads stream",
            address = peer.address.map(tracing::field::display),
            node = Empty,
        );
        Self {
            span,
            worlds,
            address: peer.address,
            requests,
            session: Some(Session::new(Arc::clone(&shared), peer)),
            outbox: VecDeque::new(),
            shared,
        }
    }

    /// The responses, until the client ends the stream, an error occurs or the server shuts down.
    pub fn responses(self) -> impl Stream<Item = Result<Response, Status>> {
        futures_util::stream::unfold(Some(self), |connection| async move {
            let mut connection = connection?;
            let span = connection.span.clone();
            match connection.next().instrument(span).await {
                Ok(Some(response)) => Some((Ok(response), Some(connection))),
                Ok(None) => None,
                Err(status) => Some((Err(status), None)),
            }
        })
    }

    async fn next(&mut self) -> Result<Option<Response>, Status> {
        loop {
            if let Some(response) = self.outbox.pop_front() {
                self.shared.metrics.pushed(&response);
                tracing::debug!(
                    resource_type = %response.resource_type,
                    resources = response.resources.len(),
                    bytes = response.value_len(),
                    "pushing to the proxy"
                );
                return Ok(Some(response));
            }
            let step = match self.event().await? {
                Event::Request(Some(request)) => self.take_in(request)?,
                Event::NewWorld | Event::NewAccess => Some(Step::Refresh),
                Event::Request(None) | Event::Shutdown => return Ok(None),
            };
            if let Some(step) = step {
                self.make(step).await?;
            }
        }
    }

    async fn event(&mut self) -> Result<Event, Status> {
        let session = self.session.as_mut().ok_or_else(broken)?;
        let introduced = session.is_introduced();
        // Before the first snapshot nothing is known, which is not the same as empty.
        let configured = self.worlds.borrow().snapshot().version > 0;
        tokio::select! {
            biased;
            () = self.shared.shutdown.cancelled() => Ok(Event::Shutdown),
            request = self.requests.next(), if configured => Ok(Event::Request(request?)),
            changed = self.worlds.changed(), if introduced || !configured => {
                Ok(if changed.is_ok() { Event::NewWorld } else { Event::Shutdown })
            }
            () = session.new_access() => Ok(Event::NewAccess),
        }
    }

    /// Takes an answer in. Everything else is a step.
    fn take_in(&mut self, encoded: Bytes) -> Result<Option<Step>, Status> {
        if encoded.len() > SHORT_BYTES_MAX {
            return Ok(Some(Step::Encoded(encoded)));
        }
        let request = decode(encoded)?;
        let session = self.session.as_mut().ok_or_else(broken)?;
        if !session.is_answer(&request) {
            return Ok(Some(Step::Request(Box::new(request))));
        }
        session.on_message(&request)?;
        if session.is_due() {
            return Ok(Some(Step::Flush));
        }
        session.settle();
        session.publish();
        Ok(None)
    }

    async fn make(&mut self, step: Step) -> Result<(), Status> {
        let mut session = self.session.take().ok_or_else(broken)?;
        let world = self.worlds.borrow_and_update().clone();
        let (shared, span, asked) = (Arc::clone(&self.shared), Span::current(), Instant::now());
        let work = move || {
            shared.metrics.queued(asked.elapsed());
            let responses = span.in_scope(|| step.make(&mut session, &world));
            (session, responses)
        };
        let (session, responses) = self.shared.threads.push(self.address, work).await?;
        self.outbox.extend(responses?);
        self.session = Some(session);
        Ok(())
    }
}

impl Step {
    fn make(self, session: &mut Session, world: &World) -> Result<Vec<Response>, Status> {
        match self {
            Self::Encoded(encoded) => session.on_request(&decode(encoded)?, world)?,
            Self::Request(request) => session.on_request(&request, world)?,
            Self::Refresh => session.refresh(world),
            Self::Flush => {}
        }
        let responses = session.flush();
        session.settle();
        session.publish();
        Ok(responses)
    }
}

/// A step that failed took the session with it, and ended the stream.
fn broken() -> Status {
    Status::internal("the stream has ended")
}
