//! `http[].fault`: delays and errors that are injected.

use mesh_api::route::fault::{Abort, AbortStatus, Delay, Fault};
use mesh_api::route::mirror::Percent;

use crate::decode::jsonpb::GoDuration;
use crate::kinds::definition::constraint::at_most_one;
use crate::kinds::findings::Findings;
use crate::kinds::rules;
use crate::kinds::wire::{Percent as WirePercent, wire};
use crate::manifest::path::FieldPath;

const GRPC_STATUSES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

wire! {
    WireFault {
        /// Delay before requests are forwarded.
        delay: Option<WireDelay>,
        /// Response that is sent instead of forwarding requests.
        abort: Option<WireAbort>,
    }

    #[schemars(extend("oneOf" = at_most_one(&["fixedDelay", "exponentialDelay"])))]
    WireDelay {
        /// Deprecated: use percentage.
        percent: Option<u32>,
        /// Percentage of requests that are delayed, not finer than 0.0001. By default none.
        percentage: Option<WirePercent>,
        /// The delay, at least 1ms. Required.
        fixed_delay: Option<GoDuration>,
        /// Not supported.
        exponential_delay: Option<GoDuration>,
    }

    #[schemars(extend("oneOf" = at_most_one(&["httpStatus", "grpcStatus", "http2Error"])))]
    WireAbort {
        /// Percentage of requests that are aborted, not finer than 0.0001. By default none.
        percentage: Option<WirePercent>,
        /// Status of the response, 200 to 599.
        http_status: Option<i32>,
        /// gRPC status of the response, by name such as UNAVAILABLE, or by number.
        grpc_status: Option<String>,
        /// Not supported.
        http2_error: Option<String>,
    }
}

pub(super) fn read(wire: &WireFault, path: &FieldPath<'_>, findings: &mut Findings<'_>) -> Fault {
    if wire.delay.is_none() && wire.abort.is_none() {
        findings.error(path, "the fault needs a delay or an abort");
    }
    let delay = wire.delay.as_ref();
    let delay = delay.and_then(|wire| self::delay(wire, &path.field("delay"), findings));
    let abort = wire.abort.as_ref();
    let abort = abort.and_then(|wire| self::abort(wire, &path.field("abort"), findings));
    Fault { delay, abort }
}

fn delay(wire: &WireDelay, path: &FieldPath<'_>, findings: &mut Findings<'_>) -> Option<Delay> {
    if wire.exponential_delay.is_some() {
        findings
            .error(
                &path.field("exponentialDelay"),
                "exponential delays are not supported by Istio",
            )
            .suggest("use fixedDelay");
    }
    match wire.fixed_delay {
        Some(_) => rules::duration(wire.fixed_delay, &path.field("fixedDelay"), findings),
        None => findings
            .error(path, "the delay has no duration")
            .suggest("add fixedDelay, for example fixedDelay: 5s"),
    }
    let deprecated = wire.percent.map(|percent| {
        let at = path.field("percent");
        findings.deprecated(&at, "percentage: {value: N}");
        let percent = f64::from(percent);
        rules::percent(percent, &at, findings);
        Percent::from_percent(percent).unwrap_or(Percent::NONE)
    });
    let percentage = percentage(wire.percentage.as_ref(), path, findings);
    Some(Delay {
        fixed: wire.fixed_delay?.0,
        percentage: percentage.or(deprecated).unwrap_or(Percent::NONE),
    })
}

fn abort(wire: &WireAbort, path: &FieldPath<'_>, findings: &mut Findings<'_>) -> Option<Abort> {
    let set = [
        ("httpStatus", wire.http_status.is_some()),
        ("grpcStatus", wire.grpc_status.is_some()),
        ("http2Error", wire.http2_error.is_some()),
    ];
    if rules::at_most_one(&set, path, findings) == 0 {
        findings
            .error(path, "the abort has no status")
            .suggest("add httpStatus or grpcStatus");
    }
    let http = wire.http_status;
    let http = http.and_then(|status| http_status(status, &path.field("httpStatus"), findings));
    let grpc = wire.grpc_status.as_deref();
    let grpc = grpc.and_then(|status| grpc_status(status, &path.field("grpcStatus"), findings));
    if wire.http2_error.is_some() {
        findings
            .error(
                &path.field("http2Error"),
                "HTTP/2 errors are not supported by Istio",
            )
            .suggest("use httpStatus");
    }
    let percentage = percentage(wire.percentage.as_ref(), path, findings);
    Some(Abort {
        status: http.or(grpc)?,
        percentage: percentage.unwrap_or(Percent::NONE),
    })
}

fn http_status(
    status: i32,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<AbortStatus> {
    let legal = u16::try_from(status).ok();
    let legal = legal.filter(|status| (200..=599).contains(status));
    if legal.is_none() {
        let message = format!("status {status} is not between 200 and 599");
        findings.error(path, message);
    }
    legal.map(AbortStatus::Http)
}

/// A status by name or number.
fn grpc_status(
    text: &str,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<AbortStatus> {
    let number = text.parse::<usize>().ok();
    let name = || GRPC_STATUSES.iter().position(|name| *name == text);
    let code = number
        .filter(|code| *code < GRPC_STATUSES.len())
        .or_else(name);
    let Some(code) = code else {
        findings
            .error(path, format!("\"{text}\" is not a gRPC status"))
            .suggest("write for example \"UNAVAILABLE\"");
        return None;
    };
    let number = u16::try_from(code).ok()?;
    Some(AbortStatus::Grpc(number, GRPC_STATUSES[code].into()))
}

/// Field `percentage`. Envoy's finest one is a millionth.
fn percentage(
    wire: Option<&WirePercent>,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<Percent> {
    let value = wire?.value;
    let at = path.field("percentage");
    let path = at.field("value");
    rules::percent(value, &path, findings);
    if value > 0.0 && value < 0.0001 {
        findings.error(&path, format!("{value} % is finer than 0.0001 %"));
    }
    Percent::from_percent(value)
}
