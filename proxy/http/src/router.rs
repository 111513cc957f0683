//! `envoy.filters.http.router`: the end of every filter chain. Answers by itself where the route says so, else
//! sends the request to an endpoint of the route's cluster, tries again where the policy allows, and streams
//! the response back.

use std::time::Instant;

use http::header::{HeaderValue, LOCATION};
use http::{Method, Response, StatusCode};

use super::attempt::attempt;
use super::body::RequestBody;
use super::body::response::ResponseBody;
use super::client;
use super::deadline::AfterRequest;
use super::exchange::Exchange;
use super::exchange::source::Source;
use super::filter::ReplyOrigin;
use super::local_reply::{LocalReply, Shape};
use super::respond::reply;
use super::route::retry::{RetryState, Verdict};
use super::route::timeout::Timeouts;
use super::route::{RouteRef, hash_policy, redirect, rewrite};
use super::stream::{RequestHead, Stream};
use super::upgrade;
use crate::config::ClusterId;
use crate::config::route::{Action, ClusterSpecifier, Forward};
use crate::telemetry::stream_info::ResponseFlags;

/// Answers a request that has passed the filters.
pub async fn route(
    mut stream: Box<Stream>,
    head: RequestHead,
    body: RequestBody,
) -> Response<ResponseBody> {
    let Some(route) = stream.route.clone() else {
        stream.connection.cells.no_route.inc();
        stream.capture_request(&head);
        return reply(stream, not_found(), ReplyOrigin::Router).await;
    };
    rewrite::keep_for_response(&route, &mut stream, &head);
    match &route.route().action {
        Action::Forward(forward) => forward_request(stream, &route, forward, head, body).await,
        Action::Redirect(to) => {
            stream.capture_request(&head);
            let location = redirect::location(to, &route.route().matches, &head);
            let flags = ResponseFlags::default();
            let answer = LocalReply::empty(to.status, "direct_response", flags);
            let mut answer = answer.shaped(Shape::Plain);
            if let Ok(location) = HeaderValue::from_str(&location) {
                answer = answer.with_header(LOCATION, location);
            }
            reply(stream, answer, ReplyOrigin::Route).await
        }
        Action::Direct(direct) => {
            stream.capture_request(&head);
            let flags = ResponseFlags::default();
            let answer =
                LocalReply::new(direct.status, direct.body.clone(), "direct_response", flags);
            reply(stream, answer, ReplyOrigin::Route).await
        }
        Action::NonForwarding => reply(stream, not_found(), ReplyOrigin::Router).await,
    }
}

fn not_found() -> LocalReply {
    LocalReply::empty(
        StatusCode::NOT_FOUND,
        "route_not_found",
        ResponseFlags::NO_ROUTE_FOUND,
    )
}

/// CONNECT turns a connection into a tunnel. Envoy refuses it so where `upgrade_configs` does not list it; this
/// proxy never forwards it.
fn no_tunnel() -> LocalReply {
    let flags = ResponseFlags::default();
    LocalReply::empty(StatusCode::FORBIDDEN, "upgrade_failed", flags).closing()
}

/// The slot of the route's cluster; its name is noted for logs.
fn cluster_of(
    route: &RouteRef,
    forward: &Forward,
    stream: &mut Stream,
    head: &RequestHead,
) -> Option<ClusterId> {
    let cluster = match &forward.cluster {
        ClusterSpecifier::Cluster(cluster) => cluster,
        ClusterSpecifier::Weighted(_) => &route.alternative()?.cluster,
        ClusterSpecifier::Header(name) => {
            // Rare, and the name is the client's: a walk over the clusters is the price.
            let wanted = head.headers.get(name)?.to_str().ok()?;
            let clusters = stream.view.clusters.iter().flatten();
            let cluster = clusters
                .into_iter()
                .find(|cluster| &*cluster.name == wanted)?;
            let (id, name) = (cluster.id, cluster.name.clone());
            stream.info.cluster_name = Some(name);
            return Some(id);
        }
    };
    stream.info.cluster_name = Some(cluster.name.clone());
    Some(cluster.id)
}

