//! `envoy.filters.http.router`: the end of every filter chain. Answers by itself where the route says so, else
//! sends the request to an endpoint of the route's cluster, tries again where the policy allows, and streams
//! the response back.

use std::rc::Rc;
use std::time::{Duration, Instant};

use http::header::{HeaderName, HeaderValue, LOCATION, SET_COOKIE};
use http::{Method, Response, StatusCode, Version};
use hyper::body::Incoming;

use super::body::RequestBody;
use super::body::grpc::MessageCounter;
use super::body::incoming::{BodyProgress, CountedBody};
use super::body::replay::SharedTape;
use super::body::response::{ResponseBody, Timers, grpc_status};
use super::client::{self, Answer, Failure, Reset};
use super::deadline::{AfterRequest, Expired, Idle, Limits};
use super::framing;
use super::handler::{reply, respond};
use super::local_reply::{LocalReply, http_status_of};
use super::route::retry::{RetryState, Verdict};
use super::route::timeout::Timeouts;
use super::route::{RouteRef, hash_policy, mirror, redirect, rewrite};
use super::stream::{RequestHead, Stream};
use super::upgrade;
use crate::config::ClusterId;
use crate::config::route::{Action, ClusterSpecifier, Forward, HostRewrite};
use crate::telemetry::stream_info::ResponseFlags;
use crate::upstream::{Host, HttpConnectOptions, Outcome, PickContext, UpstreamCluster};

const ATTEMPT_COUNT: HeaderName = HeaderName::from_static("x-envoy-attempt-count");
const SERVICE_TIME: HeaderName = HeaderName::from_static("x-envoy-upstream-service-time");

/// Answers a request that has passed the filters.
pub async fn route(
    mut stream: Box<Stream>,
    head: RequestHead,
    body: Incoming,
) -> Response<ResponseBody> {
    let Some(route) = stream.route.clone() else {
        stream.connection.cells.no_route.inc();
        stream.capture_request(&head);
        return reply(stream, not_found(), &head);
    };
    rewrite::keep_for_response(&route, &mut stream, &head);
    match &route.route().action {
        Action::Forward(forward) => forward_request(stream, &route, forward, head, body).await,
        Action::Redirect(to) => {
            stream.capture_request(&head);
            let location = redirect::location(to, &route.route().matches, &head);
            let flags = ResponseFlags::default();
            let mut answer = LocalReply::empty(to.status, "direct_response", flags);
            answer.plain = true;
            if let Ok(location) = HeaderValue::from_str(&location) {
                answer = answer.with_header(LOCATION, location);
            }
            reply(stream, answer, &head)
        }
        Action::Direct(direct) => {
            stream.capture_request(&head);
            let flags = ResponseFlags::default();
            let answer =
                LocalReply::new(direct.status, direct.body.clone(), "direct_response", flags);
            reply(stream, answer, &head)
        }
        Action::NonForwarding => reply(stream, not_found(), &head),
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
    body: Incoming,
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
        return reply(stream, answer, &head);
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
        return reply(stream, no_tunnel(), &head);
    }
    exchange.run(stream, head, body, retry).await
}

/// What stays the same over all tries of a request.
#[derive(Debug)]
pub struct Exchange<'a> {
    /// Where it goes.
    pub cluster: Rc<UpstreamCluster>,
    /// The route's action.
    pub forward: &'a Forward,
    /// The route.
    pub route: &'a RouteRef,
    /// The hash for consistent load balancing.
    pub hash: Option<u64>,
    /// Its limits.
    pub timeouts: Timeouts,
    /// Add no `x-envoy-*` header.
    pub suppress_envoy_headers: bool,
}

/// The request's body, for as many tries as are allowed.
enum Source {
    Empty,
    Once(Option<CountedBody>),
    Tape(SharedTape),
}

impl Source {
    fn next(&mut self) -> RequestBody {
        match self {
            Self::Empty => RequestBody::Empty,
            Self::Once(body) => body
                .take()
                .map_or(RequestBody::Empty, RequestBody::Incoming),
            Self::Tape(tape) => RequestBody::Replay(tape.body()),
        }
    }

