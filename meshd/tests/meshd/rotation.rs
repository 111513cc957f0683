//! A CA is replaced while the control plane runs.

use std::fs;

use citadel::ca::{plugged_in, self_signed};

use crate::support::ControlPlane;

#[tokio::test]
async fn old_and_new_roots_overlap() {
    let meshd = ControlPlane::start("").await;
    let token = meshd.tokens.token("shop", "cart");
    let before = meshd.certificate(&token).await.unwrap();
    let old_root = meshd.roots();

    let now = citadel::Clock::system().now();
    let mut files = self_signed::create("example", now).unwrap();
    let new_root = files.root_cert.clone();
    files.root_cert += &old_root;
    let published = meshd.directory.path().join("root");
    plugged_in::write(&meshd.directory.path().join("ca"), &files).unwrap();
    meshd
        .until(|| fs::read_to_string(published.join("root-cert.pem")).unwrap() == files.root_cert)
        .await;

    // New certificates come from the new root, and those of the old one still open connections.
    let after = loop {
        let after = meshd.certificate(&token).await.unwrap();
        if meshd.is_signed_by(&after, &new_root) {
            break after;
        }
    };
    meshd.connect(Some(&before)).await;
    meshd.connect(Some(&after)).await;
    meshd.stop().await;
}

#[tokio::test]
async fn a_broken_ca_on_disk_changes_nothing() {
    let meshd = ControlPlane::start("").await;
    let token = meshd.tokens.token("shop", "cart");
    let roots = meshd.roots();
    fs::write(meshd.directory.path().join("ca/ca-cert.pem"), "broken").unwrap();
    meshd
        .until_metric("citadel_server_ca_reload_err_count", |count| count > 0.0)
        .await;
    assert_eq!(meshd.roots(), roots);
    meshd.certificate(&token).await.unwrap();
    meshd.stop().await;
}
