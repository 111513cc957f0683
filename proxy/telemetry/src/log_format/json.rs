//! JSON lines: `json_format` with its structure kept, keys sorted as Envoy sorts them.
//!
//! A value that is exactly one operator keeps its type (numbers without quotes, `null` for nothing); a value
//! with text around operators is a string in which nothing is `-`.

use super::operator::Scalar;
use super::{FormatError, Operator, Piece, parse, put, write_pieces};
use crate::access_log::Captures;
use crate::config::metadata::{Struct, Value};
use crate::stream_info::StreamInfo;

/// A compiled `json_format`.
#[derive(Debug, PartialEq, Eq)]
pub struct JsonTemplate {
    root: Vec<(Box<str>, Node)>,
    /// Leave members without a value out.
    omit_empty: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Node {
    /// Written as it stands.
    Constant(Box<str>),
    /// One operator.
    Value(Operator, Option<usize>),
    /// Text with operators in it.
    Text(Vec<Piece>),
    List(Vec<Node>),
    /// Keys with their quotes.
    Object(Vec<(Box<str>, Node)>),
}

impl JsonTemplate {
    /// Compiles a `json_format`.
    pub fn compile(
        format: &Struct,
        omit_empty: bool,
        captures: &mut Captures,
    ) -> Result<Self, FormatError> {
        Ok(Self {
            root: members(format, captures)?,
            omit_empty,
        })
    }

    /// Appends the object.
    pub(super) fn write(&self, info: &StreamInfo, out: &mut Vec<u8>) {
        self.write_object(&self.root, info, out);
    }

    fn write_object(&self, members: &[(Box<str>, Node)], info: &StreamInfo, out: &mut Vec<u8>) {
        out.push(b'{');
        let mut first = true;
        for (key, node) in members {
            let start = out.len();
            if !first {
                out.push(b',');
            }
            out.extend_from_slice(key.as_bytes());
            out.push(b':');
            if self.write_node(node, info, out) || !self.omit_empty {
                first = false;
            } else {
                out.truncate(start);
            }
        }
        out.push(b'}');
    }

    /// False if the value is `null` for want of one.
    fn write_node(&self, node: &Node, info: &StreamInfo, out: &mut Vec<u8>) -> bool {
        match node {
            Node::Constant(json) => out.extend_from_slice(json.as_bytes()),
            Node::Value(operator, max) => return write_value(operator, *max, info, out),
            Node::Text(pieces) => {
                return write_string(out, |out| {
                    write_pieces(pieces, self.omit_empty, info, out);
                    true
                });
            }
            Node::List(nodes) => {
                out.push(b'[');
                for (n, node) in nodes.iter().enumerate() {
                    if n > 0 {
                        out.push(b',');
                    }
                    self.write_node(node, info, out);
                }
                out.push(b']');
            }
            Node::Object(members) => self.write_object(members, info, out),
        }
        true
    }
}

fn members(format: &Struct, captures: &mut Captures) -> Result<Vec<(Box<str>, Node)>, FormatError> {
    // The fields are sorted already.
    let members = format.iter().map(|(key, value)| {
        let quoted = serde_json::Value::from(key).to_string();
        Ok((quoted.into(), node(value, captures)?))
    });
    members.collect()
}

fn node(value: &Value, captures: &mut Captures) -> Result<Node, FormatError> {
    Ok(match value {
        Value::String(format) => {
            let mut pieces = parse(format, captures)?;
            match (pieces.len(), pieces.pop()) {
                (1, Some(Piece::Operator(operator, max))) => Node::Value(operator, max),
                (_, Some(last)) => {
                    pieces.push(last);
                    Node::Text(pieces)
                }
                (_, None) => Node::Constant("\"\"".into()),
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {
            Node::Constant(value.to_json().to_string().into())
        }
        Value::List(values) => Node::List(
            values
                .iter()
                .map(|value| node(value, captures))
                .collect::<Result<_, _>>()?,
        ),
        Value::Struct(fields) => Node::Object(members(fields, captures)?),
    })
}

fn write_value(
    operator: &Operator,
    max: Option<usize>,
    info: &StreamInfo,
    out: &mut Vec<u8>,
) -> bool {
    if max.is_none()
        && let Some(json) = operator.json(info)
    {
        return match json {
            Some(json) => put(out, format_args!("{json}")),
            None => null(out),
        };
    }
    match operator.scalar(info) {
        Some(Scalar::Number(number)) => put(out, format_args!("{number}")),
        Some(Scalar::Absent) => null(out),
        None => {
            let start = out.len();
            let written = write_string(out, |out| {
                let present = operator.write(info, out);
                if let Some(max) = max {
                    out.truncate((start + 1 + max).min(out.len()));
                }
                present
            });
            if !written {
                out.truncate(start);
                return null(out);
            }
            true
        }
    }
}

fn null(out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(b"null");
    false
}

/// Appends what `write` appends as a JSON string. Most values need no escapes and are written in place.
fn write_string(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> bool) -> bool {
    out.push(b'"');
    let start = out.len();
    let present = write(out);
    let plain = |byte: &u8| (0x20..0x7f).contains(byte) && *byte != b'"' && *byte != b'\\';
    if !out[start..].iter().all(plain) {
        let text = String::from_utf8_lossy(&out[start..]).into_owned();
        out.truncate(start - 1);
        put(out, format_args!("{}", serde_json::Value::from(text)));
    } else {
        out.push(b'"');
    }
    present
}
