//! The objects of each kind that take the most work to validate are judged, and everything else is served meanwhile.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use galley::test_util::{Review, worst_reviews};

use crate::discovery::{CART, MESH, Stream};
use crate::reviews::send_review;
use crate::support::ControlPlane;

/// The largest body that the webhook takes.
const BODY_BYTES: usize = 4 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_most_expensive_object_of_each_kind_is_judged_while_the_rest_is_served() {
    let meshd = ControlPlane::start(MESH).await;
    // The reviews come sorted by kind, and within a kind by cost.
    let mut by_kind: BTreeMap<String, Review> = BTreeMap::new();
    for review in worst_reviews() {
        let kind = review.name.split(' ').next().unwrap().to_owned();
        by_kind.entry(kind).or_insert(review);
    }
    assert!(by_kind.contains_key("VirtualService"), "{by_kind:?}");

    let judged = async {
        for review in by_kind.values() {
            let caller = IpAddr::V4(Ipv4Addr::LOCALHOST);
            let body = review.body(BODY_BYTES);
            let answer = send_review(&meshd, "/validate", caller, None, body).await;
            let (status, body) = answer.unwrap();
            // More values than any object that can be stored: not read at all.
            if status == 413 {
                continue;
            }
            assert_eq!(status, 200, "{}: {body}", review.name);
            let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
            let response = &answer["response"];
            assert_eq!(response["uid"], "1", "{}", review.name);
            assert!(response["allowed"].is_boolean(), "{}: {body}", review.name);
        }
    };
    let mut judged = Box::pin(judged);
    let mut rounds = 0;
    loop {
        tokio::select! {
            () = &mut judged => break,
            () = everything_else(&meshd) => rounds += 1,
        }
    }
    drop(judged);
    assert!(rounds > by_kind.len(), "{rounds} rounds");
    meshd.stop().await;
}

/// Readiness, signing and discovery, once each.
async fn everything_else(meshd: &ControlPlane) {
    assert_eq!(meshd.get("/ready").await, (200, "ready\n".to_owned()));
    let token = meshd.tokens.token("shop", "default");
    let workload = meshd.certificate(&token).await.unwrap();
    let channel = meshd.connect(Some(&workload)).await;
    let mut stream = Stream::open(channel, "shop", None).await.unwrap();
    assert!(stream.next().await.unwrap().contains(CART));
}
