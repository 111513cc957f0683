//! What is known of a connection and of a request: written along the request path, read by access logs,
//! metrics and RBAC. Corresponds to Envoy's `StreamInfo`.

use std::borrow::Cow;
use std::cell::{Cell, Ref, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::HeaderValue;
use smallvec::SmallVec;

use crate::config::ClusterId;
use crate::config::cluster::Cluster;
use crate::config::endpoint::Endpoint;
use crate::config::metadata::{Metadata, Struct};

pub use crate::config::connection::{ConnectionInfo, PeerCertificate, TlsInfo};
pub use crate::config::response_flags::ResponseFlags;

/// Metadata that filters write while a stream runs, by the name of the filter. Nothing is allocated before the first
/// one writes, or watches a body.
#[derive(Debug, Default)]
pub struct DynamicMetadata(Option<Rc<RefCell<Metadata>>>);

impl DynamicMetadata {
    /// Sets fields of one filter; its other fields stay.
    pub fn set(&mut self, filter: &str, fields: &Struct) {
        let mut metadata = self.0.get_or_insert_default().borrow_mut();
        let merged = fields.over(metadata.filter(filter));
        metadata.insert(filter, merged);
    }

    /// The metadata, if there is any.
    pub fn borrow(&self) -> Option<Ref<'_, Metadata>> {
        self.0.as_ref().map(|metadata| metadata.borrow())
    }

    /// The same metadata for a body in flight.
    pub fn share(&mut self) -> Self {
        Self(Some(self.0.get_or_insert_default().clone()))
    }
}

/// Bytes of one direction, shared between the body in flight and its stream.
pub type ByteCount = Rc<Cell<u64>>;

/// A connection to an endpoint.
#[derive(Debug)]
pub struct UpstreamConnection {
    /// Our address.
    pub local: SocketAddr,
    /// The endpoint's address.
    pub remote: SocketAddr,
    /// The TLS session; `None` for plaintext.
    pub tls: Option<TlsInfo>,
}

/// A cluster, as one worker shares it among its streams.
pub type WorkerCluster = Rc<Arc<Cluster>>;

/// An endpoint with its cluster, as one worker shares them among its streams: the count of an `Arc` would be written by
/// all workers.
#[derive(Debug)]
pub struct UpstreamHost {
    /// The endpoint.
    pub endpoint: Arc<Endpoint>,
    /// The cluster that it belongs to.
    pub cluster: Arc<Cluster>,
}

/// One HTTP request, or one TCP connection (then the HTTP fields are empty).
#[derive(Debug)]
pub struct StreamInfo {
    /// The connection it came on.
    pub connection: Rc<ConnectionInfo>,
    /// The client: the connection's, or what trusted proxies say (`x-forwarded-for`; port 0 then).
    pub remote: SocketAddr,
    /// When it began, for durations.
    pub start: Instant,
    /// When it began, for people.
    pub start_time: SystemTime,
    /// HTTP version; `None` for TCP.
    pub protocol: Option<http::Version>,
    /// `:method`.
    pub method: Option<http::Method>,
    /// The path as received, before normalisation and rewrites (`x-envoy-original-path` or `:path`).
    pub original_path: Option<HeaderValue>,
    /// `:authority` as received.
    pub authority: Option<HeaderValue>,
    /// Status sent to the client; 0 if none was sent.
    pub response_code: u16,
    /// Why, in Envoy's words (`via_upstream`, `route_not_found`, `rbac_access_denied_matched_policy[...]`).
    pub response_code_details: Cow<'static, str>,
    /// Response flags.
    pub flags: ResponseFlags,
    /// Why the connection was ended by us, if it was.
    pub connection_termination_details: Option<Cow<'static, str>>,
    /// Body bytes from the client.
    pub bytes_received: ByteCount,
    /// Body bytes to the client.
    pub bytes_sent: ByteCount,
    /// Name of the matched route.
    pub route_name: Option<Arc<str>>,
    /// The cluster the request went to.
    pub cluster: Option<ClusterId>,
    /// Its name.
    pub cluster_name: Option<Arc<str>>,
    /// The endpoint chosen last.
    pub upstream_host: Option<SocketAddr>,
    /// Our address on the upstream connection.
    pub upstream_local: Option<SocketAddr>,
    /// Why the upstream connection failed (TLS and connect errors).
    pub upstream_transport_failure: Option<Box<str>>,
    /// The connection to the upstream, with its TLS session.
    pub upstream_connection: Option<Rc<UpstreamConnection>>,
    /// The endpoint chosen last, with its metadata.
    pub upstream_endpoint: Option<Rc<UpstreamHost>>,
    /// The cluster as configured, where no endpoint was chosen.
    pub upstream_cluster: Option<WorkerCluster>,
    /// From sending the request upstream to the first response byte.
    pub upstream_service_time: Option<Duration>,
    /// Tries made, the first included.
    pub attempts: u32,
    /// `grpc-status`, from headers or trailers.
    pub grpc_status: Option<u16>,
    /// True if the request is gRPC (`content-type: application/grpc`).
    pub grpc: bool,
    /// gRPC messages counted by `envoy.filters.http.grpc_stats`: to the upstream, to the client.
    pub grpc_messages: (u64, u64),
    /// What filters tell each other, RBAC and logs about the stream.
    pub dynamic_metadata: DynamicMetadata,
    /// Who the peer is, for metrics: found by the peer metadata filter.
    pub peer: Option<Arc<crate::config::peer::Peer>>,
    /// Request header values that access logs asked for, in the order of the logs' requests.
    pub logged_request_headers: SmallVec<[Option<HeaderValue>; 8]>,
    /// Response header values that access logs asked for.
    pub logged_response_headers: SmallVec<[Option<HeaderValue>; 4]>,
}

impl StreamInfo {
    /// A stream that begins now.
    pub fn new(connection: Rc<ConnectionInfo>) -> Self {
        Self {
            remote: connection.remote,
            connection,
            start: Instant::now(),
            start_time: SystemTime::now(),
            protocol: None,
            method: None,
            original_path: None,
            authority: None,
            response_code: 0,
            response_code_details: Cow::Borrowed(""),
            flags: ResponseFlags::default(),
            connection_termination_details: None,
            bytes_received: ByteCount::default(),
            bytes_sent: ByteCount::default(),
            route_name: None,
            cluster: None,
            cluster_name: None,
            upstream_host: None,
            upstream_local: None,
            upstream_transport_failure: None,
            upstream_connection: None,
            upstream_endpoint: None,
            upstream_cluster: None,
            upstream_service_time: None,
            attempts: 0,
            grpc_status: None,
            grpc: false,
            grpc_messages: (0, 0),
            dynamic_metadata: DynamicMetadata::default(),
            peer: None,
            logged_request_headers: SmallVec::new(),
            logged_response_headers: SmallVec::new(),
        }
    }
}
