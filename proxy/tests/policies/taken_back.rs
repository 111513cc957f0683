//! Random policies come and go under traffic, and are all taken back at the end.

use std::sync::atomic::Ordering;

use super::mesh::{Client, Mesh};
use super::origins::COUNT;
use super::policy::Policy;

/// Changes of each history.
const CHANGES: usize = 12;

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_forgets_the_policies_that_were_removed() {
    let mut mesh = Mesh::start().await;
    let fresh = mesh.proxy().await;
    let expected = mesh.observe(&fresh).await;
    fresh.data_plane.stop().await;
    let old = mesh.proxy().await;
    for seed in 0..8 {
        let history = live_through(&mut mesh, &old, seed).await;
        let observed = mesh.observe(&old).await;
        assert_eq!(observed, expected, "after {history:?} (seed {seed})");
    }
    old.data_plane.stop().await;
}

/// Applies and removes policies, and returns them in their order.
async fn live_through(
    mesh: &mut Mesh,
    proxy: &crate::harness::Proxy,
    seed: u64,
) -> Vec<Vec<Policy>> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut history = Vec::new();
    mesh.origins.released.send_replace(false);
    // Requests that run through all of it.
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut client = Client::new(proxy).await;
        held.push(tokio::spawn(async move { client.get("/hold").await }));
    }
    for _ in 0..CHANGES {
        if random.u32(..3) == 0 && !mesh.policies.is_empty() {
            let gone = random.usize(..mesh.policies.len());
            mesh.policies.remove(gone);
        } else {
            let next = Policy::random(&mut random);
            mesh.policies.retain(|policy| !policy.is_like(next));
            mesh.policies.push(next);
        }
        history.push(mesh.policies.clone());
        mesh.publish();
        mesh.until_in_force(proxy).await;
        for sick in mesh.origins.sick.iter() {
            sick.store(random.u32(..3) == 0, Ordering::SeqCst);
        }
        let mut client = Client::new(proxy).await;
        for _ in 0..4 * COUNT {
            client.get("/").await;
        }
    }
    for sick in mesh.origins.sick.iter() {
        sick.store(false, Ordering::SeqCst);
    }
    mesh.policies.clear();
    mesh.publish();
    mesh.until_in_force(proxy).await;
    mesh.origins.released.send_replace(true);
    for request in held {
        request.await.unwrap();
    }
    history
}
