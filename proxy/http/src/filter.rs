//! The HTTP filter: one trait, called in the order of the connection manager's `http_filters`.
//!
//! Calls are synchronous; a filter that must wait (a delay, an external decision) returns a boxed future in
//! [`Step::Wait`]. The common case therefore allocates nothing and crosses no `await`.
//! The router is the last filter in every chain; it is not in the list but what follows it
//! ([`super::router`]).

use std::fmt::Debug;
use std::sync::Arc;

use futures_util::future::LocalBoxFuture;

use super::local_reply::LocalReply;
use super::stream::{RequestHead, Stream};

pub mod cors;
pub mod fault;
pub mod grpc_stats;
pub mod istio_stats;
pub mod peer_metadata;
pub mod rbac;
pub mod registry;

/// A filter in its place.
#[derive(Debug, Clone)]
pub struct FilterSlot {
    /// The filter.
    pub filter: Arc<dyn Filter>,
    /// Off unless a route switches it on (`disabled`).
    pub disabled: bool,
}

/// One configured HTTP filter, shared by all requests of its connection manager.
///
/// Per-request state lives in the [`Stream`] that is passed in.
pub trait Filter: Debug + Send + Sync {
    /// The filter's name as in `http_filters`, by which routes override it (`typed_per_filter_config`).
    fn name(&self) -> &str;

    /// Looks at the request, in the order of the list.
    fn decode_headers(&self, stream: &mut Stream, request: &mut RequestHead) -> Step {
        let _ = (stream, request);
        Step::Continue
    }

    /// Looks at the response, in the opposite order; also at local replies.
    fn encode_headers(&self, stream: &mut Stream, response: &mut http::response::Parts) {
        let _ = (stream, response);
    }

    /// Called once when the stream is over, before access logs are written.
    fn on_complete(&self, stream: &mut Stream) {
        let _ = stream;
    }
}

/// What a filter wants next.
pub enum Step {
    /// The next filter.
    Continue,
    /// Answer now.
    Reply(Box<LocalReply>),
    /// Wait, then go on or answer.
    Wait(LocalBoxFuture<'static, Option<Box<LocalReply>>>),
}
