//! Header values with `%OPERATORS%`, compiled when a resource is applied.
//!
//! The operators are those of Envoy's custom request and response headers
//! (<https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage#command-operators>)
//! that can be known while headers are written.

use crate::metadata::MetadataKey;
use crate::request::HeaderKey;

mod parse;

pub use parse::FormatError;

/// A compiled value.
#[derive(Debug)]
pub struct Format {
    /// The pieces in order.
    pub ops: Vec<Op>,
}

/// One piece of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// As it stands.
    Literal(Box<[u8]>),
    /// A header.
    Header {
        /// Of which message.
        source: HeaderSource,
        /// Which one.
        main: HeaderKey,
        /// Which one where the first is absent.
        alternative: Option<HeaderKey>,
        /// At most this many bytes of it.
        max_len: Option<usize>,
    },
    /// A value that takes no argument.
    Field(Field),
    /// A value of dynamic metadata, and at most how many bytes of it.
    DynamicMetadata(MetadataKey, Option<usize>),
    /// The value of an environment variable when the resource was applied.
    Environment(Box<str>),
}

/// Whose header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderSource {
    /// The request.
    Request,
    /// The response.
    Response,
}

macro_rules! fields {
    ($($name:ident = $first:literal $(| $more:literal)*;)*) => {
        /// A value that takes no argument.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Field {
            $(#[doc = concat!("`%", $first, "%`.")] $name,)*
        }

        impl Field {
            /// The operator of this name.
            fn of(name: &str) -> Option<Self> {
                match name {
                    $($first $(| $more)* => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

fields! {
    DownstreamRemoteAddress = "DOWNSTREAM_REMOTE_ADDRESS";
    DownstreamRemoteAddressWithoutPort = "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT";
    DownstreamRemotePort = "DOWNSTREAM_REMOTE_PORT";
    DownstreamDirectRemoteAddress = "DOWNSTREAM_DIRECT_REMOTE_ADDRESS";
    DownstreamDirectRemoteAddressWithoutPort = "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT";
    DownstreamLocalAddress = "DOWNSTREAM_LOCAL_ADDRESS";
    DownstreamLocalAddressWithoutPort = "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT";
    DownstreamLocalPort = "DOWNSTREAM_LOCAL_PORT";
    DownstreamPeerUriSan = "DOWNSTREAM_PEER_URI_SAN";
    DownstreamLocalUriSan = "DOWNSTREAM_LOCAL_URI_SAN";
    DownstreamPeerSubject = "DOWNSTREAM_PEER_SUBJECT";
    DownstreamPeerFingerprint256 = "DOWNSTREAM_PEER_FINGERPRINT_256";
    DownstreamTlsVersion = "DOWNSTREAM_TLS_VERSION";
    DownstreamTlsCipher = "DOWNSTREAM_TLS_CIPHER";
    RequestedServerName = "REQUESTED_SERVER_NAME";
    Protocol = "PROTOCOL";
    ConnectionId = "CONNECTION_ID";
    Hostname = "HOSTNAME";
    RouteName = "ROUTE_NAME";
    VirtualHostName = "VIRTUAL_CLUSTER_NAME" | "VIRTUAL_HOST_NAME";
    UpstreamHost = "UPSTREAM_HOST" | "UPSTREAM_REMOTE_ADDRESS";
    UpstreamHostWithoutPort = "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT";
    UpstreamCluster = "UPSTREAM_CLUSTER" | "UPSTREAM_CLUSTER_RAW";
    ResponseCode = "RESPONSE_CODE";
    ResponseCodeDetails = "RESPONSE_CODE_DETAILS";
    ResponseFlags = "RESPONSE_FLAGS";
    BytesReceived = "BYTES_RECEIVED";
    RequestId = "STREAM_ID";
}

impl Format {
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
