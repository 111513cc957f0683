//! `envoy.filters.http.grpc_stats`: counts the messages of gRPC streams.
//!
//! The filter only switches the counting on; the body wrappers count as the bytes pass.

use super::{Filter, Step};
use crate::stream::{RequestHead, Stream};

/// The filter.
#[derive(Debug)]
pub struct GrpcStatsFilter {
    /// Its name in `http_filters`.
    pub name: Box<str>,
}

impl Filter for GrpcStatsFilter {
    fn name(&self) -> &str {
        &self.name
    }

    fn decode_headers(&self, stream: &mut Stream, _request: &mut RequestHead) -> Step {
        stream.count_grpc_messages = stream.info.grpc;
        Step::Continue
    }
}
