//! What a filter sees of a stream, and what it may ask for, while it is called.

use std::cell::RefMut;
use std::rc::Rc;

use bytes::Bytes;
use http::HeaderMap;

use super::body::{Watch, Watcher, Way};
use super::run::Answered;
use super::state::{State, StreamFilters};
use crate::config::filter::FilterData;
use crate::local_reply::LocalReply;
use crate::stream::{HttpConnection, Stream};
use crate::telemetry::stream_info::DynamicMetadata;
use crate::worker::HttpWorker;

/// Which chain a filter stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The connection manager's: once per request.
    Downstream,
    /// The cluster's: for each attempt.
    Upstream,
}

/// Who made a reply of the proxy's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyOrigin {
    /// The connection manager, before any filter ran: the request is malformed or not acceptable.
    Connection,
    /// A filter, by its chain and its position there.
    Filter(Side, u8),
    /// The route: a redirect or a direct response.
    Route,
    /// The router: no route, no upstream, a failed upstream, a timeout.
    Router,
}

/// A body that was collected for a filter.
#[derive(Debug, Default)]
pub struct BufferedBody {
    /// Its bytes.
    pub data: Bytes,
    /// Its trailers, if it is complete.
    pub trailers: Option<HeaderMap>,
    /// False if it exceeds the limit: the rest streams on behind this.
    pub complete: bool,
}

/// A call about a head.
#[derive(Debug)]
pub struct HeadContext<'a> {
    /// The stream.
    pub stream: &'a mut Stream,
    side: Side,
    position: u8,
    pub(super) body: Option<BufferedBody>,
    pub(super) asked: Asked,
}

/// What a filter has asked for in its calls about a head.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) route: bool,
    pub(super) body: Option<Watch>,
}

impl<'a> HeadContext<'a> {
    pub(super) fn new(stream: &'a mut Stream, side: Side, position: u8) -> Self {
        Self {
            stream,
            side,
            position,
            body: None,
            asked: Asked::default(),
        }
    }

    /// What this filter keeps about the stream, if it is of this type.
    pub fn state<S: 'static>(&self) -> Option<RefMut<'_, S>> {
        self.filters()?.state(self.position)?.get()
    }

    /// Keeps something about the stream. Calls about the body see what is kept when the head's call is over.
    pub fn set_state<S: 'static>(&mut self, state: S) {
        let (side, position) = (self.side, self.position);
        if let Some(filters) = self.stream.filters_mut(side) {
            filters.set_state(position, State::new(state));
        }
    }

    /// The filter in the way of a body.
    pub(super) fn watcher(&mut self, watch: Watch, way: Way) -> Watcher {
        let metadata = self.stream.info.dynamic_metadata.share();
        let stream = &*self.stream;
        if way == Way::Request {
            stream.upload.filtered.set(true);
        }
        let filters = self
            .filters()
            .expect("the call is about a filter of the chain");
        Watcher {
            filter: filters.chain.link(self.position).filter.clone(),
            origin: self.origin_of_replies(),
            state: filters.state(self.position).cloned(),
            watch,
            way,
            metadata,
            connection: stream.connection.clone(),
            progress: stream.upload.clone(),
            waiting: None,
        }
    }

    /// A reply of this filter.
    pub(super) fn answered(&self, reply: LocalReply) -> Answered {
        Answered {
            origin: self.origin_of_replies(),
            reply: Box::new(reply),
        }
    }

    fn origin_of_replies(&self) -> ReplyOrigin {
        ReplyOrigin::Filter(self.side, self.position)
    }

    fn filters(&self) -> Option<&StreamFilters> {
        self.stream.filters(self.side)
    }

    /// What the route says to this filter, if it is of this type: the most specific level that says something.
    pub fn route_config<T: FilterData>(&self) -> Option<&T> {
        let route = self.stream.route.as_ref()?;
        let name = &self.filters()?.chain.link(self.position).name;
        route.overrides().config(name)
    }

    /// Dynamic metadata of the stream, for later filters, RBAC and logs.
    pub fn metadata(&mut self) -> &mut DynamicMetadata {
        &mut self.stream.info.dynamic_metadata
    }

    /// Who made the response; `None` for the upstream.
    pub fn origin(&self) -> Option<ReplyOrigin> {
        self.stream.origin
    }

    /// True if this filter made the response.
    pub fn is_own_reply(&self) -> bool {
        self.origin() == Some(self.origin_of_replies())
    }

    /// Looks the route up again, with the head as it is when this filter is done, before the next filter is called.
    /// Which filters work for the stream was settled by the first route, as in Envoy. Has no effect once the request
    /// is on its way.
    pub fn clear_route_cache(&mut self) {
        self.asked.route = true;
    }

    /// Asks for calls about the body that follows the head of this call. There are none for a response without a body,
    /// as to HEAD; a request without one still has its end, at which the filter may give it one.
    pub fn watch_body(&mut self, watch: Watch) {
        self.asked.body = Some(watch);
    }

    /// The body, in the calls that follow [`Step::Buffer`](super::Step::Buffer). What the filter leaves here goes on.
    pub fn body(&mut self) -> Option<&mut BufferedBody> {
        self.body.as_mut()
    }

    /// The worker that serves the stream.
    pub fn worker(&self) -> &Rc<HttpWorker> {
        self.stream.worker()
    }
}

/// A call about a part of a body. The head of the message is gone by then.
#[derive(Debug)]
pub struct BodyContext<'a> {
    pub(super) state: Option<&'a State>,
    pub(super) metadata: &'a mut DynamicMetadata,
    pub(super) connection: &'a Rc<HttpConnection>,
}

impl BodyContext<'_> {
    /// What this filter keeps about the stream, if it is of this type.
    pub fn state<S: 'static>(&self) -> Option<RefMut<'_, S>> {
        self.state?.get()
    }

    /// Dynamic metadata of the stream.
    pub fn metadata(&mut self) -> &mut DynamicMetadata {
        self.metadata
    }

    /// The connection that the stream came on.
    pub fn connection(&self) -> &Rc<HttpConnection> {
        self.connection
    }
}
