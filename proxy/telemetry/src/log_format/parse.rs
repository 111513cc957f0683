//! From the text of a format to operators.

use super::operator::{AddressForm, AddressOf, Field, TlsField};
use super::time_format::TimeFormat;
use super::{Operator, Piece};
use crate::access_log::Captures;
use crate::config::metadata::MetadataKey;
use crate::config::request::HeaderKey;

/// A format that cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// A `%` without its end.
    #[error("operator without end: \"{0}\"")]
    Unterminated(String),
    /// Not an operator that is known here.
    #[error("operator is not supported: \"%{0}%\"")]
    Unsupported(String),
    /// An argument that makes no sense.
    #[error("bad argument in \"%{0}%\"")]
    BadArgument(String),
}

/// Compiles a format. Headers that it needs are added to `captures`.
pub fn parse(format: &str, captures: &mut Captures) -> Result<Vec<Piece>, FormatError> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        literal.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            literal.push('%');
            rest = after;
            continue;
        }
        let (command, after) =
            split_command(rest).ok_or_else(|| FormatError::Unterminated(format!("%{rest}")))?;
        flush(&mut literal, &mut pieces);
        let (operator, max) = compile(&command, captures)?;
        pieces.push(Piece::Operator(operator, max));
        rest = after;
    }
    literal.push_str(rest);
    flush(&mut literal, &mut pieces);
    Ok(pieces)
}

fn flush(literal: &mut String, pieces: &mut Vec<Piece>) {
    if !literal.is_empty() {
        pieces.push(Piece::Literal(std::mem::take(literal).into()));
    }
}

/// `NAME(argument):length` up to its `%`.
struct Command<'f> {
    whole: &'f str,
    name: &'f str,
    argument: Option<&'f str>,
    max: Option<usize>,
}

