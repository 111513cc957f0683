//! Who may read Secrets: in a cluster the API server says so, elsewhere roles and bindings among the manifests.

use std::sync::Arc;
use std::time::Duration;

use mesh_api::identity::SpiffeId;
use mesh_api::snapshot::Snapshot;
use pilot::access::{ReviewError, Reviewer, Timing};
use tokio::sync::watch;
use tonic::async_trait;

use crate::cluster::Cluster;
use crate::cluster::secret_access::SubjectAccess;

/// Looking at the snapshot costs nothing, so a role has its effect soon after it was written.
const DIRECTORY_FRESH: Duration = Duration::from_secs(1);

/// What decides, and how long its answers hold.
pub(crate) fn reviewer(
    cluster: Option<&Cluster>,
    snapshots: &watch::Receiver<Arc<Snapshot>>,
) -> (Arc<dyn Reviewer>, Timing) {
    match cluster {
        Some(cluster) => {
            let access = SubjectAccess::new(cluster.client.clone());
            (Arc::new(access), Timing::default())
        }
        None => {
            let roles = ManifestRoles(snapshots.clone());
            let timing = Timing {
                fresh: DIRECTORY_FRESH,
                ..Timing::default()
            };
            (Arc::new(roles), timing)
        }
    }
}

/// Roles and bindings in the configuration directories.
#[derive(Debug)]
struct ManifestRoles(watch::Receiver<Arc<Snapshot>>);

#[async_trait]
impl Reviewer for ManifestRoles {
    async fn may_list_secrets(
        &self,
        account: &SpiffeId,
        namespace: &str,
    ) -> Result<bool, ReviewError> {
        let readers = self.0.borrow().secret_readers.clone();
        Ok(readers.permit(account, namespace))
    }
}
