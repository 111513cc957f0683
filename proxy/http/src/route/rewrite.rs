//! What a route does to the request before it goes upstream, and to the response before it goes back.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;

use super::RouteRef;
use crate::config::route::headers::{
    AddValue, AppendAction, HeaderAdd, HeaderEdits, HeaderOps, HeaderTarget,
};
use crate::config::route::{Forward, HostRewrite, PathMatch, PathRewrite, RegexRewrite};
use crate::format::{FormatContext, render};
use crate::headers::append;
use crate::stream::{RequestHead, Stream};

const ORIGINAL_PATH: HeaderName = HeaderName::from_static("x-envoy-original-path");
const ORIGINAL_HOST: HeaderName = HeaderName::from_static("x-envoy-original-host");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Applies header operations, host and path rewrites to a request.
pub fn finalize_request(
    route: &RouteRef,
    forward: &Forward,
    stream: &Stream,
    request: &mut RequestHead,
) {
    for ops in header_ops(route) {
        edit_request(&ops.request, stream, request);
    }
    let host = route
        .alternative()
        .and_then(|alternative| alternative.host.as_ref());
    rewrite_host(host.unwrap_or(&forward.host), forward, request);
    rewrite_path(&route.route().matches.path, &forward.path, request);
}

/// Keeps the request's head for responses whose header operations mention it.
pub fn keep_for_response(route: &RouteRef, stream: &mut Stream, request: &RequestHead) {
    if header_ops(route)
        .iter()
        .any(|ops| ops.response.reads_request)
    {
        stream.head_for_formats = Some(Box::new(request.copy()));
    }
}

/// Applies header operations to a response.
pub fn finalize_response(stream: &Stream, headers: &mut HeaderMap) {
    let Some(route) = &stream.route else {
        return;
    };
    for ops in header_ops(route) {
        edit_response(&ops.response, stream, headers);
    }
}

fn header_ops(route: &RouteRef) -> &[Arc<HeaderOps>] {
    match route.alternative() {
        Some(alternative) => &alternative.headers,
        None => &route.route().headers,
    }
}

fn edit_request(edits: &HeaderEdits, stream: &Stream, request: &mut RequestHead) {
    // Removals come first, so that an addition can replace what was there.
    for name in &edits.remove {
        request.headers.remove(name);
    }
    for add in &edits.add {
        let value = match &add.value {
            AddValue::Fixed(value) => value.clone(),
            AddValue::Format(format) => {
                let context = FormatContext {
                    stream,
                    request: Some(request),
                    response: None,
                };
                match render(format, &context) {
                    Some(value) => value,
                    None => continue,
                }
            }
        };
        if value.is_empty() && !add.keep_empty {
            continue;
        }
        match &add.name {
            HeaderTarget::Name(name) => add_header(add, name, value, &mut request.headers),
            HeaderTarget::Path => {
                if let Ok(path) = PathAndQuery::try_from(value.as_bytes()) {
                    request.path = path;
                }
            }
            HeaderTarget::Method => {
                if let Ok(method) = http::Method::from_bytes(value.as_bytes()) {
                    request.method = method;
                }
            }
        }
    }
}

fn edit_response(edits: &HeaderEdits, stream: &Stream, headers: &mut HeaderMap) {
    for name in &edits.remove {
        headers.remove(name);
    }
    for add in &edits.add {
        let value = match &add.value {
            AddValue::Fixed(value) => value.clone(),
            AddValue::Format(format) => {
                let context = FormatContext {
                    stream,
                    request: stream.head_for_formats.as_deref(),
                    response: Some(headers),
                };
                match render(format, &context) {
                    Some(value) => value,
                    None => continue,
                }
            }
        };
        if value.is_empty() && !add.keep_empty {
            continue;
        }
        if let HeaderTarget::Name(name) = &add.name {
            add_header(add, name, value, headers);
        }
    }
}

fn add_header(add: &HeaderAdd, name: &HeaderName, value: HeaderValue, headers: &mut HeaderMap) {
    match add.action {
        // The host is one: Envoy has a single place for it.
        AppendAction::AppendIfExistsOrAdd if *name == HOST => drop(headers.insert(name, value)),
        AppendAction::AppendIfExistsOrAdd => drop(headers.append(name, value)),
        AppendAction::AddIfAbsent => drop(headers.entry(name).or_insert(value)),
        AppendAction::OverwriteIfExistsOrAdd => drop(headers.insert(name, value)),
        AppendAction::OverwriteIfExists => {
            if headers.contains_key(name) {
                headers.insert(name, value);
            }
        }
    }
}

fn rewrite_host(rewrite: &HostRewrite, forward: &Forward, request: &mut RequestHead) {
    let host = match rewrite {
        // The endpoint is not chosen yet: the router sets it ([`set_host`]).
        HostRewrite::None | HostRewrite::Auto => return,
        HostRewrite::Literal(host) => host.clone(),
        HostRewrite::Header(name) => match request.headers.get(name) {
            Some(host) if !host.is_empty() => host.clone(),
            _ => return,
        },
        HostRewrite::PathRegex(rewrite) => {
            let host = substitute(rewrite, request.path_only());
            match HeaderValue::from_maybe_shared(Bytes::from(host)) {
                Ok(host) => host,
                Err(_) => return,
            }
        }
    };
    set_host(host, forward.append_forwarded_host, request);
}

/// Replaces the authority; the old one is noted.
pub fn set_host(host: HeaderValue, append_forwarded: bool, request: &mut RequestHead) {
    let Some(old) = request.headers.insert(HOST, host) else {
        return;
    };
    if append_forwarded {
        append(&mut request.headers, FORWARDED_HOST, old.as_bytes());
    }
    if request.headers.get(HOST) != Some(&old) {
        request.headers.entry(ORIGINAL_HOST).or_insert(old);
    }
}

fn rewrite_path(matched: &PathMatch, rewrite: &PathRewrite, request: &mut RequestHead) {
    let path = request.path_only();
    let rewritten = match rewrite {
        PathRewrite::None => return,
        PathRewrite::Prefix(replacement) => replace_prefix(matched, replacement, path),
        PathRewrite::Regex(rewrite) => substitute(rewrite, path),
    };
    let target = match request.path.query() {
        Some(query) => format!("{rewritten}?{query}"),
        None => rewritten,
    };
    let Ok(target) = PathAndQuery::from_maybe_shared(Bytes::from(target)) else {
        return;
    };
    let old = std::mem::replace(&mut request.path, target);
    if let Ok(old) = HeaderValue::from_str(old.as_str()) {
        request.headers.entry(ORIGINAL_PATH).or_insert(old);
    }
}

/// The path with what the route matched replaced.
pub fn replace_prefix(matched: &PathMatch, replacement: &str, path: &str) -> String {
    let covered = match matched {
        PathMatch::Prefix(_, prefix) | PathMatch::Segments(_, prefix) => prefix.len(),
        PathMatch::Exact(..) | PathMatch::Regex(_) => path.len(),
        PathMatch::Connect => 0,
    };
    let rest = path.get(covered..).unwrap_or("");
    format!("{replacement}{rest}")
}

/// The path with every match of an expression replaced.
pub fn substitute(rewrite: &RegexRewrite, path: &str) -> String {
    rewrite.pattern.replace_all(path, &rewrite.substitution)
}