async fn forward_request(
    mut stream: Box<Stream>,
    route: &RouteRef,
    forward: &Forward,
    mut head: RequestHead,
    body: RequestBody,
) -> Response<ResponseBody> {
    let id = cluster_of(route, forward, &mut stream, &head);
    stream.info.cluster = id;
    let worker = stream.worker().clone();
    let cluster = id.and_then(|id| worker.upstreams.get(&worker, &stream.view, id));
    let Some(cluster) = cluster else {
        stream.capture_request(&head);
        stream.info.cluster_name = None;
        stream.connection.cells.no_cluster.inc();
        let flags = ResponseFlags::NO_CLUSTER_FOUND;
        let status = forward.cluster_not_found_status;
        let answer = LocalReply::empty(status, "cluster_not_found", flags);
        return reply(stream, answer, ReplyOrigin::Router).await;
    };
    stream.info.upstream_cluster = Some(cluster.named().clone());
    let router = stream.connection.hcm.router;
    let limits = &stream.connection.hcm.limits;
    let timeouts = Timeouts::of(forward, limits, &router, &mut head.headers);
    let retry = RetryState::of(forward.retry.as_deref(), &mut head);
    let hash = match forward.hash.as_slice() {
        [] => None,
        policies => hash_policy::hash(policies, &mut stream, &head),
    };
    rewrite::finalize_request(route, forward, &stream, &mut head);
    timeouts.announce(&router, &mut head.headers);
    stream.capture_request(&head);
    let exchange = Exchange {
        cluster,
        forward,
        route,
        hash,
        timeouts,
        suppress_envoy_headers: router.suppress_envoy_headers,
    };
    if head.upgrade.is_some() {
        return upgrade::forward(stream, &exchange, head, body).await;
    }
    if head.method == Method::CONNECT {
        return reply(stream, no_tunnel(), ReplyOrigin::Router).await;
    }
    exchange.run(stream, head, body, retry).await
}

impl<'a> Exchange<'a> {
    /// Makes attempts until one stands.
    async fn run(
        &self,
        mut stream: Box<Stream>,
        mut head: RequestHead,
        body: RequestBody,
        mut retry: Option<RetryState<'a>>,
    ) -> Response<ResponseBody> {
        let mut source = Source::of(self, &stream, &head, body, retry.is_some());
        let mut limits = self.limits(&stream);
        let mut permit = None;
        loop {
            self.count_attempt(&mut stream, &mut head);
            let Some(host) = self.pick(&stream, retry.as_ref()) else {
                return self.fail(stream, client::no_healthy_upstream()).await;
            };
            self.set_auto_host(&host, &mut head);
            let further = source.can_replay() && retry.as_ref().is_some_and(RetryState::has_more);
            // Only a further attempt needs the head once more.
            let outgoing = if further { head.copy() } else { head.take() };
            let sent = Instant::now();
            let mut per_try = AfterRequest::new(self.timeouts.per_try, &stream.upload);
            let work = attempt(
                self.target(&host),
                &mut stream,
                outgoing,
                source.next_body(),
            );
            let outcome = limits.run(&mut per_try, work).await;
            drop(permit.take());
            let verdict = self.judge(&mut stream, &host, &outcome, retry.as_mut());
            if let Verdict::RetryAfter(delay) = verdict
                && further
                && source.can_replay()
            {
                permit = self.admit_retry(&mut stream);
                if permit.is_some() {
                    self.give_up(&host, outcome, retry.as_mut());
                    let mut none = AfterRequest::new(None, &stream.upload);
                    let pause = tokio::time::sleep(delay);
                    match limits.run(&mut none, pause).await {
                        Ok(()) => continue,
                        Err(expired) => return self.expire(stream, expired, &host).await,
                    }
                }
            }
            return self.conclude(stream, outcome, &host, sent, limits).await;
        }
    }
}
