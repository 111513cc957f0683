//! Header values with `%OPERATORS%`, compiled when a resource is applied.
//!
//! The operators are those of Envoy's custom request and response headers
//! (<https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage#command-operators>)
//! that can be known while headers are written.

use std::io::Write;
use std::sync::OnceLock;

use http::header::{HeaderMap, HeaderValue};

use super::stream::{HeaderKey, RequestHead, Stream, joined};
use crate::config::format::{Field, Format, HeaderSource, Op};

/// What a value is put together from.
#[derive(Debug, Clone, Copy)]
pub struct FormatContext<'a> {
    /// The stream.
    pub stream: &'a Stream,
    /// The request's head; on responses it is gone.
    pub request: Option<&'a RequestHead>,
    /// The response's headers, on responses.
    pub response: Option<&'a HeaderMap>,
}

/// The value of a format for one request or response. Missing pieces are empty in header values.
pub fn render(format: &Format, context: &FormatContext<'_>) -> Option<HeaderValue> {
    let mut out = Vec::with_capacity(64);
    for op in &format.ops {
        write_op(op, context, &mut out);
    }
    HeaderValue::from_maybe_shared(bytes::Bytes::from(out)).ok()
}

fn write_op(op: &Op, context: &FormatContext<'_>, out: &mut Vec<u8>) {
    match op {
        Op::Literal(text) => out.extend_from_slice(text),
        Op::Environment(value) => out.extend_from_slice(value.as_bytes()),
        Op::Field(field) => write_field(*field, context, out),
        Op::DynamicMetadata(key, max_len) => {
            let metadata = context.stream.info.dynamic_metadata.borrow();
            if let Some(text) = key.text(metadata.as_deref()) {
                let len = max_len.map_or(text.len(), |max| max.min(text.len()));
                out.extend_from_slice(&text.as_bytes()[..len]);
            }
        }
        Op::Header {
            source,
            main,
            alternative,
            max_len,
        } => {
            let value = header(*source, context, main).or_else(|| {
                let alternative = alternative.as_ref()?;
                header(*source, context, alternative)
            });
            if let Some(value) = value {
                let len = max_len.map_or(value.len(), |max| max.min(value.len()));
                out.extend_from_slice(&value[..len]);
            }
        }
    }
}

fn header<'a>(
    source: HeaderSource,
    context: &FormatContext<'a>,
    key: &HeaderKey,
) -> Option<std::borrow::Cow<'a, [u8]>> {
    match source {
        HeaderSource::Request => context.request?.header(key),
        HeaderSource::Response => match key {
            HeaderKey::Name(name) => joined(context.response?, name),
            HeaderKey::Status => Some(
                context
                    .stream
                    .info
                    .response_code
                    .to_string()
                    .into_bytes()
                    .into(),
            ),
            _ => None,
        },
    }
}

fn write_field(field: Field, context: &FormatContext<'_>, out: &mut Vec<u8>) {
    // Writing to a vector cannot fail.
    let _ = try_write_field(field, context, out);
}

fn try_write_field(
    field: Field,
    context: &FormatContext<'_>,
    out: &mut Vec<u8>,
) -> std::io::Result<()> {
    let info = &context.stream.info;
    let connection = &info.connection;
    let tls = connection.tls.as_ref();
    let peer = tls.and_then(|tls| tls.peer.as_ref());
    match field {
        Field::DownstreamRemoteAddress => write!(out, "{}", info.remote),
        Field::DownstreamRemoteAddressWithoutPort => write!(out, "{}", info.remote.ip()),
        Field::DownstreamRemotePort => write!(out, "{}", info.remote.port()),
        Field::DownstreamDirectRemoteAddress => write!(out, "{}", connection.direct_remote),
        Field::DownstreamDirectRemoteAddressWithoutPort => {
            write!(out, "{}", connection.direct_remote.ip())
        }
        Field::DownstreamLocalAddress => write!(out, "{}", connection.local),
        Field::DownstreamLocalAddressWithoutPort => write!(out, "{}", connection.local.ip()),
        Field::DownstreamLocalPort => write!(out, "{}", connection.local.port()),
        Field::DownstreamPeerUriSan => {
            let sans = peer.map_or(&[][..], |peer| &peer.uri_sans);
            out.write_all(sans.join(",").as_bytes())
        }
        Field::DownstreamLocalUriSan => {
            let sans = tls.map_or(&[][..], |tls| &tls.local_uri_sans);
            out.write_all(sans.join(",").as_bytes())
        }
        Field::DownstreamPeerSubject => {
            out.write_all(peer.map_or("", |peer| &peer.subject).as_bytes())
        }
        Field::DownstreamPeerFingerprint256 => {
            out.write_all(peer.map_or("", |peer| &peer.sha256_hex).as_bytes())
        }
        Field::DownstreamTlsVersion => out.write_all(tls.map_or("", |t| t.version).as_bytes()),
        Field::DownstreamTlsCipher => out.write_all(tls.map_or("", |tls| &tls.cipher).as_bytes()),
        Field::RequestedServerName => {
            out.write_all(connection.server_name.as_deref().unwrap_or("").as_bytes())
        }
        Field::Protocol => out.write_all(protocol_name(info.protocol).as_bytes()),
        Field::ConnectionId => write!(out, "{}", connection.id),
        Field::Hostname => out.write_all(hostname().as_bytes()),
        Field::RouteName => out.write_all(info.route_name.as_deref().unwrap_or("").as_bytes()),
        Field::VirtualHostName => match &context.stream.route {
            Some(route) => out.write_all(route.virtual_host().name.as_bytes()),
            None => Ok(()),
        },
        Field::UpstreamHost => match info.upstream_host {
            Some(host) => write!(out, "{host}"),
            None => Ok(()),
        },
        Field::UpstreamHostWithoutPort => match info.upstream_host {
            Some(host) => write!(out, "{}", host.ip()),
            None => Ok(()),
        },
        Field::UpstreamCluster => {
            out.write_all(info.cluster_name.as_deref().unwrap_or("").as_bytes())
        }
        Field::ResponseCode => write!(out, "{}", info.response_code),
        Field::ResponseCodeDetails => out.write_all(info.response_code_details.as_bytes()),
        Field::ResponseFlags => write!(out, "{}", info.flags),
        Field::BytesReceived => write!(out, "{}", info.bytes_received.get()),
        Field::RequestId => {
            let id = context.request.and_then(|r| r.headers.get("x-request-id"));
            out.write_all(id.map_or(&[], HeaderValue::as_bytes))
        }
    }
}

/// The machine's name, looked up once.
fn hostname() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        name.trim_end().to_owned()
    })
}

/// `HTTP/1.1` and its siblings.
pub fn protocol_name(version: Option<http::Version>) -> &'static str {
    match version {
        Some(http::Version::HTTP_09 | http::Version::HTTP_10) => "HTTP/1.0",
        Some(http::Version::HTTP_11) => "HTTP/1.1",
        Some(http::Version::HTTP_2) => "HTTP/2",
        Some(http::Version::HTTP_3) => "HTTP/3",
        _ => "",
    }
}
