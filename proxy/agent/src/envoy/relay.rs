//! Copies Envoy's discovery stream to the control plane over the agent's own mutual TLS.

use std::path::Path;
use std::sync::Arc;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

use crate::certificates::WorkloadCertificate;
use crate::control_plane::ControlPlane;

/// Serves a unix socket: each connection is joined to a connection of its own to the control plane, made with the
/// certificate of that moment. If the control plane is away the connection is closed, and Envoy comes again with
/// its own backoff while it keeps its configuration.
pub async fn serve(
    path: &Path,
    control_plane: ControlPlane,
    certificate: watch::Receiver<Option<Arc<WorkloadCertificate>>>,
) -> std::io::Result<()> {
    let listener = UnixListener::bind(path)?;
    let control_plane = Arc::new(control_plane);
    // Ends with this function, so that no connection outlives the agent's task.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        while connections.try_join_next().is_some() {}
        let current = certificate.borrow().clone();
        connections.spawn(join(stream, control_plane.clone(), current));
    }
}

async fn join(
    mut local: UnixStream,
    control_plane: Arc<ControlPlane>,
    certificate: Option<Arc<WorkloadCertificate>>,
) {
    match control_plane.connect(certificate.as_deref()).await {
        Ok(mut remote) => {
            // Either side may end it at any time; Envoy reconnects.
            let _ = tokio::io::copy_bidirectional(&mut local, &mut remote).await;
        }
        Err(error) => tracing::warn!(%error, "no connection to the control plane for Envoy"),
    }
}
