//! `envoy.filters.http.fault`: delays requests and answers them with errors, for tests of resilience.
//!
//! Delay and abort are drawn independently; a request may suffer both, the delay first.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{HeaderMap, StatusCode};

use super::{Filter, Step};
use crate::config::matcher::{Fraction, HeaderMatcher};
use crate::config::route::overrides::FilterOverride;
use crate::http::local_reply::LocalReply;
use crate::http::stream::{RequestHead, Stream};
use crate::telemetry::stream_info::ResponseFlags;

/// `HTTPFault`.
#[derive(Debug, Default)]
pub struct FaultConfig {
    /// Only requests to this cluster; empty for all.
    pub upstream_cluster: Box<str>,
    /// Only requests with these headers.
    pub headers: Vec<HeaderMatcher>,
    /// Only requests from these nodes (`x-envoy-downstream-service-node`); empty for all.
    pub downstream_nodes: Vec<Box<str>>,
    /// The delay.
    pub delay: Option<Delay>,
    /// The error.
    pub abort: Option<Abort>,
    /// How many requests may suffer at once.
    pub max_active: Option<u64>,
    /// How many do now. Touched only where `max_active` is set.
    pub active: Arc<AtomicU64>,
}

/// How long, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delay {
    /// The duration; `None` if the client says it (`x-envoy-fault-delay-request`).
    pub duration: Option<Duration>,
    /// The share of the requests; with a duration from the client, the most it may ask for.
    pub fraction: Fraction,
}

/// Which error, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abort {
    /// What is answered.
    pub kind: AbortKind,
    /// The share of the requests; with an error from the client, the most it may ask for.
    pub fraction: Fraction,
}

/// What is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AbortKind {
    /// An HTTP status.
    Http(StatusCode),
    /// A gRPC status.
    Grpc(u16),
    /// What the client says (`x-envoy-fault-abort-request`, `x-envoy-fault-abort-grpc-request`).
    Header,
}

impl FaultConfig {
    fn concerns(&self, stream: &Stream, request: &RequestHead) -> bool {
        if !self.upstream_cluster.is_empty() {
            let cluster = stream.route.as_ref().and_then(|route| route.cluster_name());
            if cluster != Some(&*self.upstream_cluster) {
                return false;
            }
        }
        if !self.downstream_nodes.is_empty() {
            let node = request.headers.get("x-envoy-downstream-service-node");
            let node = node.map_or(&b""[..], |node| node.as_bytes());
            if !self.downstream_nodes.iter().any(|n| n.as_bytes() == node) {
                return false;
            }
        }
        self.headers.iter().all(|matcher| matcher.matches(request))
    }

    fn drawn_delay(&self, headers: &HeaderMap) -> Option<Duration> {
        let delay = self.delay?;
        let (duration, fraction) = match delay.duration {
            Some(duration) => (duration, delay.fraction),
            None => {
                let ms = number(headers, "x-envoy-fault-delay-request")?;
                let share = "x-envoy-fault-delay-request-percentage";
                let fraction = limited(headers, share, delay.fraction);
                (Duration::from_millis(ms), fraction)
            }
        };
        (!duration.is_zero() && fraction.draw()).then_some(duration)
    }

    fn drawn_abort(&self, headers: &HeaderMap) -> Option<Box<LocalReply>> {
        let abort = self.abort?;
        let (status, grpc) = match abort.kind {
            AbortKind::Http(status) => (status, None),
            AbortKind::Grpc(grpc) => (StatusCode::OK, Some(grpc)),
            AbortKind::Header => asked_abort(headers)?,
        };
        let fraction = match abort.kind {
            AbortKind::Header => {
                let share = "x-envoy-fault-abort-request-percentage";
                limited(headers, share, abort.fraction)
            }
            _ => abort.fraction,
        };
        if !fraction.draw() {
            return None;
        }
        let flag = ResponseFlags::FAULT_INJECTED;
        let mut reply = LocalReply::new(status, "fault filter abort", "fault_filter_abort", flag);
        reply.grpc_status = grpc;
        Some(Box::new(reply))
    }

    /// A place among the active faults, if there is one.
    fn enter(&self) -> Option<ActiveFault> {
        let Some(max) = self.max_active else {
            return Some(ActiveFault(None));
        };
        if self.active.load(Ordering::Relaxed) >= max {
            return None;
        }
        self.active.fetch_add(1, Ordering::Relaxed);
        Some(ActiveFault(Some(self.active.clone())))
    }
}

fn asked_abort(headers: &HeaderMap) -> Option<(StatusCode, Option<u16>)> {
    if let Some(status) = number(headers, "x-envoy-fault-abort-request") {
        let status = u16::try_from(status).ok()?;
        let status = (200..600).contains(&status).then_some(status)?;
        return Some((StatusCode::from_u16(status).ok()?, None));
    }
    let grpc = number(headers, "x-envoy-fault-abort-grpc-request")?;
    Some((StatusCode::OK, Some(u16::try_from(grpc).ok()?)))
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}

/// The share that the client asks for, at most the configured one.
fn limited(headers: &HeaderMap, name: &str, max: Fraction) -> Fraction {
    match number(headers, name) {
        Some(asked) => Fraction {
            numerator: max.numerator.min(u32::try_from(asked).unwrap_or(u32::MAX)),
            denominator: max.denominator,
        },
        None => max,
    }
}

/// A request that suffers a fault now.
struct ActiveFault(Option<Arc<AtomicU64>>);

impl Drop for ActiveFault {
    fn drop(&mut self) {
        if let Some(active) = &self.0 {
            active.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// The filter. Routes may replace its configuration.
#[derive(Debug)]
pub struct FaultFilter {
    /// Its name in `http_filters`.
    pub name: Box<str>,
    /// What holds where routes say nothing.
    pub config: Arc<FaultConfig>,
}

impl Filter for FaultFilter {
    fn name(&self) -> &str {
        &self.name
    }

    fn decode_headers(&self, stream: &mut Stream, request: &mut RequestHead) -> Step {
        let route = stream.route.clone();
        let config = match route.as_ref().and_then(|r| r.overrides().get(&self.name)) {
            Some(FilterOverride::Fault(config)) => config,
            _ => &self.config,
        };
        if (config.delay.is_none() && config.abort.is_none()) || !config.concerns(stream, request) {
            return Step::Continue;
        }
        if let Some(delay) = config.drawn_delay(&request.headers)
            && let Some(active) = config.enter()
        {
            stream.info.flags.insert(ResponseFlags::DELAY_INJECTED);
            let abort = config.drawn_abort(&request.headers);
            return Step::Wait(Box::pin(async move {
                tokio::time::sleep(delay).await;
                drop(active);
                abort
            }));
        }
        match config.drawn_abort(&request.headers) {
            Some(reply) if config.enter().is_some() => Step::Reply(reply),
            _ => Step::Continue,
        }
    }
}

#[cfg(test)]
mod tests;
