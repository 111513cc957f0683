//! What stays the same over all attempts of a request, and what their outcomes mean.

use std::rc::Rc;
use std::time::{Duration, Instant};

use http::Response;
use http::header::{HeaderName, HeaderValue, SET_COOKIE};

use super::attempt::{Outcome, Target};
use super::body::response::{ResponseBody, ResponseSource, grpc_status};
use super::body::upstream::Timers;
use super::client::{Failure, Reset};
use super::deadline::{AfterRequest, Expired, Idle, Limits};
use super::filter::run::Answered;
use super::filter::{ReplyOrigin, ResponseHead};
use super::local_reply::{LocalReply, http_status_of};
use super::respond::{answer, reply, respond};
use super::route::retry::{RetryState, Verdict};
use super::route::timeout::Timeouts;
use super::route::{RouteRef, rewrite};
use super::stream::{RequestHead, Stream};
use crate::config::route::{Forward, HostRewrite};
use crate::telemetry::stream_info::ResponseFlags;
use crate::upstream::circuit_breaker::Permit;
use crate::upstream::{self, Host, PickContext, UpstreamCluster};

pub mod source;

const ATTEMPT_COUNT: HeaderName = HeaderName::from_static("x-envoy-attempt-count");
const SERVICE_TIME: HeaderName = HeaderName::from_static("x-envoy-upstream-service-time");

/// What stays the same over all attempts of a request.
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

