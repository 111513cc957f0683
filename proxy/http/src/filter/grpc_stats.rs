//! `envoy.filters.http.grpc_stats`: counts the messages of gRPC streams.

use std::rc::Rc;

use bytes::Bytes;

use super::registry::Build;
use super::{BodyContext, BodyStep, Filter, HeadContext, ResponseHead, Step, Watch};
use crate::config::filter::FilterConfig;
use crate::stream::RequestHead;

mod messages;

use messages::MessageCounter;

/// The messages of a gRPC stream: towards the upstream, towards the client.
#[derive(Debug, Default)]
struct Messages {
    request: MessageCounter,
    response: MessageCounter,
}

/// The filter.
#[derive(Debug)]
struct GrpcStats;

/// The message that configures the filter.
pub(super) const KIND: &str = "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig";

pub(super) fn build(_: &FilterConfig, _: &Build<'_>) -> Option<Rc<dyn Filter>> {
    Some(Rc::new(GrpcStats))
}

impl Filter for GrpcStats {
    fn request_head(
        &self,
        context: &mut HeadContext<'_>,
        _: &mut RequestHead,
    ) -> Step<RequestHead> {
        if context.stream.info.grpc {
            context.set_state(Messages::default());
            context.watch_body(Watch::Inspect);
        }
        Step::Continue
    }

    fn request_data(&self, context: &mut BodyContext<'_>, data: &mut Bytes) -> BodyStep<Bytes> {
        if let Some(mut messages) = context.state::<Messages>() {
            messages.request.see(data);
        }
        BodyStep::Continue
    }

    fn response_head(
        &self,
        context: &mut HeadContext<'_>,
        _: &mut ResponseHead,
    ) -> Step<ResponseHead> {
        if context.stream.info.grpc && context.origin().is_none() {
            context.watch_body(Watch::Inspect);
        }
        Step::Continue
    }

    fn response_data(&self, context: &mut BodyContext<'_>, data: &mut Bytes) -> BodyStep<Bytes> {
        if let Some(mut messages) = context.state::<Messages>() {
            messages.response.see(data);
        }
        BodyStep::Continue
    }

    fn complete(&self, context: &mut HeadContext<'_>) {
        let counts = context
            .state::<Messages>()
            .map(|messages| (messages.request.count(), messages.response.count()));
        if let Some(counts) = counts {
            context.stream.info.grpc_messages = counts;
        }
    }
}
