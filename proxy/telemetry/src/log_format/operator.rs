//! One operator: where its value comes from and how it is written.

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use super::put;
use super::time_format::TimeFormat;
use crate::config::metadata::MetadataKey;
use crate::stream_info::{PeerCertificate, StreamInfo, TlsInfo};

/// A command operator, compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operator {
    /// `%START_TIME(format)%`.
    StartTime(TimeFormat),
    /// `%REQ(:METHOD)%`.
    Method,
    /// `%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%`.
    OriginalPath,
    /// `%REQ(name?alternative)%`: positions of captured values.
    RequestHeader(usize, Option<usize>),
    /// The same without the query (`%REQ_WITHOUT_QUERY%`).
    RequestHeaderWithoutQuery(usize, Option<usize>),
    /// `%REQ_WITHOUT_QUERY(X-ENVOY-ORIGINAL-PATH?:PATH)%`.
    OriginalPathWithoutQuery,
    /// `%RESP(name?alternative)%`.
    ResponseHeader(usize, Option<usize>),
    /// An address, in one of its forms.
    Address(AddressOf, AddressForm),
    /// A fact of a certificate or TLS session.
    Tls(TlsField),
    /// `%DYNAMIC_METADATA(filter:key)%`.
    DynamicMetadata(MetadataKey),
    /// A value without arguments.
    Field(Field),
    /// A value known when the format was compiled; empty if there is none.
    Constant(Box<str>),
}

/// Values without arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// `%PROTOCOL%`.
    Protocol,
    /// `%RESPONSE_CODE%`.
    ResponseCode,
    /// `%RESPONSE_CODE_DETAILS%`.
    ResponseCodeDetails,
    /// `%RESPONSE_FLAGS%`.
    ResponseFlags,
    /// `%CONNECTION_TERMINATION_DETAILS%`.
    ConnectionTerminationDetails,
    /// `%UPSTREAM_TRANSPORT_FAILURE_REASON%`.
    UpstreamTransportFailureReason,
    /// `%BYTES_RECEIVED%`.
    BytesReceived,
    /// `%BYTES_SENT%`.
    BytesSent,
    /// `%DURATION%`.
    Duration,
    /// `%RESPONSE_DURATION%`: to the first byte of the response.
    ResponseDuration,
    /// `%UPSTREAM_CLUSTER%`.
    UpstreamCluster,
    /// `%ROUTE_NAME%`.
    RouteName,
    /// `%REQUESTED_SERVER_NAME%`.
    RequestedServerName,
    /// `%FILTER_CHAIN_NAME%`.
    FilterChainName,
    /// `%CONNECTION_ID%`.
    ConnectionId,
    /// `%UPSTREAM_REQUEST_ATTEMPT_COUNT%`.
    Attempts,
    /// `%GRPC_STATUS%` in camel case.
    GrpcStatus,
    /// `%GRPC_STATUS(SNAKE_STRING)%`.
    GrpcStatusSnake,
    /// `%GRPC_STATUS_NUMBER%`.
    GrpcStatusNumber,
}

/// Whose address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressOf {
    /// `%DOWNSTREAM_REMOTE_ADDRESS%`.
    DownstreamRemote,
    /// `%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%`.
    DownstreamDirectRemote,
    /// `%DOWNSTREAM_LOCAL_ADDRESS%`.
    DownstreamLocal,
    /// `%UPSTREAM_HOST%`, `%UPSTREAM_REMOTE_ADDRESS%`.
    UpstreamRemote,
    /// `%UPSTREAM_LOCAL_ADDRESS%`.
    UpstreamLocal,
}

/// In which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressForm {
    /// `10.0.0.1:80`.
    Full,
    /// `10.0.0.1`.
    WithoutPort,
    /// `80`.
    Port,
}

/// Facts of the downstream TLS session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsField {
    /// `%DOWNSTREAM_TLS_VERSION%`.
    Version,
    /// `%DOWNSTREAM_TLS_CIPHER%`.
    Cipher,
    /// `%DOWNSTREAM_PEER_URI_SAN%`.
    PeerUriSan,
    /// `%DOWNSTREAM_PEER_DNS_SAN%`.
    PeerDnsSan,
    /// `%DOWNSTREAM_PEER_SUBJECT%`.
    PeerSubject,
    /// `%DOWNSTREAM_PEER_FINGERPRINT_256%`.
    PeerFingerprint,
    /// `%DOWNSTREAM_LOCAL_URI_SAN%`.
    LocalUriSan,
}

