//! `envoy.filters.http.cors`: answers preflights and adds the headers that browsers ask for.
//!
//! The filter has no configuration of its own: policies come with routes, and what a route leaves open its
//! virtual host may answer, so the levels are merged field by field when the table is applied.

use std::sync::Arc;

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderName,
    HeaderValue, ORIGIN,
};
use http::{Method, StatusCode};

use super::{Filter, Step};
use crate::config::filter::cors::CorsPolicy;
use crate::config::matcher::Fraction;
use crate::config::route::overrides::FilterOverride;
use crate::local_reply::LocalReply;
use crate::stream::{RequestHead, Stream};
use crate::telemetry::stream_info::ResponseFlags;

const REQUEST_PRIVATE_NETWORK: HeaderName =
    HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE_NETWORK: HeaderName =
    HeaderName::from_static("access-control-allow-private-network");
const TRUE: HeaderValue = HeaderValue::from_static("true");

fn allows(policy: &CorsPolicy, origin: &[u8]) -> bool {
    policy
        .allow_origins
        .iter()
        .any(|matcher| matcher.matches(b"*") || matcher.matches(origin))
}

fn preflight_headers(
    policy: &CorsPolicy,
    request: &HeaderMap,
    origin: Option<HeaderValue>,
) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Some(origin) = origin {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
    if policy.allow_credentials == Some(true) {
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
    }
    let methods = ACCESS_CONTROL_REQUEST_METHOD;
    if let Some(value) = echoed(policy.allow_methods.as_ref(), request, methods) {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, value);
    }
    let names = ACCESS_CONTROL_REQUEST_HEADERS;
    if let Some(value) = echoed(policy.allow_headers.as_ref(), request, names) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, value);
    }
    if let Some(max_age) = &policy.max_age {
        headers.insert(ACCESS_CONTROL_MAX_AGE, max_age.clone());
    }
    let asks_private = request.get(REQUEST_PRIVATE_NETWORK) == Some(&TRUE);
    if policy.allow_private_network == Some(true) && asks_private {
        headers.insert(ALLOW_PRIVATE_NETWORK, TRUE);
    }
    headers
}

/// The configured list; what was asked for if the list is `*`.
fn echoed(
    allowed: Option<&HeaderValue>,
    request: &HeaderMap,
    asked: HeaderName,
) -> Option<HeaderValue> {
    let allowed = allowed?;
    if allowed == "*" {
        return Some(
            request
                .get(asked)
                .cloned()
                .unwrap_or_else(|| HeaderValue::from_static("")),
        );
    }
    Some(allowed.clone())
}

/// What the response to an allowed origin needs.
#[derive(Debug)]
pub struct Allowed {
    origin: HeaderValue,
    policy: Arc<CorsPolicy>,
}

/// The filter.
#[derive(Debug)]
pub struct CorsFilter {
    /// Its name in `http_filters`.
    pub name: Box<str>,
}

impl Filter for CorsFilter {
    fn name(&self) -> &str {
        &self.name
    }

    fn decode_headers(&self, stream: &mut Stream, request: &mut RequestHead) -> Step {
        let policy = match stream.route.as_ref().map(|r| r.overrides().get(&self.name)) {
            Some(Some(FilterOverride::Cors(policy))) => policy.clone(),
            _ => return Step::Continue,
        };
        let Some(origin) = request.headers.get(ORIGIN).filter(|o| !o.is_empty()) else {
            return Step::Continue;
        };
        if !policy.enabled.is_none_or(Fraction::draw) {
            return Step::Continue;
        }
        let origin = allows(&policy, origin.as_bytes()).then(|| origin.clone());
        let asked = request.headers.get(ACCESS_CONTROL_REQUEST_METHOD);
        let preflight = request.method == Method::OPTIONS && asked.is_some_and(|m| !m.is_empty());
        let forward = origin.is_none() && policy.forward_unmatched_preflights != Some(false);
        let reply = (preflight && !forward).then(|| {
            let flags = ResponseFlags::default();
            let mut reply = LocalReply::empty(StatusCode::OK, "cors_response", flags);
            reply.headers = preflight_headers(&policy, &request.headers, origin.clone());
            reply.plain = true;
            Box::new(reply)
        });
        stream.cors = origin.map(|origin| Allowed { origin, policy });
        reply.map_or(Step::Continue, Step::Reply)
    }

    fn encode_headers(&self, stream: &mut Stream, response: &mut http::response::Parts) {
        let Some(allowed) = &stream.cors else {
            return;
        };
        let headers = &mut response.headers;
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed.origin.clone());
        if allowed.policy.allow_credentials == Some(true) {
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
        }
        if let Some(expose) = &allowed.policy.expose_headers {
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::matcher::StringMatcher;

    fn policy() -> CorsPolicy {
        CorsPolicy {
            allow_origins: vec![StringMatcher::exact("https://a", false)],
            allow_methods: Some(HeaderValue::from_static("*")),
            ..CorsPolicy::default()
        }
    }

    #[test]
    fn a_star_echoes_what_was_asked_for() {
        let mut request = HeaderMap::new();
        request.insert(
            ACCESS_CONTROL_REQUEST_METHOD,
            HeaderValue::from_static("PUT"),
        );
        let origin = HeaderValue::from_static("https://a");
        let headers = preflight_headers(&policy(), &request, Some(origin));
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_METHODS], "PUT");
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_ORIGIN], "https://a");
        assert_eq!(headers.len(), 2);
    }

    #[test]
    fn origins_are_matched() {
        assert!(allows(&policy(), b"https://a"));
        assert!(!allows(&policy(), b"https://b"));
        let any = CorsPolicy {
            allow_origins: vec![StringMatcher::exact("*", false)],
            ..policy()
        };
        assert!(allows(&any, b"https://b"));
    }

    #[test]
    fn an_outer_level_answers_what_the_inner_leaves_open() {
        let outer = CorsPolicy {
            allow_methods: Some(HeaderValue::from_static("GET")),
            max_age: Some(HeaderValue::from_static("60")),
            enabled: Some(Fraction {
                numerator: 0,
                denominator: 100,
            }),
            ..CorsPolicy::default()
        };
        let merged = policy().or(&outer);
        assert_eq!(merged.allow_methods.unwrap(), "*");
        assert_eq!(merged.max_age.unwrap(), "60");
        assert_eq!(merged.enabled, None);
    }
}
