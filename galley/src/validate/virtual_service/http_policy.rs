//! Timeouts, retries, faults and CORS of an HTTP rule.

use super::http_match::string_match;
use crate::crd::virtual_service::{Abort, CorsPolicy, Delay, HttpRoute, Retry};
use crate::decode::suggest::did_you_mean;
use crate::manifest::path::FieldPath;
use crate::normalize::grpc_status;
use crate::validate::{Findings, rules};

/// Envoy's names of retry conditions, HTTP's and gRPC's.
const RETRY_ON: [&str; 16] = [
    "5xx",
    "gateway-error",
    "reset",
    "reset-before-request",
    "connect-failure",
    "envoy-ratelimited",
    "retriable-4xx",
    "refused-stream",
    "retriable-status-codes",
    "retriable-headers",
    "http3-post-connect-failure",
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "unavailable",
];

const METHODS: [&str; 10] = [
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE", "*",
];

pub(super) fn validate(route: &HttpRoute, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    rules::duration_or_zero(route.timeout, &path.field("timeout"), findings);
    if let Some(retries_) = &route.retries {
        retries(retries_, &path.field("retries"), findings);
    }
    if let Some(fault) = &route.fault {
        let path = path.field("fault");
        if fault.delay.is_none() && fault.abort.is_none() {
            findings.error(&path, "the fault needs a delay or an abort");
        }
        if let Some(delay_) = &fault.delay {
            delay(delay_, &path.field("delay"), findings);
        }
        if let Some(abort_) = &fault.abort {
            abort(abort_, &path.field("abort"), findings);
        }
    }
    if let Some(cors_) = &route.cors_policy {
        cors(cors_, &path.field("corsPolicy"), findings);
    }
}

/// Also the mesh's default policy.
pub(crate) fn retries(retries: &Retry, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    if retries.attempts < 0 {
        let message = format!("{} attempts are fewer than none", retries.attempts);
        findings.error(&path.field("attempts"), message);
    }
    let others = retries.per_try_timeout.is_some()
        || !retries.retry_on.is_empty()
        || retries.retry_remote_localities.is_some()
        || retries.backoff.is_some();
    if retries.attempts == 0 && others {
        findings
            .error(
                &path.field("attempts"),
                "0 attempts switch retries off, yet the policy says more",
            )
            .suggest("set attempts, or leave the other fields out");
    }
    rules::duration(
        retries.per_try_timeout,
        &path.field("perTryTimeout"),
        findings,
    );
    rules::duration(retries.backoff, &path.field("backoff"), findings);
    let at = path.field("retryOn");
    let conditions = retries
        .retry_on
        .split(',')
        .map(str::trim)
        .filter(|c| !c.is_empty());
    for condition in conditions {
        let code = condition.parse::<u16>().ok();
        let known = RETRY_ON.contains(&condition) || code.is_some_and(|c| (100..=599).contains(&c));
        if !known {
            let known = || format!("known: {}, or a status code", RETRY_ON.join(", "));
            findings
                .error(&at, format!("\"{condition}\" is not a retry condition"))
                .suggest_with(|| did_you_mean(condition, &RETRY_ON).or_else(|| Some(known())));
        }
    }
}

fn delay(delay: &Delay, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    if delay.exponential_delay.is_some() {
        findings
            .error(
                &path.field("exponentialDelay"),
                "exponential delays are not supported by Istio",
            )
            .suggest("use fixedDelay");
    }
    match delay.fixed_delay {
        Some(_) => rules::duration(delay.fixed_delay, &path.field("fixedDelay"), findings),
        None => findings
            .error(path, "the delay has no duration")
            .suggest("add fixedDelay, for example fixedDelay: 5s"),
    }
    if let Some(percent) = delay.percent {
        let at = path.field("percent");
        findings.deprecated(&at, "percentage: {value: N}");
        rules::percent(f64::from(percent), &at, findings);
    }
    if let Some(percentage) = &delay.percentage {
        share(percentage.value, &path.field("percentage"), findings);
    }
}

fn abort(abort: &Abort, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    let set = [
        ("httpStatus", abort.http_status.is_some()),
        ("grpcStatus", abort.grpc_status.is_some()),
        ("http2Error", abort.http2_error.is_some()),
    ];
    if rules::at_most_one(&set, path, findings) == 0 {
        findings
            .error(path, "the abort has no status")
            .suggest("add httpStatus or grpcStatus");
    }
    if let Some(status) = abort
        .http_status
        .filter(|status| !(200..=599).contains(status))
    {
        let message = format!("status {status} is not between 200 and 599");
        findings.error(&path.field("httpStatus"), message);
    }
    if let Some(status) = &abort.grpc_status
        && grpc_status(status).is_none()
    {
        let message = format!("\"{status}\" is not a gRPC status");
        findings
            .error(&path.field("grpcStatus"), message)
            .suggest("write for example \"UNAVAILABLE\"");
    }
    if abort.http2_error.is_some() {
        findings
            .error(
                &path.field("http2Error"),
                "HTTP/2 errors are not supported by Istio",
            )
            .suggest("use httpStatus");
    }
    if let Some(percentage) = &abort.percentage {
        share(percentage.value, &path.field("percentage"), findings);
    }
}

/// Envoy's finest share is a millionth.
fn share(value: f64, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    let path = path.field("value");
    rules::percent(value, &path, findings);
    if value > 0.0 && value < 0.0001 {
        findings.error(&path, format!("{value} % is finer than 0.0001 %"));
    }
}

fn cors(cors: &CorsPolicy, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    if !cors.allow_origin.is_empty() {
        findings.deprecated(&path.field("allowOrigin"), "allowOrigins");
    }
    for (index, origin) in cors.allow_origins.iter().enumerate() {
        string_match(
            origin,
            false,
            &path.field("allowOrigins").index(index),
            findings,
        );
    }
    for (index, method) in cors.allow_methods.iter().enumerate() {
        if !METHODS.contains(&method.as_str()) {
            let at = path.field("allowMethods");
            findings
                .error(&at.index(index), format!("\"{method}\" is not a method"))
                .suggest_with(|| did_you_mean(method, &METHODS));
        }
    }
    for (field, names) in [
        ("allowHeaders", &cors.allow_headers),
        ("exposeHeaders", &cors.expose_headers),
    ] {
        for (index, name) in names.iter().enumerate().filter(|(_, name)| *name != "*") {
            if !rules::is_header_name(name) {
                let message = format!("\"{name}\" is not a header name");
                findings.error(&path.field(field).index(index), message);
            }
        }
    }
    let fraction = cors.max_age.is_some_and(|age| age.0.subsec_nanos() != 0);
    if fraction {
        findings.error(&path.field("maxAge"), "the age must be whole seconds");
    }
}
