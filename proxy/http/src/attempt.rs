//! One attempt to get a response from an upstream: the cluster's filters around [`client::send`].

use std::rc::Rc;

use super::body::RequestBody;
use super::body::response::ResponseSource;
use super::body::upstream::UpstreamBody;
use super::client::{self, Failure};
use super::filter::run::{self, Answered};
use super::filter::state::StreamFilters;
use super::filter::{ResponseHead, Side};
use super::stream::{RequestHead, Stream};
use crate::config::cluster::RoutingPriority;
use crate::upstream::{Host, UpstreamCluster};

/// Where an attempt goes.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The cluster.
    pub cluster: &'a UpstreamCluster,
    /// The endpoint.
    pub host: &'a Rc<Host>,
    /// Whose circuit breakers count.
    pub priority: RoutingPriority,
}

/// What became of an attempt.
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "nearly all are responses, and a box would be an allocation per attempt"
)]
pub enum Outcome {
    /// The upstream answered.
    Response(ResponseHead, ResponseSource),
    /// There was no response.
    Failed(Failure),
    /// A filter answered.
    Answered(Answered),
}

/// Makes one attempt. The cluster's filters begin anew for each; they see the response before it is judged.
pub async fn attempt(
    target: Target<'_>,
    stream: &mut Stream,
    mut head: RequestHead,
    mut body: RequestBody,
) -> Outcome {
    begin_filters(target.cluster, stream);
    if let Err(answered) = run::request(stream, Side::Upstream, &mut head, &mut body).await {
        return Outcome::Answered(answered);
    }
    let (response, sender) = match client::send(target, head, &mut stream.info, body).await {
        Ok(answer) => answer,
        Err(failure) => {
            let answered = Answered::take(&stream.upload);
            return answered.map_or(Outcome::Failed(failure), Outcome::Answered);
        }
    };
    let (mut head, body) = response.into_parts();
    let body = UpstreamBody::new(body, sender, stream.upload.clone());
    let mut body = ResponseSource::Upstream(body);
    match run::response(stream, Side::Upstream, &mut head, &mut body).await {
        Ok(()) => Outcome::Response(head, body),
        Err(answered) => Outcome::Answered(answered),
    }
}

/// Those of the attempt before are told that it is over.
fn begin_filters(cluster: &UpstreamCluster, stream: &mut Stream) {
    stream.end_attempt();
    let worker = stream.worker();
    let chain = worker
        .filters
        .of_cluster(&cluster.config().config, &worker.telemetry);
    stream.attempt_filters = chain.map(|chain| {
        let mut filters = Box::new(StreamFilters::new(chain));
        if let Some(route) = &stream.route {
            filters.enable(route.overrides());
        }
        filters
    });
}