    fn can_replay(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Once(_) => false,
            Self::Tape(tape) => tape.can_replay(),
        }
    }
}

impl<'a> Exchange<'a> {
    async fn run(
        &self,
        mut stream: Box<Stream>,
        mut head: RequestHead,
        body: Incoming,
        mut retry: Option<RetryState<'a>>,
    ) -> Response<ResponseBody> {
        let progress = Rc::new(BodyProgress::default());
        stream.upload = Some(progress.clone());
        let mut source = self.source(&stream, &head, body, retry.is_some(), &progress);
        let mut limits = Limits {
            global: AfterRequest::new(self.timeouts.global, &progress),
            idle: self
                .timeouts
                .idle
                .map(|limit| Idle::new(limit, &stream.info.bytes_received)),
            duration: Limits::duration_from(stream.info.start, self.timeouts.duration),
        };
        let mut retry_permit = None;
        loop {
            stream.info.attempts += 1;
            self.count_attempt(&stream, &mut head);
            let host = match self.pick(&stream, retry.as_ref()) {
                Some(host) => host,
                None => {
                    stream.tell_attempts();
                    return reply(stream, client::no_healthy_upstream(), &head);
                }
            };
            self.set_auto_host(&host, &mut head);
            let per_try = self.timeouts.per_try;
            let mut per_try = AfterRequest::new(per_try, &progress);
            let body = source.next();
            let authority = std::str::from_utf8(head.authority()).ok();
            let options = HttpConnectOptions {
                priority: self.forward.priority,
                downstream_version: head.version,
                authority,
            };
            let sent = Instant::now();
            let work = client::send(
                &self.cluster,
                &host,
                &options,
                &head,
                &mut stream.info,
                body,
            );
            let outcome = limits.run(&mut per_try, work).await;
            drop(retry_permit.take());
            let verdict = match &outcome {
                Ok(Ok(answer)) => self.judge_answer(answer, retry.as_mut()),
                Ok(Err(failure)) => {
                    note_failure(&mut stream, failure);
                    retry.as_mut().map_or(Verdict::Stands, |retry| {
                        retry.on_reset(failure.reset, failure.started)
                    })
                }
                Err(Expired::PerTry) => {
                    host.record(Outcome::LocalTimeout);
                    self.cluster.cells().upstream_rq_per_try_timeout.inc();
                    retry
                        .as_mut()
                        .map_or(Verdict::Stands, |retry| retry.on_reset(Reset::Local, true))
                }
                Err(_) => Verdict::Stands,
            };
            if let (Verdict::Stands, Ok(Ok(_))) = (verdict, &outcome)
                && stream.info.attempts > 1
            {
                self.cluster.cells().upstream_rq_retry_success.inc();
            }
            if let Verdict::LimitExceeded = verdict {
                stream
                    .info
                    .flags
                    .insert(ResponseFlags::UPSTREAM_RETRY_LIMIT_EXCEEDED);
            }
            if let Verdict::RetryAfter(delay) = verdict
                && source.can_replay()
            {
                match self.cluster.admit_retry(self.forward.priority) {
                    Ok(permit) => {
                        retry_permit = Some(permit);
                        if let Ok(Ok(answer)) = outcome {
                            answer.discard(&progress);
                        }
                        self.cluster.cells().upstream_rq_retry.inc();
                        if let Some(retry) = &mut retry {
                            retry.tried.push(host.address());
                        }
                        let mut none = AfterRequest::new(None, &progress);
                        let pause = tokio::time::sleep(delay);
                        match limits.run(&mut none, pause).await {
                            Ok(()) => continue,
                            Err(expired) => {
                                return self.expire(stream, &head, expired, &host, &progress);
                            }
                        }
                    }
                    Err(_) => stream.info.flags.insert(ResponseFlags::UPSTREAM_OVERFLOW),
                }
            }
            return match outcome {
                Ok(Ok(answer)) => self.finish(stream, answer, sent, limits),
                Ok(Err(failure)) => {
                    stream.tell_attempts();
                    let retried = stream.info.attempts > 1;
                    let answer = failure.reply(retried, self.suppress_envoy_headers);
                    self.cluster.cells().response(answer.status.as_u16());
                    reply(stream, answer, &head)
                }
                Err(expired) => self.expire(stream, &head, expired, &host, &progress),
            };
        }
    }

