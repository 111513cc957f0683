//! Writes the mesh's roots to where proxies read them, on start and on every change.
//!
//! On Kubernetes that place is a ConfigMap in each namespace; in a local mesh it is a directory that is
//! mounted into every pod.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use citadel::ca::plugged_in::{self, FileError};
use citadel::trust_bundle::TrustBundle;
use tokio::sync::watch;

/// Writes the roots now.
pub(crate) fn write(directory: &Path, bundle: &TrustBundle) -> Result<(), FileError> {
    plugged_in::write_atomically(
        &directory.join(plugged_in::ROOT_CERT),
        &bundle.to_pem(),
        0o644,
    )
}

/// Writes the roots whenever they change, until dropped.
pub(crate) async fn follow(
    directory: PathBuf,
    mut bundles: watch::Receiver<Arc<TrustBundle>>,
) -> Result<(), FileError> {
    while bundles.changed().await.is_ok() {
        let bundle = bundles.borrow_and_update().clone();
        write(&directory, &bundle)?;
        tracing::info!(directory = %directory.display(), "published the roots");
    }
    Ok(())
}
