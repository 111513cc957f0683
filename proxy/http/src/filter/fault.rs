//! `envoy.filters.http.fault`: delays requests and answers them with errors, for tests of resilience.
//!
//! Delay and abort are drawn independently; a request may suffer both, the delay first.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{HeaderMap, StatusCode};

use super::registry::Build;
use super::{Filter, HeadContext, Step};
use crate::config::filter::FilterConfig;
use crate::config::filter::fault::{AbortKind, FaultConfig};
use crate::config::matcher::Fraction;
use crate::local_reply::LocalReply;
use crate::stream::{RequestHead, Stream};
use crate::telemetry::stream_info::ResponseFlags;

/// True if a request is of those that may suffer.
fn concerns(config: &FaultConfig, stream: &Stream, request: &RequestHead) -> bool {
    if !config.upstream_cluster.is_empty() {
        let cluster = stream.route.as_ref().and_then(|route| route.cluster_name());
        if cluster != Some(&*config.upstream_cluster) {
            return false;
        }
    }
    if !config.downstream_nodes.is_empty() {
        let node = request.headers.get("x-envoy-downstream-service-node");
        let node = node.map_or(&b""[..], |node| node.as_bytes());
        if !config.downstream_nodes.iter().any(|n| n.as_bytes() == node) {
            return false;
        }
    }
    config
        .headers
        .iter()
        .all(|matcher| matcher.matches(request))
}

fn drawn_delay(config: &FaultConfig, headers: &HeaderMap) -> Option<Duration> {
    let delay = config.delay?;
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

fn drawn_abort(config: &FaultConfig, headers: &HeaderMap) -> Option<Box<LocalReply>> {
    let abort = config.abort?;
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

/// How many requests suffer a fault now, over all workers. Touched only where `max_active` is set.
#[derive(Debug, Default, Clone)]
struct Active(Arc<AtomicU64>);

/// A request that suffers a fault now.
struct ActiveFault(Option<Active>);

impl Active {
    /// A place among the active faults, if there is one.
    fn enter(&self, max: Option<u64>) -> Option<ActiveFault> {
        let Some(max) = max else {
            return Some(ActiveFault(None));
        };
        if self.0.load(Ordering::Relaxed) >= max {
            return None;
        }
        self.0.fetch_add(1, Ordering::Relaxed);
        Some(ActiveFault(Some(self.clone())))
    }
}

impl Drop for ActiveFault {
    fn drop(&mut self) {
        if let Some(active) = &self.0 {
            active.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// The filter. Routes may replace its configuration.
#[derive(Debug)]
struct Fault {
    /// What holds where routes say nothing: a [`FaultConfig`].
    config: FilterConfig,
    active: Active,
}

/// The message that configures the filter, and routes.
pub(super) const KIND: &str = "envoy.extensions.filters.http.fault.v3.HTTPFault";

pub(super) fn build(config: &FilterConfig, build: &Build<'_>) -> Option<Rc<dyn Filter>> {
    config.get::<FaultConfig>()?;
    Some(Rc::new(Fault {
        config: config.clone(),
        active: Active(build.shared(config)),
    }))
}

impl Filter for Fault {
    fn request_head(
        &self,
        context: &mut HeadContext<'_>,
        request: &mut RequestHead,
    ) -> Step<RequestHead> {
        let config = context.route_config().or_else(|| self.config.get());
        let Some(config): Option<&FaultConfig> = config else {
            return Step::Continue;
        };
        if (config.delay.is_none() && config.abort.is_none())
            || !concerns(config, context.stream, request)
        {
            return Step::Continue;
        }
        if let Some(delay) = drawn_delay(config, &request.headers)
            && let Some(active) = self.active.enter(config.max_active)
        {
            let abort = drawn_abort(config, &request.headers);
            let flag = ResponseFlags::DELAY_INJECTED;
            context.stream.info.flags.insert(flag);
            return Step::wait(async move {
                tokio::time::sleep(delay).await;
                drop(active);
                move |_: &mut HeadContext<'_>, _: &mut RequestHead| {
                    abort.map_or(Step::Continue, Step::Reply)
                }
            });
        }
        match drawn_abort(config, &request.headers) {
            Some(reply) if self.active.enter(config.max_active).is_some() => Step::Reply(reply),
            _ => Step::Continue,
        }
    }
}

#[cfg(test)]
mod tests;
