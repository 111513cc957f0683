//! Keeps the CA in force equal to its directory, and renews a self-signed root in time.
//!
//! A change on disk is read, checked as a whole and then swapped in; one that fails its checks is logged and
//! counted, and the CA in use stays. Roots may overlap: `root-cert.pem` lists old and new together for as
//! long as certificates under the old one live.

use std::sync::Arc;
use std::time::Duration;

use mesh_runtime::file_watch::FileWatch;

use super::directory::CaDirectory;
use super::{Ca, CaError};

/// How often the remaining life of a self-signed root is looked at.
pub(super) const CHECK_INTERVAL: Duration = Duration::from_secs(3600);

/// Follows the directory until dropped. Ends only with an error.
pub async fn run(directory: CaDirectory, ca: Arc<Ca>) -> Result<(), CaError> {
    let watch = FileWatch::new(&[directory.path()])?;
    // Something may have changed between the first read and the watch.
    step(&directory, &ca);
    loop {
        let settles = ca.settles_in();
        tokio::select! {
            () = watch.changed() => {}
            () = tokio::time::sleep(settles.unwrap_or_default()), if settles.is_some() => {
                ca.settle();
                continue;
            }
            () = tokio::time::sleep(CHECK_INTERVAL) => {}
        }
        step(&directory, &ca);
    }
}

fn step(directory: &CaDirectory, ca: &Ca) {
    let stepped = directory
        .reload(ca)
        .and_then(|_| directory.renew_if_due(ca));
    if let Err(error) = stepped {
        ca.metrics().reload_errors.inc();
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "the CA on disk cannot be used, the one in force stays"
        );
    }
}
