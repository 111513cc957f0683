//! What the headers of requests may hold: a client that names one large header again and again.

use http::Response;
use proxy::http::header_memory::{CONNECTION_BYTES_MAX, ENTRY_BYTES};

use super::http2_frames::{Client, Event, indexed, literal};
use super::upstream::{Body, counter, proxy, upstream};
use crate::harness::LIMIT;

/// ENHANCE_YOUR_CALM.
const CALM: u32 = 0xb;

/// The value of the header that is sent once: with its name it nearly fills the dynamic table.
const VALUE_BYTES: usize = 4000;

/// How often a request names it.
const REFERENCES: usize = 15;

const STREAMS: u32 = 200;

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_holds_what_it_may_and_no_more() {
    let server = upstream(|_| std::future::pending::<Response<Body>>()).await;
    let proxy = proxy("cluster: up", "", &[("up", server, "")]).await;
    let mut client = Client::new(proxy.connect("in").await).await;
    let head: Vec<u8> = [
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "a"),
    ]
    .iter()
    .flat_map(|(name, value)| literal(name, value))
    .collect();
    let first = [&head[..], &indexed("x", &"a".repeat(VALUE_BYTES))].concat();
    client.headers(1, &first, true).await;
    let bomb = [&head[..], &[0xbe; REFERENCES]].concat();
    for stream in 1..STREAMS {
        client.headers(2 * stream + 1, &bomb, true).await;
    }
    let pseudo = ":methodGET:schemehttp:path/:authoritya".len() + 4 * ENTRY_BYTES;
    let field = 1 + VALUE_BYTES + ENTRY_BYTES;
    let (small, large) = (pseudo + field, pseudo + REFERENCES * field);
    let held = 1 + (CONNECTION_BYTES_MAX - small) / large;
    let refused = usize::try_from(STREAMS).unwrap() - held;
    for _ in 0..refused {
        let next = tokio::time::timeout(LIMIT, client.next()).await;
        let (stream, event) = next.expect("an event").expect("an open connection");
        assert_eq!(event, Event::Reset(CALM), "{stream}");
        assert!(
            usize::try_from(stream).unwrap() > 2 * (held - 1) + 1,
            "{stream}"
        );
    }
    let bytes = counter(&proxy, "downstream_rq_header_bytes");
    assert_eq!(bytes, u64::try_from(small + (held - 1) * large).unwrap());
    assert!(bytes <= u64::try_from(CONNECTION_BYTES_MAX).unwrap());
    let overflow = counter(&proxy, "downstream_rq_header_memory_overflow");
    assert_eq!(overflow, u64::try_from(refused).unwrap());
    drop(client);
    let given_back = async {
        while counter(&proxy, "downstream_rq_header_bytes") > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, given_back)
        .await
        .expect("what ends is given back");
    proxy.data_plane.stop().await;
}
