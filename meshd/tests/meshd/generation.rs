//! Generating configuration holds up nothing but itself.

use std::thread::available_parallelism;

use crate::discovery::{MESH, Stream};
use crate::held::{CALLER, Held};
use crate::reviews::post;
use crate::support::ControlPlane;

const PROXIES: usize = 40;
const SERVICES: usize = 300;

fn large_mesh() -> String {
    let [namespace, service, _] = *MESH.split("---").collect::<Vec<_>>() else {
        panic!("three objects");
    };
    let services = (0..SERVICES).map(|number| {
        let address = format!("10.97.{}.{}", number / 250, number % 250);
        service
            .replace("cart", &format!("cart-{number}"))
            .replace("10.96.0.10", &address)
    });
    let objects: Vec<_> = [namespace.to_owned()].into_iter().chain(services).collect();
    objects.join("---")
}

/// One worker serves everything but generation. Its threads are held until they are released, so whatever is answered
/// before is answered beside them; and if proxies' configuration were generated on the worker, they would have it.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn everything_else_is_served_while_proxies_wait_for_their_configuration() {
    let meshd = ControlPlane::start(&large_mesh()).await;
    let threads = available_parallelism().unwrap().get();
    let held = Held::new(&meshd.generation, threads, 0).await;
    let token = meshd.tokens.token("shop", "default");
    let workload = meshd.certificate(&token).await.unwrap();
    let mut streams = Vec::new();
    for _ in 0..PROXIES {
        let channel = meshd.connect(Some(&workload)).await;
        streams.push(Stream::open(channel, "shop", None).await.unwrap());
    }
    let all_wait = meshd.until_metric("weft_discovery_queue_depth", |depth| {
        depth == PROXIES as f64
    });
    tokio::select! {
        () = all_wait => {}
        clusters = streams[0].next() => panic!("generated elsewhere: {clusters:?}"),
    }

    assert_eq!(meshd.get("/ready").await, (200, "ready\n".to_owned()));
    for path in ["/validate", "/inject"] {
        assert_eq!(
            post(&meshd, path, CALLER, None).await.unwrap(),
            200,
            "{path}"
        );
    }
    assert_eq!(meshd.get("/debug/registryz").await.0, 200);
    let (_, metrics) = meshd.get("/metrics").await;
    let running = format!("weft_discovery_running {threads}\n");
    assert!(metrics.contains(&running), "{metrics}");
    for stream in &mut streams {
        tokio::select! {
            biased;
            clusters = stream.next() => panic!("generated elsewhere: {clusters:?}"),
            () = std::future::ready(()) => {}
        }
    }

    held.end().await;
    for stream in &mut streams {
        let clusters = stream.next().await.unwrap();
        assert_eq!(clusters.len(), SERVICES + 3);
    }
    meshd.stop().await;
}