/// A value that JSON writes without quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scalar {
    Number(u64),
    Absent,
}

impl Operator {
    /// Appends the value. False if there is none; then nothing was appended.
    pub(super) fn write(&self, info: &StreamInfo, out: &mut Vec<u8>) -> bool {
        match self {
            Self::StartTime(format) => format.write(info.start_time, out),
            Self::Method => text(info.method.as_ref().map(http::Method::as_str), out),
            Self::OriginalPath => bytes(info.original_path.as_ref().map(|p| p.as_bytes()), out),
            Self::OriginalPathWithoutQuery => bytes(
                info.original_path
                    .as_ref()
                    .map(|p| without_query(p.as_bytes())),
                out,
            ),
            Self::RequestHeader(main, alternative) => bytes(
                captured(&info.logged_request_headers, *main, *alternative),
                out,
            ),
            Self::RequestHeaderWithoutQuery(main, alternative) => {
                let value = captured(&info.logged_request_headers, *main, *alternative);
                bytes(value.map(without_query), out)
            }
            Self::ResponseHeader(main, alternative) => bytes(
                captured(&info.logged_response_headers, *main, *alternative),
                out,
            ),
            Self::Address(of, form) => of.get(info).is_some_and(|address| match form {
                AddressForm::Full => put(out, format_args!("{address}")),
                AddressForm::WithoutPort => put(out, format_args!("{}", address.ip())),
                AddressForm::Port => put(out, format_args!("{}", address.port())),
            }),
            Self::Tls(field) => info
                .connection
                .tls
                .as_ref()
                .is_some_and(|tls| field.write(tls, out)),
            Self::DynamicMetadata(key) => {
                let metadata = info.dynamic_metadata.borrow();
                text(key.text(metadata.as_deref()).as_deref(), out)
            }
            Self::Field(field) => field.write(info, out),
            Self::Constant(value) => text(Some(value), out),
        }
    }

    /// The value as JSON, for operators that have a type of their own there.
    pub(super) fn json(&self, info: &StreamInfo) -> Option<Option<serde_json::Value>> {
        match self {
            Self::DynamicMetadata(key) => {
                let metadata = info.dynamic_metadata.borrow();
                Some(key.json(metadata.as_deref()))
            }
            _ => None,
        }
    }

    /// The value as a number, for operators that are numbers in JSON.
    pub(super) fn scalar(&self, info: &StreamInfo) -> Option<Scalar> {
        match self {
            Self::Field(field) => field.number(info),
            Self::Address(of, AddressForm::Port) => Some(
                of.get(info)
                    .map_or(Scalar::Absent, |a| Scalar::Number(a.port().into())),
            ),
            _ => None,
        }
    }
}

impl Field {
    fn write(self, info: &StreamInfo, out: &mut Vec<u8>) -> bool {
        if let Some(scalar) = self.number(info) {
            return match scalar {
                Scalar::Number(number) => put(out, format_args!("{number}")),
                Scalar::Absent => false,
            };
        }
        match self {
            Self::Protocol => text(info.protocol.map(protocol), out),
            Self::ResponseCodeDetails => text(Some(&info.response_code_details), out),
            // `-` is its own text for none, in JSON as well.
            Self::ResponseFlags => put(out, format_args!("{}", info.flags)),
            Self::ConnectionTerminationDetails => {
                text(info.connection_termination_details.as_deref(), out)
            }
            Self::UpstreamTransportFailureReason => {
                text(info.upstream_transport_failure.as_deref(), out)
            }
            Self::UpstreamCluster => text(info.cluster_name.as_deref(), out),
            Self::RouteName => text(info.route_name.as_deref(), out),
            Self::RequestedServerName => text(info.connection.server_name.as_deref(), out),
            Self::FilterChainName => text(Some(&info.connection.filter_chain), out),
            Self::GrpcStatus => text(info.grpc_status.and_then(grpc_camel), out),
            Self::GrpcStatusSnake => text(info.grpc_status.and_then(grpc_snake), out),
            _ => false,
        }
    }

