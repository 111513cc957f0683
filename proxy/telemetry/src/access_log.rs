//! Access logs: filter, format and sink, compiled together per connection manager, listener or TCP proxy.
//!
//! Headers are gone when a request is over, so the list knows which values its formats and filters want and
//! captures them (cheap clones) on the way. Lines are formatted once, into the worker's buffer of the sink.

use http::HeaderMap;
use http::header::{HOST, HeaderName, HeaderValue};

use super::log_format::LogFormat;
use super::log_sink::SinkId;
use super::stream_info::StreamInfo;
use crate::config::matcher::HeaderMatcher;
use crate::http::stream::{HeaderKey, RequestHead};
use crate::worker::Worker;

pub mod filter;

use filter::LogFilter;

/// All access logs of one place.
#[derive(Debug, Default)]
pub struct AccessLogs {
    logs: Vec<AccessLog>,
    captures: Captures,
}

/// One access log.
#[derive(Debug)]
pub struct AccessLog {
    /// Which requests are logged; all of them without it.
    pub filter: Option<LogFilter>,
    /// What a line looks like.
    pub format: LogFormat,
    /// Where it goes.
    pub sink: SinkId,
}

/// Header values that are kept for the logs; formats refer to them by position.
#[derive(Debug, Default)]
pub struct Captures {
    request: Vec<HeaderKey>,
    response: Vec<HeaderName>,
    /// Header filters, decided while the request's headers are at hand.
    matchers: Vec<HeaderMatcher>,
}

impl Captures {
    /// The position of a request header's value.
    pub fn request(&mut self, key: HeaderKey) -> usize {
        position(&mut self.request, key)
    }

    /// The position of a response header's value.
    pub fn response(&mut self, name: HeaderName) -> usize {
        position(&mut self.response, name)
    }

    /// The position of a matcher's decision.
    pub fn matcher(&mut self, matcher: HeaderMatcher) -> usize {
        self.matchers.push(matcher);
        self.matchers.len() - 1
    }
}

fn position<T: PartialEq>(list: &mut Vec<T>, item: T) -> usize {
    list.iter()
        .position(|known| *known == item)
        .unwrap_or_else(|| {
            list.push(item);
            list.len() - 1
        })
}

impl AccessLogs {
    /// Logs whose formats and filters were compiled with these captures.
    pub fn new(logs: Vec<AccessLog>, captures: Captures) -> Self {
        Self { logs, captures }
    }

    /// True if nothing is logged.
    pub fn is_empty(&self) -> bool {
        self.logs.is_empty()
    }

    /// Keeps the request headers that lines will show. Called when the request's headers are final.
    pub fn capture_request(&self, head: &RequestHead, info: &mut StreamInfo) {
        if self.logs.is_empty() {
            return;
        }
        info.logged_request_headers.clear();
        let keys = self.captures.request.iter();
        info.logged_request_headers
            .extend(keys.map(|key| request_value(head, key)));
        let decisions = self
            .captures
            .matchers
            .iter()
            .map(|matcher| matcher.matches(head));
        // Decisions follow the values, as a value that is there or not.
        let decided = decisions.map(|matches| matches.then(|| HeaderValue::from_static("")));
        info.logged_request_headers.extend(decided);
    }

    /// Keeps the response headers that lines will show. Called when the response's headers are final.
    pub fn capture_response(&self, headers: &HeaderMap, info: &mut StreamInfo) {
        if self.logs.is_empty() {
            return;
        }
        info.logged_response_headers.clear();
        let names = self.captures.response.iter();
        info.logged_response_headers
            .extend(names.map(|name| headers.get(name).cloned()));
    }

    /// Writes a line to every log whose filter lets the request pass. Called once, at its end.
    pub fn write(&self, worker: &Worker, info: &StreamInfo) {
        for log in &self.logs {
            let offset = self.captures.request.len();
            if log
                .filter
                .as_ref()
                .is_none_or(|filter| filter.passes(info, offset))
            {
                worker
                    .telemetry
                    .log_line(log.sink, |line| log.format.write(info, line));
            }
        }
    }
}

fn request_value(head: &RequestHead, key: &HeaderKey) -> Option<HeaderValue> {
    match key {
        HeaderKey::Name(name) => head.headers.get(name).cloned(),
        HeaderKey::Authority => head.headers.get(HOST).cloned(),
        other => HeaderValue::from_bytes(&head.header(other)?).ok(),
    }
}
