//! Logs: one subscriber per process, text or JSON on standard error, with a level that can change while
//! the program runs.
//!
//! Standard error, because standard output belongs to a program's answer. The filter has the syntax of
//! [`tracing_subscriber::EnvFilter`] (`info,pilot=debug`).

use std::fmt;
use std::io::{self, IsTerminal as _};
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;
use tracing_subscriber::layer::{Layer, Layered, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, reload};

/// The filter that is used when the user names none.
pub const DEFAULT_FILTER: &str = "info";

/// How lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// One readable line per event.
    #[default]
    Text,
    /// One JSON object per event.
    Json,
}

impl FromStr for Format {
    type Err = LogError;

    fn from_str(text: &str) -> Result<Self, LogError> {
        match text {
            "text" | "plain" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => Err(LogError::Format(other.to_owned())),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

/// Why logs could not be started or changed.
#[derive(Debug, Error)]
pub enum LogError {
    /// The filter has a syntax error.
    #[error("log filter \"{filter}\" is not valid")]
    Filter {
        /// What was asked for.
        filter: String,
        /// Where it is wrong.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// Neither `text` nor `json`.
    #[error("log format \"{0}\" is neither \"text\" nor \"json\"")]
    Format(String),
    /// The process has a subscriber already.
    #[error("logs were started before")]
    Started(#[source] tracing_subscriber::util::TryInitError),
    /// The subscriber behind the handle is gone.
    #[error("the log filter can no longer be changed")]
    Gone(#[source] reload::Error),
}

/// Reads and changes the filter of the running subscriber.
#[derive(Clone, Default)]
pub struct LogHandle {
    /// `None` for a handle without subscriber, as tests use.
    reload: Option<Arc<reload::Handle<EnvFilter, Spans>>>,
}

/// What takes spans beside the log, with a filter of its own.
pub type SpanLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// What the lines are written over.
type Spans = Layered<Option<SpanLayer>, Registry>;

impl fmt::Debug for LogHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LogHandle").field(&self.filter()).finish()
    }
}

impl LogHandle {
    /// A handle that changes nothing, for programs started inside a test.
    pub fn detached() -> Self {
        Self::default()
    }

    /// The filter in force.
    pub fn filter(&self) -> String {
        self.reload
            .as_ref()
            .and_then(|reload| reload.with_current(ToString::to_string).ok())
            .unwrap_or_default()
    }

    /// Replaces the filter; on an error the old one stays in force.
    pub fn set_filter(&self, filter: &str) -> Result<(), LogError> {
        let parsed = parse_filter(filter)?;
        match &self.reload {
            Some(reload) => reload.reload(parsed).map_err(LogError::Gone),
            None => Ok(()),
        }
    }
}

/// Starts logging for the whole process.
pub fn init(filter: &str, format: Format) -> Result<LogHandle, LogError> {
    init_with(filter, format, None)
}

/// The same, with something else that takes spans.
pub fn init_with(
    filter: &str,
    format: Format,
    spans: Option<SpanLayer>,
) -> Result<LogHandle, LogError> {
    let (filter, handle) = reload::Layer::new(parse_filter(filter)?);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    let lines = match format {
        Format::Text => lines.boxed(),
        Format::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry()
        .with(spans)
        .with(lines.with_filter(filter))
        .try_init()
        .map_err(LogError::Started)?;
    Ok(LogHandle {
        reload: Some(Arc::new(handle)),
    })
}

fn parse_filter(filter: &str) -> Result<EnvFilter, LogError> {
    EnvFilter::builder()
        .parse(filter)
        .map_err(|source| LogError::Filter {
            filter: filter.to_owned(),
            source,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_of_a_running_subscriber_changes_and_survives_a_bad_one() {
        let handle = init("info,hyper=warn", Format::Text).unwrap();
        handle.set_filter("debug").unwrap();
        assert_eq!(handle.filter(), "debug");
        let error = handle.set_filter("a=b=c").unwrap_err();
        assert_eq!(error.to_string(), "log filter \"a=b=c\" is not valid");
        assert_eq!(handle.filter(), "debug");
        assert!(matches!(
            init("info", Format::Json),
            Err(LogError::Started(_))
        ));
    }

    #[test]
    fn a_format_is_text_or_json() {
        assert_eq!("json".parse::<Format>().unwrap(), Format::Json);
        assert_eq!(
            "xml".parse::<Format>().unwrap_err().to_string(),
            "log format \"xml\" is neither \"text\" nor \"json\""
        );
    }
}
