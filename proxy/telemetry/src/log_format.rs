//! Formats of access log lines: Envoy's command operators, compiled when a resource is applied.
//!
//! <https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage>

use std::io::Write;

use super::stream_info::StreamInfo;

mod json;
mod operator;
mod parse;
mod time_format;

pub use json::JsonTemplate;
pub use operator::Operator;
pub use parse::{FormatError, parse};

/// A compiled format.
#[derive(Debug)]
pub enum LogFormat {
    /// Text with operators in it.
    Text {
        /// The pieces in order.
        pieces: Vec<Piece>,
        /// Write nothing for an empty value, instead of `-`.
        omit_empty: bool,
    },
    /// One JSON object per line.
    Json(JsonTemplate),
}

/// A piece of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// As it stands.
    Literal(Box<str>),
    /// A value, at most this many bytes of it.
    Operator(Operator, Option<usize>),
}

impl LogFormat {
    /// Appends a line.
    pub fn write(&self, info: &StreamInfo, line: &mut Vec<u8>) {
        match self {
            Self::Text { pieces, omit_empty } => write_pieces(pieces, *omit_empty, info, line),
            Self::Json(template) => {
                template.write(info, line);
                line.push(b'\n');
            }
        }
    }
}

/// Appends pieces; an empty value is `-`, unless it is to be omitted.
fn write_pieces(pieces: &[Piece], omit_empty: bool, info: &StreamInfo, out: &mut Vec<u8>) {
    for piece in pieces {
        match piece {
            Piece::Literal(text) => out.extend_from_slice(text.as_bytes()),
            Piece::Operator(operator, max_bytes) => {
                let start = out.len();
                let present = operator.write(info, out);
                if let Some(max) = max_bytes {
                    out.truncate((start + max).min(out.len()));
                }
                if !present && !omit_empty {
                    out.push(b'-');
                }
            }
        }
    }
}

/// Writing to a vector cannot fail.
fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) -> bool {
    out.write_fmt(text).is_ok()
}

#[cfg(test)]
mod tests;
