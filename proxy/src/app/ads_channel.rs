//! The gRPC channel to the control plane: over the cluster that the bootstrap names, with that cluster's own
//! endpoints, timeouts and TLS, so that the identity of the agent is used the same way as on data connections.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tonic::codegen::Service;
use tonic::codegen::http::Uri;
use tonic::transport::{Channel, Endpoint};

use crate::config::ClusterId;
use crate::upstream::UpstreamIo;
use crate::upstream::connect::{TlsWishes, connect};
use crate::upstream::runtime::RuntimeHandle;

/// A quiet connection is probed, so that a control plane that vanished without a word is noticed.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Enough for a mesh's initial configuration without waiting for window updates.
const WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// A channel over the cluster in a slot; connects when it is first used.
pub(super) fn channel(runtime: &RuntimeHandle, cluster: ClusterId) -> Channel {
    Endpoint::from_static("http://ads")
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .connect_with_connector_lazy(ClusterConnector {
            runtime: runtime.clone(),
            cluster,
            next: Arc::default(),
        })
}

#[derive(Clone)]
struct ClusterConnector {
    runtime: RuntimeHandle,
    cluster: ClusterId,
    next: Arc<AtomicUsize>,
}

impl Service<Uri> for ClusterConnector {
    type Response = TokioIo<UpstreamIo>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let this = self.clone();
        Box::pin(async move { this.connect().await.map(TokioIo::new) })
    }
}

impl ClusterConnector {
    /// The control plane's endpoints by turns.
    async fn connect(&self) -> io::Result<UpstreamIo> {
        let runtime = self.runtime.load();
        let cluster = runtime.cluster(self.cluster);
        let cluster =
            cluster.ok_or_else(|| io::Error::other("no cluster for the control plane"))?;
        let endpoints = runtime.endpoints(self.cluster);
        let endpoints: Vec<_> = endpoints.iter().flat_map(|all| &all.endpoints).collect();
        if endpoints.is_empty() {
            return Err(io::Error::other("no address of the control plane"));
        }
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % endpoints.len();
        let endpoint = endpoints[turn];
        let wishes = TlsWishes {
            server_name: None,
            alpn_fallback: &[b"h2"],
        };
        let socket = cluster.socket_for(&endpoint.metadata);
        let connected = connect(cluster, endpoint.address, socket, &wishes).await;
        let (io, _, _) =
            connected.map_err(|error| io::Error::other(error.transport_failure_reason()))?;
        Ok(io)
    }
}