    fn source(
        &self,
        stream: &Stream,
        head: &RequestHead,
        body: Incoming,
        retries: bool,
        progress: &Rc<BodyProgress>,
    ) -> Source {
        let empty = http_body::Body::is_end_stream(&body);
        let mirrors: Vec<_> = mirror::drawn(&self.forward.mirrors).collect();
        if empty {
            progress.complete.set(true);
            for mirror in mirrors {
                mirror::send(mirror, stream, head, RequestBody::Empty);
            }
            return Source::Empty;
        }
        let counted = counted(stream, head, body, progress);
        if !retries && mirrors.is_empty() {
            return Source::Once(Some(counted));
        }
        let limit = self
            .route
            .route()
            .buffer_limit
            .unwrap_or(stream.info.connection.buffer_limit_bytes);
        let tape = SharedTape::new(counted, retries, limit as usize);
        for mirror in mirrors {
            mirror::send(mirror, stream, head, RequestBody::Mirror(tape.mirror()));
        }
        Source::Tape(tape)
    }

    fn count_attempt(&self, stream: &Stream, head: &mut RequestHead) {
        if self.route.virtual_host().attempt_count_in_request {
            let count = HeaderValue::from(stream.info.attempts);
            head.headers.insert(ATTEMPT_COUNT, count);
        }
    }

    /// Chooses an endpoint, avoiding those that were tried if the policy says so.
    pub(super) fn pick(&self, stream: &Stream, retry: Option<&RetryState<'_>>) -> Option<Rc<Host>> {
        let avoid = retry.filter(|retry| retry.policy().avoid_previous_hosts);
        let alternative = self.route.alternative();
        let subset = alternative.and_then(|a| a.metadata_match.as_deref());
        let context = PickContext {
            hash: self.hash,
            metadata_match: subset.or(self.forward.metadata_match.as_deref()),
            original_destination: stream.info.connection.original_destination,
            tried: avoid.map_or(&[], |retry| &retry.tried),
            attempts: avoid.map_or(1, |retry| retry.policy().host_selection_max_attempts),
        };
        self.cluster.pick(&context).ok()
    }

    /// `auto_host_rewrite`.
    pub(super) fn set_auto_host(&self, host: &Host, head: &mut RequestHead) {
        let alternative = self.route.alternative().and_then(|a| a.host.as_ref());
        let rewrite = alternative.unwrap_or(&self.forward.host);
        let name = &host.endpoint().hostname;
        if matches!(rewrite, HostRewrite::Auto)
            && !name.is_empty()
            && let Ok(name) = HeaderValue::from_str(name)
        {
            rewrite::set_host(name, self.forward.append_forwarded_host, head);
        }
    }

    fn judge_answer(&self, answer: &Answer, retry: Option<&mut RetryState<'_>>) -> Verdict {
        let status = answer.response.status().as_u16();
        let headers = answer.response.headers();
        let judged = grpc_status(headers).map_or(status, http_status_of);
        answer.sender.record(Outcome::Response(judged));
        match retry {
            Some(retry) => retry.on_response(status, headers),
            None => Verdict::Stands,
        }
    }

