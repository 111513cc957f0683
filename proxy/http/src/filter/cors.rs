//! `envoy.filters.http.cors`: answers preflights and adds the headers that browsers ask for.
//!
//! The filter has no configuration of its own: policies come with routes, and what a route leaves open its
//! virtual host may answer, so the levels are merged field by field when the table is applied.

use std::rc::Rc;

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderName,
    HeaderValue, ORIGIN,
};
use http::{Method, StatusCode};

use super::registry::Build;
use super::{Filter, HeadContext, ResponseHead, Step};
use crate::config::filter::FilterConfig;
use crate::config::filter::cors::CorsPolicy;
use crate::config::matcher::Fraction;
use crate::config::route::Action;
use crate::local_reply::{LocalReply, Shape};
use crate::stream::RequestHead;
use crate::telemetry::stream_info::ResponseFlags;

const REQUEST_PRIVATE_NETWORK: HeaderName =
    HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE_NETWORK: HeaderName =
    HeaderName::from_static("access-control-allow-private-network");
const TRUE: HeaderValue = HeaderValue::from_static("true");

/// The headers of the answer to a preflight.
fn preflight(policy: &CorsPolicy, request: &HeaderMap, origin: Option<HeaderValue>) -> HeaderMap {
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
struct Allowed {
    origin: HeaderValue,
    credentials: bool,
    expose_headers: Option<HeaderValue>,
}

/// The filter.
#[derive(Debug)]
struct Cors;

/// The message that configures the filter.
pub(super) const KIND: &str = "envoy.extensions.filters.http.cors.v3.Cors";

pub(super) fn build(_: &FilterConfig, _: &Build<'_>) -> Option<Rc<dyn Filter>> {
    Some(Rc::new(Cors))
}

impl Filter for Cors {
    fn request_head(
        &self,
        context: &mut HeadContext<'_>,
        request: &mut RequestHead,
    ) -> Step<RequestHead> {
        // As Envoy: redirects and direct responses are not for other origins.
        let route = context.stream.route.as_ref();
        if !route.is_some_and(|route| matches!(route.route().action, Action::Forward(_))) {
            return Step::Continue;
        }
        let Some(policy) = context.route_config::<CorsPolicy>() else {
            return Step::Continue;
        };
        let Some(origin) = request.headers.get(ORIGIN).filter(|o| !o.is_empty()) else {
            return Step::Continue;
        };
        if !policy.enabled.is_none_or(Fraction::draw) {
            return Step::Continue;
        }
        let origin = policy.allows(origin.as_bytes()).then(|| origin.clone());
        let asked = request.headers.get(ACCESS_CONTROL_REQUEST_METHOD);
        let is_preflight =
            request.method == Method::OPTIONS && asked.is_some_and(|m| !m.is_empty());
        let forward = origin.is_none() && policy.forward_unmatched_preflights != Some(false);
        let reply = (is_preflight && !forward).then(|| {
            let flags = ResponseFlags::default();
            let reply = LocalReply::empty(StatusCode::OK, "cors_response", flags);
            let mut reply = reply.shaped(Shape::Whole);
            reply.headers = preflight(policy, &request.headers, origin.clone());
            Box::new(reply)
        });
        let allowed = origin.map(|origin| Allowed {
            origin,
            credentials: policy.allow_credentials == Some(true),
            expose_headers: policy.expose_headers.clone(),
        });
        if let Some(allowed) = allowed {
            context.set_state(allowed);
        }
        reply.map_or(Step::Continue, Step::Reply)
    }

    fn response_head(
        &self,
        context: &mut HeadContext<'_>,
        response: &mut ResponseHead,
    ) -> Step<ResponseHead> {
        let Some(allowed) = context.state::<Allowed>() else {
            return Step::Continue;
        };
        let headers = &mut response.headers;
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed.origin.clone());
        if allowed.credentials {
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
        }
        if let Some(expose) = &allowed.expose_headers {
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
        }
        Step::Continue
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
        let headers = preflight(&policy(), &request, Some(origin));
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_METHODS], "PUT");
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_ORIGIN], "https://a");
        assert_eq!(headers.len(), 2);
    }
}
