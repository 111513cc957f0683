//! Access logs: filter, format and sink, compiled together per connection manager, listener or TCP proxy.
//!
//! Headers are gone when a request is over, so the list knows which values its formats and filters want and
//! captures them (cheap clones) on the way. Lines are formatted once, into the worker's buffer of the sink.

use http::HeaderMap;
use http::header::{HOST, HeaderName, HeaderValue};

use crate::WorkerTelemetry;
use crate::config::access_log as config;
use crate::config::access_log::LogFilter;
use crate::config::error::{ConfigError, Within};
use crate::config::request::{HeaderKey, RequestHead};
use crate::log_format::{FormatError, JsonTemplate, LogFormat, parse};
use crate::log_sink::{LogSinks, SinkId};
use crate::stream_info::StreamInfo;

mod filter;

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
}

fn position<T: PartialEq>(list: &mut Vec<T>, item: T) -> usize {
    list.iter()
        .position(|known| *known == item)
        .unwrap_or_else(|| {
            list.push(item);
            list.len() - 1
        })
}

impl AccessLog {
    fn new(
        log: &config::AccessLog,
        sinks: &LogSinks,
        captures: &mut Captures,
    ) -> Result<Self, ConfigError> {
        let format = compile(&log.format, captures);
        let format = format.map_err(|error| ConfigError::new("log_format", error.to_string()))?;
        let sink = sinks.open(log.sink.clone()).map_err(|error| {
            let message = format!("{:?} cannot be opened: {error}", log.sink);
            ConfigError::new("typed_config.path", message)
        })?;
        Ok(Self {
            filter: log.filter.clone(),
            format,
            sink,
        })
    }
}

fn compile(format: &config::LogFormat, captures: &mut Captures) -> Result<LogFormat, FormatError> {
    Ok(match format {
        config::LogFormat::Text { format, omit_empty } => LogFormat::Text {
            pieces: parse(format, captures)?,
            omit_empty: *omit_empty,
        },
        config::LogFormat::Json {
            template,
            omit_empty,
        } => LogFormat::Json(JsonTemplate::compile(template, *omit_empty, captures)?),
    })
}

impl AccessLogs {
    /// Compiles the formats of these logs and opens their sinks.
    ///
    /// # Errors
    /// When a format makes no sense or a file cannot be opened.
    pub fn new(logs: &[config::AccessLog], sinks: &LogSinks) -> Result<Self, ConfigError> {
        let mut captures = Captures::default();
        let mut compiled = Vec::with_capacity(logs.len());
        for (n, log) in logs.iter().enumerate() {
            let log = AccessLog::new(log, sinks, &mut captures);
            compiled.push(log.within(format_args!("access_log[{n}]"))?);
        }
        Ok(Self {
            logs: compiled,
            captures,
        })
    }

    /// Logs whose formats were compiled with these captures.
    #[cfg(test)]
    pub(crate) fn compiled(logs: Vec<AccessLog>, captures: Captures) -> Self {
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
    pub fn write(&self, telemetry: &WorkerTelemetry, info: &StreamInfo) {
        for log in &self.logs {
            if log
                .filter
                .as_ref()
                .is_none_or(|filter| filter::passes(filter, info))
            {
                telemetry.log_line(log.sink, |line| log.format.write(info, line));
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
