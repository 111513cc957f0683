//! The headers an application passes on so that the hops of one request can be tied together.
//!
//! Proxies start and report spans, but only the application knows which outgoing call belongs to which
//! incoming request.

use axum::http::HeaderMap;

const FORWARDED: [&str; 22] = [
    "x-request-id",
    "x-ot-span-context",
    "x-datadog-trace-id",
    "x-datadog-parent-id",
    "x-datadog-sampling-priority",
    "traceparent",
    "tracestate",
    "x-cloud-trace-context",
    "grpc-trace-bin",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-flags",
    "b3",
    "sw8",
    "end-user",
    "user-agent",
    "cookie",
    "authorization",
    "jwt",
    "baggage",
];

/// The headers of `incoming` that an outgoing call must carry.
pub fn forward_headers(incoming: &HeaderMap) -> HeaderMap {
    let mut outgoing = HeaderMap::new();
    for name in FORWARDED {
        for value in incoming.get_all(name) {
            outgoing.append(name, value.clone());
        }
    }
    outgoing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_tracing_and_user_headers_and_nothing_else() {
        let mut incoming = HeaderMap::new();
        for name in ["x-request-id", "x-b3-traceid", "end-user", "accept", "host"] {
            incoming.insert(name, "1".parse().unwrap());
        }
        let outgoing = forward_headers(&incoming);
        let mut names: Vec<_> = outgoing.keys().map(|name| name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["end-user", "x-b3-traceid", "x-request-id"]);
    }
}