    /// A limit was reached before the response began.
    pub(super) fn expire(
        &self,
        mut stream: Box<Stream>,
        head: &RequestHead,
        expired: Expired,
        host: &Host,
        progress: &BodyProgress,
    ) -> Response<ResponseBody> {
        let timeout = match progress.complete.get() {
            true => StatusCode::GATEWAY_TIMEOUT,
            false => StatusCode::REQUEST_TIMEOUT,
        };
        let answer = match expired {
            Expired::Global | Expired::PerTry => {
                if expired == Expired::Global {
                    host.record(Outcome::LocalTimeout);
                    self.cluster.cells().upstream_rq_timeout.inc();
                }
                let details = match expired {
                    Expired::Global => "response_timeout",
                    _ => "upstream_per_try_timeout",
                };
                let flag = ResponseFlags::UPSTREAM_REQUEST_TIMEOUT;
                self.cluster.cells().response(504);
                let status = StatusCode::GATEWAY_TIMEOUT;
                LocalReply::new(status, "upstream request timeout", details, flag)
            }
            Expired::Idle => LocalReply::new(
                timeout,
                "stream timeout",
                "stream_idle_timeout",
                ResponseFlags::STREAM_IDLE_TIMEOUT,
            ),
            Expired::Duration => LocalReply::new(
                timeout,
                "downstream duration timeout",
                "max_duration_timeout",
                ResponseFlags::DURATION_TIMEOUT,
            ),
        };
        stream.tell_attempts();
        reply(stream, answer, head)
    }

    /// The response goes to the client.
    pub(super) fn finish(
        &self,
        mut stream: Box<Stream>,
        answer: Answer,
        sent: Instant,
        limits: Limits,
    ) -> Response<ResponseBody> {
        let (mut parts, body) = answer.response.into_parts();
        self.note_response(&mut stream, &mut parts, sent.elapsed());
        let deadline = earliest(limits.global.sleep, limits.duration);
        let idle = limits.idle.map(Idle::into_parts);
        let timers =
            (deadline.is_some() || idle.is_some()).then(|| Box::new(Timers { deadline, idle }));
        respond(stream, parts, framing::length(&body), |stream| {
            ResponseBody::upstream(body, stream, timers, answer.sender)
        })
    }

    /// What logs and the client are told about an upstream's response.
    pub(super) fn note_response(
        &self,
        stream: &mut Stream,
        parts: &mut http::response::Parts,
        elapsed: Duration,
    ) {
        self.cluster.cells().response(parts.status.as_u16());
        stream.info.response_code = parts.status.as_u16();
        stream.info.upstream_service_time = Some(elapsed);
        stream.info.response_code_details = "via_upstream".into();
        if stream.info.grpc {
            stream.info.grpc_status = grpc_status(&parts.headers);
        }
        if !self.suppress_envoy_headers {
            let ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
            parts.headers.insert(SERVICE_TIME, HeaderValue::from(ms));
        }
        if let Some(cookie) = stream.set_cookie.take() {
            parts.headers.append(SET_COOKIE, cookie);
        }
        rewrite::finalize_response(stream, &mut parts.headers);
        if self.route.virtual_host().attempt_count_in_response {
            let count = HeaderValue::from(stream.info.attempts);
            parts.headers.insert(ATTEMPT_COUNT, count);
        }
    }
}

/// The client's body, counted for logs and time limits.
pub(super) fn counted(
    stream: &Stream,
    head: &RequestHead,
    body: Incoming,
    progress: &Rc<BodyProgress>,
) -> CountedBody {
    let messages = stream
        .count_grpc_messages
        .then(|| MessageCounter::new(stream.grpc_counts.0.clone()));
    CountedBody::new(
        body,
        stream.info.bytes_received.clone(),
        messages,
        progress.clone(),
        stream.drops_trailers(),
        head.version == Version::HTTP_2,
    )
}

impl Stream {
    /// The number of tries, for local replies of virtual hosts that tell it.
    pub(super) fn tell_attempts(&mut self) {
        let Some(route) = &self.route else {
            return;
        };
        self.attempts_in_reply = route.virtual_host().attempt_count_in_response;
    }
}

type Timer = Option<std::pin::Pin<Box<tokio::time::Sleep>>>;

fn earliest(a: Timer, b: Timer) -> Timer {
    match (a, b) {
        (Some(a), Some(b)) => Some(if a.deadline() <= b.deadline() { a } else { b }),
        (a, b) => a.or(b),
    }
}

/// What logs are told about a try without a response.
pub(super) fn note_failure(stream: &mut Stream, failure: &Failure) {
    stream.info.upstream_transport_failure = failure.transport.as_deref().map(Into::into);
}