    fn number(self, info: &StreamInfo) -> Option<Scalar> {
        let milliseconds = |duration: Duration| Scalar::Number(duration.as_millis() as u64);
        Some(match self {
            Self::ResponseCode => Scalar::Number(info.response_code.into()),
            Self::BytesReceived => Scalar::Number(info.bytes_received.get()),
            Self::BytesSent => Scalar::Number(info.bytes_sent.get()),
            Self::Duration => milliseconds(Instant::now().duration_since(info.start)),
            Self::ResponseDuration => info
                .upstream_service_time
                .map_or(Scalar::Absent, milliseconds),
            Self::ConnectionId => Scalar::Number(info.connection.id),
            Self::Attempts => match info.attempts {
                0 => Scalar::Absent,
                attempts => Scalar::Number(attempts.into()),
            },
            Self::GrpcStatusNumber => info
                .grpc_status
                .map_or(Scalar::Absent, |status| Scalar::Number(status.into())),
            _ => return None,
        })
    }
}

impl AddressOf {
    fn get(self, info: &StreamInfo) -> Option<SocketAddr> {
        match self {
            Self::DownstreamRemote => Some(info.remote),
            Self::DownstreamDirectRemote => Some(info.connection.direct_remote),
            Self::DownstreamLocal => Some(info.connection.local),
            Self::UpstreamRemote => info.upstream_host,
            Self::UpstreamLocal => info.upstream_local,
        }
    }
}

impl TlsField {
    fn write(self, tls: &TlsInfo, out: &mut Vec<u8>) -> bool {
        let peer = tls.peer.as_ref();
        let list = |sans: fn(&PeerCertificate) -> &[Box<str>]| peer.map_or(&[][..], sans);
        match self {
            Self::Version => text(Some(tls.version), out),
            Self::Cipher => text(Some(&tls.cipher), out),
            Self::PeerUriSan => joined(list(|peer| &peer.uri_sans), out),
            Self::PeerDnsSan => joined(list(|peer| &peer.dns_sans), out),
            Self::PeerSubject => text(peer.map(|peer| &*peer.subject), out),
            Self::PeerFingerprint => text(peer.map(|peer| &*peer.sha256_hex), out),
            Self::LocalUriSan => joined(&tls.local_uri_sans, out),
        }
    }
}

fn captured(
    values: &[Option<http::HeaderValue>],
    main: usize,
    alternative: Option<usize>,
) -> Option<&[u8]> {
    let value = |at: usize| values.get(at)?.as_ref().map(http::HeaderValue::as_bytes);
    value(main).or_else(|| value(alternative?))
}

fn without_query(path: &[u8]) -> &[u8] {
    path.split(|byte| *byte == b'?').next().unwrap_or(path)
}

fn protocol(version: http::Version) -> &'static str {
    match version {
        http::Version::HTTP_10 => "HTTP/1.0",
        http::Version::HTTP_2 => "HTTP/2",
        http::Version::HTTP_3 => "HTTP/3",
        _ => "HTTP/1.1",
    }
}

fn text(value: Option<&str>, out: &mut Vec<u8>) -> bool {
    bytes(value.map(str::as_bytes), out)
}

fn bytes(value: Option<&[u8]>, out: &mut Vec<u8>) -> bool {
    let value = value.unwrap_or_default();
    out.extend_from_slice(value);
    !value.is_empty()
}

fn joined(values: &[Box<str>], out: &mut Vec<u8>) -> bool {
    text(Some(&values.join(",")), out)
}

const GRPC_STATUSES: [(&str, &str); 17] = [
    ("OK", "OK"),
    ("Canceled", "CANCELLED"),
    ("Unknown", "UNKNOWN"),
    ("InvalidArgument", "INVALID_ARGUMENT"),
    ("DeadlineExceeded", "DEADLINE_EXCEEDED"),
    ("NotFound", "NOT_FOUND"),
    ("AlreadyExists", "ALREADY_EXISTS"),
    ("PermissionDenied", "PERMISSION_DENIED"),
    ("ResourceExhausted", "RESOURCE_EXHAUSTED"),
    ("FailedPrecondition", "FAILED_PRECONDITION"),
    ("Aborted", "ABORTED"),
    ("OutOfRange", "OUT_OF_RANGE"),
    ("Unimplemented", "UNIMPLEMENTED"),
    ("Internal", "INTERNAL"),
    ("Unavailable", "UNAVAILABLE"),
    ("DataLoss", "DATA_LOSS"),
    ("Unauthenticated", "UNAUTHENTICATED"),
];

fn grpc_camel(status: u16) -> Option<&'static str> {
    GRPC_STATUSES
        .get(usize::from(status))
        .map(|(camel, _)| *camel)
}

fn grpc_snake(status: u16) -> Option<&'static str> {
    GRPC_STATUSES
        .get(usize::from(status))
        .map(|(_, snake)| *snake)
}

/// Since the epoch; times before it are it.
pub(super) fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}
