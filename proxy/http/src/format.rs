//! Header values with `%OPERATORS%`, compiled when a resource is applied.
//!
//! The operators are those of Envoy's custom request and response headers
//! (<https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage#command-operators>)
//! that can be known while headers are written.

use std::io::Write;

use http::header::{HeaderMap, HeaderValue};

use super::stream::{HeaderKey, RequestHead, Stream, joined};

mod parse;

pub use parse::FormatError;

/// A compiled value.
#[derive(Debug)]
pub struct Format {
    ops: Vec<Op>,
}

/// One piece of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Op {
    Literal(Box<[u8]>),
    Header {
        source: HeaderSource,
        main: HeaderKey,
        alternative: Option<HeaderKey>,
        max_len: Option<usize>,
    },
    Field(Field),
    Environment(Box<str>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HeaderSource {
    Request,
    Response,
}

/// A value that takes no argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    DownstreamRemoteAddress,
    DownstreamRemoteAddressWithoutPort,
    DownstreamRemotePort,
    DownstreamDirectRemoteAddress,
    DownstreamDirectRemoteAddressWithoutPort,
    DownstreamLocalAddress,
    DownstreamLocalAddressWithoutPort,
    DownstreamLocalPort,
    DownstreamPeerUriSan,
    DownstreamLocalUriSan,
    DownstreamPeerSubject,
    DownstreamPeerFingerprint256,
    DownstreamTlsVersion,
    DownstreamTlsCipher,
    RequestedServerName,
    Protocol,
    ConnectionId,
    Hostname,
    RouteName,
    VirtualHostName,
    UpstreamHost,
    UpstreamHostWithoutPort,
    UpstreamCluster,
    ResponseCode,
    ResponseCodeDetails,
    ResponseFlags,
    BytesReceived,
    RequestId,
}

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

impl Format {
    /// The value for one request or response. Missing pieces are empty in header values.
    pub fn render(&self, context: &FormatContext<'_>) -> Option<HeaderValue> {
        let mut out = Vec::with_capacity(64);
        for op in &self.ops {
            op.write(context, &mut out);
        }
        HeaderValue::from_maybe_shared(bytes::Bytes::from(out)).ok()
    }

    /// True if the value mentions the request's headers.
    pub fn reads_request(&self) -> bool {
        self.ops.iter().any(|op| {
            let header = Op::Header {
                source: HeaderSource::Request,
                main: HeaderKey::Path,
                alternative: None,
                max_len: None,
            };
            std::mem::discriminant(op) == std::mem::discriminant(&header)
                || *op == Op::Field(Field::RequestId)
        })
    }

    /// The whole value if it has no operator.
    pub fn as_literal(&self) -> Option<&[u8]> {
        match self.ops.as_slice() {
            [] => Some(&[]),
            [Op::Literal(text)] => Some(text),
            _ => None,
        }
    }
}

impl Op {
    fn write(&self, context: &FormatContext<'_>, out: &mut Vec<u8>) {
        match self {
            Self::Literal(text) => out.extend_from_slice(text),
            Self::Environment(value) => out.extend_from_slice(value.as_bytes()),
            Self::Field(field) => field.write(context, out),
            Self::Header {
                source,
                main,
                alternative,
                max_len,
            } => {
                let value = source.get(context, main).or_else(|| {
                    let alternative = alternative.as_ref()?;
                    source.get(context, alternative)
                });
                if let Some(value) = value {
                    let len = max_len.map_or(value.len(), |max| max.min(value.len()));
                    out.extend_from_slice(&value[..len]);
                }
            }
        }
    }
}

impl HeaderSource {
    fn get<'a>(
        self,
        context: &FormatContext<'a>,
        key: &HeaderKey,
    ) -> Option<std::borrow::Cow<'a, [u8]>> {
        match self {
            Self::Request => context.request?.header(key),
            Self::Response => match key {
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
}

impl Field {
    fn write(self, context: &FormatContext<'_>, out: &mut Vec<u8>) {
        // Writing to a vector cannot fail.
        let _ = self.try_write(context, out);
    }

    fn try_write(self, context: &FormatContext<'_>, out: &mut Vec<u8>) -> std::io::Result<()> {
        let info = &context.stream.info;
        let connection = &info.connection;
        let tls = connection.tls.as_ref();
        let peer = tls.and_then(|tls| tls.peer.as_ref());
        match self {
            Self::DownstreamRemoteAddress => write!(out, "{}", info.remote),
            Self::DownstreamRemoteAddressWithoutPort => write!(out, "{}", info.remote.ip()),
            Self::DownstreamRemotePort => write!(out, "{}", info.remote.port()),
            Self::DownstreamDirectRemoteAddress => write!(out, "{}", connection.direct_remote),
            Self::DownstreamDirectRemoteAddressWithoutPort => {
                write!(out, "{}", connection.direct_remote.ip())
            }
            Self::DownstreamLocalAddress => write!(out, "{}", connection.local),
            Self::DownstreamLocalAddressWithoutPort => write!(out, "{}", connection.local.ip()),
            Self::DownstreamLocalPort => write!(out, "{}", connection.local.port()),
            Self::DownstreamPeerUriSan => {
                let sans = peer.map_or(&[][..], |peer| &peer.uri_sans);
                out.write_all(sans.join(",").as_bytes())
            }
            Self::DownstreamLocalUriSan => {
                let sans = tls.map_or(&[][..], |tls| &tls.local_uri_sans);
                out.write_all(sans.join(",").as_bytes())
            }
            Self::DownstreamPeerSubject => {
                out.write_all(peer.map_or("", |peer| &peer.subject).as_bytes())
            }
            Self::DownstreamPeerFingerprint256 => {
                out.write_all(peer.map_or("", |peer| &peer.sha256_hex).as_bytes())
            }
            Self::DownstreamTlsVersion => out.write_all(tls.map_or("", |t| t.version).as_bytes()),
            Self::DownstreamTlsCipher => {
                out.write_all(tls.map_or("", |tls| &tls.cipher).as_bytes())
            }
            Self::RequestedServerName => {
                out.write_all(connection.server_name.as_deref().unwrap_or("").as_bytes())
            }
            Self::Protocol => out.write_all(protocol_name(info.protocol).as_bytes()),
            Self::ConnectionId => write!(out, "{}", connection.id),
            Self::Hostname => out.write_all(parse::hostname().as_bytes()),
            Self::RouteName => out.write_all(info.route_name.as_deref().unwrap_or("").as_bytes()),
            Self::VirtualHostName => match &context.stream.route {
                Some(route) => out.write_all(route.virtual_host().name.as_bytes()),
                None => Ok(()),
            },
            Self::UpstreamHost => match info.upstream_host {
                Some(host) => write!(out, "{host}"),
                None => Ok(()),
            },
            Self::UpstreamHostWithoutPort => match info.upstream_host {
                Some(host) => write!(out, "{}", host.ip()),
                None => Ok(()),
            },
            Self::UpstreamCluster => {
                out.write_all(info.cluster_name.as_deref().unwrap_or("").as_bytes())
            }
            Self::ResponseCode => write!(out, "{}", info.response_code),
            Self::ResponseCodeDetails => out.write_all(info.response_code_details.as_bytes()),
            Self::ResponseFlags => write!(out, "{}", info.flags),
            Self::BytesReceived => write!(out, "{}", info.bytes_received.get()),
            Self::RequestId => {
                let id = context.request.and_then(|r| r.headers.get("x-request-id"));
                out.write_all(id.map_or(&[], HeaderValue::as_bytes))
            }
        }
    }
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