impl Exchange<'_> {
    /// Time limits over all attempts.
    pub(super) fn limits(&self, stream: &Stream) -> Limits {
        let idle = self.timeouts.idle;
        Limits {
            global: AfterRequest::new(self.timeouts.global, &stream.upload),
            idle: idle.map(|limit| Idle::new(limit, &stream.info.bytes_received)),
            duration: Limits::duration_from(stream.info.start, self.timeouts.duration),
        }
    }

    /// An attempt begins.
    pub(super) fn count_attempt(&self, stream: &mut Stream, head: &mut RequestHead) {
        stream.info.attempts += 1;
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

    /// Where an attempt goes.
    pub(super) fn target<'t>(&'t self, host: &'t Rc<Host>) -> Target<'t> {
        Target {
            cluster: &self.cluster,
            host,
            priority: self.forward.priority,
        }
    }

    /// Whether the outcome of an attempt stands.
    pub(super) fn judge(
        &self,
        stream: &mut Stream,
        host: &Host,
        outcome: &Result<Outcome, Expired>,
        retry: Option<&mut RetryState<'_>>,
    ) -> Verdict {
        let verdict = match outcome {
            Ok(Outcome::Response(head, _)) => {
                let status = head.status.as_u16();
                let judged = grpc_status(&head.headers).map_or(status, http_status_of);
                host.record(upstream::Outcome::Response(judged));
                retry.map(|retry| retry.on_response(status, &head.headers))
            }
            Ok(Outcome::Failed(failure)) => {
                note_failure(stream, failure);
                retry.map(|retry| retry.on_reset(failure.reset, failure.started))
            }
            Err(Expired::PerTry) => {
                host.record(upstream::Outcome::LocalTimeout);
                self.cluster.cells().upstream_rq_per_try_timeout.inc();
                retry.map(|retry| retry.on_reset(Reset::Local, true))
            }
            Ok(Outcome::Answered(_)) | Err(_) => None,
        };
        let verdict = verdict.unwrap_or(Verdict::Stands);
        if verdict == Verdict::Stands
            && stream.info.attempts > 1
            && matches!(outcome, Ok(Outcome::Response(..)))
        {
            self.cluster.cells().upstream_rq_retry_success.inc();
        }
        if verdict == Verdict::LimitExceeded {
            let flag = ResponseFlags::UPSTREAM_RETRY_LIMIT_EXCEEDED;
            stream.info.flags.insert(flag);
        }
        verdict
    }

    /// A place in the retry budget, unless it is used up.
    pub(super) fn admit_retry(&self, stream: &mut Stream) -> Option<Permit> {
        let permit = self.cluster.admit_retry(self.forward.priority).ok();
        match permit {
            Some(_) => self.cluster.cells().upstream_rq_retry.inc(),
            None => stream.info.flags.insert(ResponseFlags::UPSTREAM_OVERFLOW),
        }
        permit
    }

    /// Gives an outcome up for another attempt.
    pub(super) fn give_up(
        &self,
        host: &Host,
        outcome: Result<Outcome, Expired>,
        retry: Option<&mut RetryState<'_>>,
    ) {
        if let Ok(Outcome::Response(_, body)) = outcome {
            body.discard();
        }
        if let Some(retry) = retry {
            retry.tried.push(host.address());
        }
    }

    /// The outcome stands: it goes to the client.
    pub(super) async fn conclude(
        &self,
        stream: Box<Stream>,
        outcome: Result<Outcome, Expired>,
        host: &Host,
        sent: Instant,
        limits: Limits,
    ) -> Response<ResponseBody> {
        match outcome {
            Ok(Outcome::Response(head, body)) => {
                let elapsed = sent.elapsed();
                self.finish(stream, head, body, elapsed, limits).await
            }
            Ok(Outcome::Failed(failure)) => {
                let retried = stream.info.attempts > 1;
                let answer = failure.reply(retried, self.suppress_envoy_headers);
                self.cluster.cells().response(answer.status.as_u16());
                self.fail(stream, answer).await
            }
            Ok(Outcome::Answered(answered)) => answer(stream, answered).await,
            Err(expired) => self.expire(stream, expired, host).await,
        }
    }

    /// The router answers by itself.
    pub(super) async fn fail(
        &self,
        mut stream: Box<Stream>,
        answer: LocalReply,
    ) -> Response<ResponseBody> {
        stream.attempts_in_reply = self.route.virtual_host().attempt_count_in_response;
        reply(stream, answer, ReplyOrigin::Router).await
    }

    /// A limit was reached before the response began.
    pub(super) async fn expire(
        &self,
        stream: Box<Stream>,
        expired: Expired,
        host: &Host,
    ) -> Response<ResponseBody> {
        match expired {
            Expired::Answered => {
                if let Some(answered) = Answered::take(&stream.upload) {
                    return answer(stream, answered).await;
                }
            }
            Expired::Global => {
                host.record(upstream::Outcome::LocalTimeout);
                self.cluster.cells().upstream_rq_timeout.inc();
                self.cluster.cells().response(504);
            }
            Expired::PerTry => self.cluster.cells().response(504),
            Expired::Idle | Expired::Duration => {}
        }
        let reply = expired.reply(stream.upload.complete.get());
        self.fail(stream, reply).await
    }

    /// The response goes to the client.
    pub(super) async fn finish(
        &self,
        mut stream: Box<Stream>,
        mut head: ResponseHead,
        mut body: ResponseSource,
        elapsed: Duration,
        limits: Limits,
    ) -> Response<ResponseBody> {
        self.note_response(&mut stream, &mut head, elapsed);
        let deadline = earliest(limits.global.sleep, limits.duration);
        let idle = limits.idle.map(Idle::into_parts);
        if (deadline.is_some() || idle.is_some())
            && let Some(body) = body.upstream_mut()
        {
            body.limit(Box::new(Timers { deadline, idle }));
        }
        respond(stream, head, body).await
    }

    /// What logs and the client are told about an upstream's response.
    pub(super) fn note_response(
        &self,
        stream: &mut Stream,
        head: &mut ResponseHead,
        elapsed: Duration,
    ) {
        self.cluster.cells().response(head.status.as_u16());
        stream.info.response_code = head.status.as_u16();
        stream.info.upstream_service_time = Some(elapsed);
        stream.info.response_code_details = "via_upstream".into();
        if stream.info.grpc {
            stream.info.grpc_status = grpc_status(&head.headers);
        }
        if !self.suppress_envoy_headers {
            let ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
            head.headers.insert(SERVICE_TIME, HeaderValue::from(ms));
        }
        if let Some(cookie) = stream.set_cookie.take() {
            head.headers.append(SET_COOKIE, cookie);
        }
        rewrite::finalize_response(stream, &mut head.headers);
        if self.route.virtual_host().attempt_count_in_response {
            let count = HeaderValue::from(stream.info.attempts);
            head.headers.insert(ATTEMPT_COUNT, count);
        }
    }
}

type Timer = Option<std::pin::Pin<Box<tokio::time::Sleep>>>;

fn earliest(a: Timer, b: Timer) -> Timer {
    match (a, b) {
        (Some(a), Some(b)) => Some(if a.deadline() <= b.deadline() { a } else { b }),
        (a, b) => a.or(b),
    }
}

/// What logs are told about an attempt without a response.
pub(super) fn note_failure(stream: &mut Stream, failure: &Failure) {
    stream.info.upstream_transport_failure = failure.transport.as_deref().map(Into::into);
}