/// The argument may contain `%` (time formats), so the end is looked for behind its parenthesis.
fn split_command(rest: &str) -> Option<(Command<'_>, &str)> {
    let name_end =
        rest.find(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'))?;
    let (name, mut tail) = rest.split_at(name_end);
    let mut argument = None;
    if let Some(inner) = tail.strip_prefix('(') {
        let end = argument_end(inner)?;
        argument = Some(&inner[..end]);
        tail = &inner[end + 1..];
    }
    let end = tail.find('%')?;
    let max = match &tail[..end] {
        "" => None,
        length => Some(length.strip_prefix(':')?.parse().ok()?),
    };
    let whole = &rest[..rest.len() - tail.len() + end];
    Some((
        Command {
            whole,
            name,
            argument,
            max,
        },
        &tail[end + 1..],
    ))
}

/// The parenthesis that is followed by `%` or a length: arguments may contain others.
fn argument_end(inner: &str) -> Option<usize> {
    let ends = inner.match_indices(')').map(|(at, _)| at);
    let mut ends = ends.filter(|at| matches!(inner.as_bytes().get(at + 1), Some(b'%' | b':')));
    ends.next()
}

fn compile(
    command: &Command<'_>,
    captures: &mut Captures,
) -> Result<(Operator, Option<usize>), FormatError> {
    let bad = || FormatError::BadArgument(command.whole.to_owned());
    let operator = match (command.name, command.argument) {
        ("START_TIME", argument) => {
            Operator::StartTime(TimeFormat::parse(argument.unwrap_or_default()).ok_or_else(bad)?)
        }
        ("REQ", Some(names)) => request_header(names, captures).ok_or_else(bad)?,
        ("REQ_WITHOUT_QUERY", Some(names)) => match request_header(names, captures) {
            Some(Operator::OriginalPath) => Operator::OriginalPathWithoutQuery,
            Some(Operator::RequestHeader(main, alternative)) => {
                Operator::RequestHeaderWithoutQuery(main, alternative)
            }
            _ => return Err(bad()),
        },
        ("RESP", Some(names)) => response_header(names, captures).ok_or_else(bad)?,
        ("TRAILER", Some(name)) if name.eq_ignore_ascii_case("grpc-status") => {
            Operator::Field(Field::GrpcStatusNumber)
        }
        ("GRPC_STATUS", Some("SNAKE_STRING")) => Operator::Field(Field::GrpcStatusSnake),
        ("GRPC_STATUS", Some("NUMBER")) => Operator::Field(Field::GrpcStatusNumber),
        ("GRPC_STATUS", None | Some("CAMEL_STRING")) => Operator::Field(Field::GrpcStatus),
        ("DYNAMIC_METADATA", Some(key)) => {
            Operator::DynamicMetadata(MetadataKey::parse(key).ok_or_else(bad)?)
        }
        ("ENVIRONMENT", Some(name)) => {
            Operator::Constant(std::env::var(name).unwrap_or_default().into())
        }
        ("HOSTNAME", None) => Operator::Constant(host_name().into()),
        (name, None) => {
            plain(name).ok_or_else(|| FormatError::Unsupported(command.whole.to_owned()))?
        }
        _ => return Err(FormatError::Unsupported(command.whole.to_owned())),
    };
    Ok((operator, command.max))
}

fn plain(name: &str) -> Option<Operator> {
    let field = match name {
        "PROTOCOL" => Field::Protocol,
        "RESPONSE_CODE" => Field::ResponseCode,
        "RESPONSE_CODE_DETAILS" => Field::ResponseCodeDetails,
        "RESPONSE_FLAGS" => Field::ResponseFlags,
        "CONNECTION_TERMINATION_DETAILS" => Field::ConnectionTerminationDetails,
        "UPSTREAM_TRANSPORT_FAILURE_REASON" => Field::UpstreamTransportFailureReason,
        "BYTES_RECEIVED" => Field::BytesReceived,
        "BYTES_SENT" => Field::BytesSent,
        "DURATION" => Field::Duration,
        "RESPONSE_DURATION" => Field::ResponseDuration,
        "UPSTREAM_CLUSTER" | "UPSTREAM_CLUSTER_RAW" => Field::UpstreamCluster,
        "ROUTE_NAME" => Field::RouteName,
        "REQUESTED_SERVER_NAME" => Field::RequestedServerName,
        "FILTER_CHAIN_NAME" => Field::FilterChainName,
        "CONNECTION_ID" => Field::ConnectionId,
        "UPSTREAM_REQUEST_ATTEMPT_COUNT" => Field::Attempts,
        "GRPC_STATUS_NUMBER" => Field::GrpcStatusNumber,
        _ => return tls_field(name).map(Operator::Tls).or_else(|| address(name)),
    };
    Some(Operator::Field(field))
}

fn tls_field(name: &str) -> Option<TlsField> {
    Some(match name {
        "DOWNSTREAM_TLS_VERSION" => TlsField::Version,
        "DOWNSTREAM_TLS_CIPHER" => TlsField::Cipher,
        "DOWNSTREAM_PEER_URI_SAN" => TlsField::PeerUriSan,
        "DOWNSTREAM_PEER_DNS_SAN" => TlsField::PeerDnsSan,
        "DOWNSTREAM_PEER_SUBJECT" => TlsField::PeerSubject,
        "DOWNSTREAM_PEER_FINGERPRINT_256" => TlsField::PeerFingerprint,
        "DOWNSTREAM_LOCAL_URI_SAN" => TlsField::LocalUriSan,
        _ => return None,
    })
}

fn address(name: &str) -> Option<Operator> {
    if name == "UPSTREAM_HOST" {
        return Some(Operator::Address(
            AddressOf::UpstreamRemote,
            AddressForm::Full,
        ));
    }
    let (base, form) = match name.strip_suffix("_WITHOUT_PORT") {
        Some(base) => (base, AddressForm::WithoutPort),
        None if name.ends_with("_PORT") => (name, AddressForm::Port),
        None => (name, AddressForm::Full),
    };
    let of = match base {
        "DOWNSTREAM_REMOTE_ADDRESS" | "DOWNSTREAM_REMOTE_PORT" => AddressOf::DownstreamRemote,
        "DOWNSTREAM_DIRECT_REMOTE_ADDRESS" | "DOWNSTREAM_DIRECT_REMOTE_PORT" => {
            AddressOf::DownstreamDirectRemote
        }
        "DOWNSTREAM_LOCAL_ADDRESS" | "DOWNSTREAM_LOCAL_PORT" => AddressOf::DownstreamLocal,
        "UPSTREAM_REMOTE_ADDRESS" | "UPSTREAM_REMOTE_PORT" => AddressOf::UpstreamRemote,
        "UPSTREAM_LOCAL_ADDRESS" | "UPSTREAM_LOCAL_PORT" => AddressOf::UpstreamLocal,
        _ => return None,
    };
    Some(Operator::Address(of, form))
}

/// `main?alternative`. What the stream keeps anyway is not captured.
fn request_header(names: &str, captures: &mut Captures) -> Option<Operator> {
    let lower = names.to_ascii_lowercase();
    match lower.as_str() {
        ":method" => return Some(Operator::Method),
        "x-envoy-original-path?:path" => return Some(Operator::OriginalPath),
        _ => {}
    }
    let (main, alternative) = split_names(&lower);
    let main = captures.request(main.parse::<HeaderKey>().ok()?);
    let alternative = match alternative {
        Some(name) => Some(captures.request(name.parse::<HeaderKey>().ok()?)),
        None => None,
    };
    Some(Operator::RequestHeader(main, alternative))
}

fn response_header(names: &str, captures: &mut Captures) -> Option<Operator> {
    let lower = names.to_ascii_lowercase();
    if lower == ":status" {
        return Some(Operator::Field(Field::ResponseCode));
    }
    let (main, alternative) = split_names(&lower);
    let main = captures.response(main.parse().ok()?);
    let alternative = match alternative {
        Some(name) => Some(captures.response(name.parse().ok()?)),
        None => None,
    };
    Some(Operator::ResponseHeader(main, alternative))
}

fn split_names(names: &str) -> (&str, Option<&str>) {
    names
        .split_once('?')
        .map_or((names, None), |(main, alternative)| {
            (main, Some(alternative))
        })
}

fn host_name() -> String {
    // The kernel's own name of this UTS namespace; absent only where /proc is.
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}
