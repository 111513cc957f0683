//! The running galley over a directory that changes under it.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use galley::{Config, Galley};
use mesh_api::snapshot::Snapshot;
use prometheus_client::registry::Registry;
use tempfile::TempDir;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: reviews}\nspec:\n  clusterIP: 10.96.0.7\n  selector: {app: reviews}\n  ports: [{name: http, port: 9080}]\n";

const RULE: &str = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: reviews}\nspec:\n  hosts: [reviews]\n  http: [{route: [{destination: {host: reviews, subset: v1}}]}]\n";

struct Running {
    directory: TempDir,
    galley: Galley,
    shutdown: CancellationToken,
}

async fn start(files: &[(&str, &str)]) -> Running {
    let directory = TempDir::new().unwrap();
    for (name, text) in files {
        fs::write(directory.path().join(name), text).unwrap();
    }
    let shutdown = CancellationToken::new();
    let config = Config {
        config_dirs: vec![directory.path().into()],
        ..Config::default()
    };
    let galley = Galley::start(config, &mut Registry::default(), shutdown.clone())
        .await
        .unwrap();
    Running {
        directory,
        galley,
        shutdown,
    }
}

impl Running {
    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    /// Waits for a snapshot that fulfils the condition.
    async fn until(&mut self, condition: impl Fn(&Snapshot) -> bool) -> Arc<Snapshot> {
        let wait = self
            .galley
            .snapshots
            .wait_for(|snapshot| condition(snapshot));
        timeout(Duration::from_secs(20), wait)
            .await
            .expect("the snapshot comes")
            .unwrap()
            .clone()
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.galley.task.await.unwrap();
    }
}

fn write_atomically(path: &Path, text: &str) {
    let temporary = path.with_extension("new");
    fs::write(&temporary, text).unwrap();
    fs::rename(temporary, path).unwrap();
}

#[tokio::test]
async fn the_first_snapshot_is_complete() {
    let running = start(&[("service.yaml", SERVICE), ("rule.yml", RULE)]).await;
    let snapshot = running.galley.snapshots.borrow().clone();
    assert_eq!(snapshot.version, 1);
    assert!(snapshot.changes.full);
    let names: Vec<_> = snapshot
        .services
        .keys()
        .map(|key| key.hostname.as_str().to_owned())
        .collect();
    assert_eq!(names, ["reviews.default.svc.cluster.local"]);
    let rules = Snapshot::of_namespace(&snapshot.virtual_services, "default");
    assert_eq!(
        rules.first().unwrap().hosts[0].as_str(),
        "reviews.default.svc.cluster.local"
    );
    running.stop().await;
}

#[tokio::test]
async fn changes_additions_and_removals_are_seen() {
    let mut running = start(&[("service.yaml", SERVICE)]).await;
    write_atomically(&running.path("rule.yaml"), RULE);
    let added = running.until(|s| !s.virtual_services.is_empty()).await;
    assert!(!added.changes.full);
    assert_eq!(
        added
            .changes
            .objects
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        ["VirtualService default/reviews"]
    );
    let service = running.path("service.yaml");
    fs::write(&service, SERVICE.replace("9080", "9081")).unwrap();
    let changed = running
        .until(|s| s.services.values().any(|s| s.port(9081).is_some()))
        .await;
    assert!(Arc::ptr_eq(
        &added.virtual_services,
        &changed.virtual_services
    ));
    fs::remove_file(&service).unwrap();
    running.until(|s| s.services.is_empty()).await;
    running.stop().await;
}

#[tokio::test]
async fn a_bad_version_is_quarantined_and_the_rest_moves_on() {
    let mut running = start(&[("service.yaml", SERVICE), ("rule.yaml", RULE)]).await;
    fs::write(running.path("rule.yaml"), RULE.replace("http:", "htpp:")).unwrap();
    let bad = running
        .galley
        .diagnostics
        .wait_for(|all| all.iter().any(|d| d.code == "IST0106"));
    let shown = timeout(Duration::from_secs(20), bad)
        .await
        .unwrap()
        .unwrap()
        .iter()
        .next()
        .unwrap()
        .to_string();
    assert!(shown.contains("rule.yaml:6:3: error[IST0106] VirtualService default/reviews spec.htpp: unknown field \"htpp\""), "{shown}");
    assert!(
        shown.contains("the last good version stays in force"),
        "{shown}"
    );
    fs::write(
        running.path("service.yaml"),
        SERVICE.replace("9080", "9081"),
    )
    .unwrap();
    let snapshot = running
        .until(|s| s.services.values().any(|s| s.port(9081).is_some()))
        .await;
    assert_eq!(snapshot.virtual_services.len(), 1);
    running.stop().await;
}

#[tokio::test]
async fn a_symlink_swap_is_seen() {
    // The way in which Kubernetes updates a mounted ConfigMap.
    let mut running = start(&[]).await;
    let root = running.directory.path().to_owned();
    for (version, port) in [("..1", "9080"), ("..2", "9081")] {
        fs::create_dir(root.join(version)).unwrap();
        fs::write(
            root.join(version).join("service.yaml"),
            SERVICE.replace("9080", port),
        )
        .unwrap();
    }
    std::os::unix::fs::symlink("..1", root.join("..data")).unwrap();
    std::os::unix::fs::symlink("..data/service.yaml", root.join("service.yaml")).unwrap();
    running
        .until(|s| s.services.values().any(|s| s.port(9080).is_some()))
        .await;
    std::os::unix::fs::symlink("..2", root.join("..data_tmp")).unwrap();
    fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
    running
        .until(|s| s.services.values().any(|s| s.port(9081).is_some()))
        .await;
    running.stop().await;
}
