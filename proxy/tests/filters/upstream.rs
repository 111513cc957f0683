//! Filters of a cluster: once for each attempt, below those of the connection manager.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use proxy::http::filter::{BodyStep, HeadContext, ReplyOrigin, Side, Step, Watch};
use proxy::http::local_reply::LocalReply;
use proxy::http::stream::RequestHead;
use proxy::telemetry::stream_info::ResponseFlags;

use super::mesh::{Mesh, PROTOCOLS, Protocol};
use super::script::{Script, link};

const RETRY: &str = "{ match: { prefix: / }, route: { cluster: one, retry_policy: { \
    retry_on: 5xx, num_retries: 2, retry_back_off: { base_interval: 0.001s } } } }";

#[tokio::test(flavor = "multi_thread")]
async fn each_attempt_has_filters_of_its_own() {
    for upstream in PROTOCOLS {
        for client in PROTOCOLS {
            let (begun, over) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
            let (begin, end) = (begun.clone(), over.clone());
            let script = Script {
                request_head: Arc::new(move |context, head| {
                    assert!(context.state::<u32>().is_none());
                    let n = begin.fetch_add(1, Ordering::SeqCst) + 1;
                    context.set_state(n);
                    // What one attempt adds the next one does not see.
                    head.headers.append("x-echo-attempt", HeaderValue::from(n));
                    context.watch_body(Watch::Edit);
                    Step::Continue
                }),
                request_data: Arc::new(|context, data| {
                    let n = *context.state::<u32>().unwrap();
                    *data = Bytes::from([&data[..], n.to_string().as_bytes()].concat());
                    BodyStep::Continue
                }),
                response_head: Arc::new(|context, head| {
                    let n = *context.state::<u32>().unwrap();
                    head.headers.append("x-attempt", HeaderValue::from(n));
                    Step::Continue
                }),
                complete: Arc::new(move |context| {
                    let n = *context.state::<u32>().unwrap();
                    assert_eq!(end.fetch_add(1, Ordering::SeqCst) + 1, n);
                }),
                ..Script::default()
            };
            let mesh = Mesh {
                scripts: vec![("up", script)],
                upstream_filters: vec![link("up", "")],
                routes: vec![RETRY.into()],
                ..Mesh::default()
            };
            let running = mesh.start(upstream).await;
            let answer = running.post(client, "/fail", &["try"], None).await;
            assert_eq!(answer.brief(), (200, "try2"));
            let all = |name: &str| {
                let values = answer.headers.get_all(name).iter();
                values
                    .map(|v| v.to_str().unwrap().to_owned())
                    .collect::<Vec<_>>()
            };
            assert_eq!(all("x-echo-attempt"), ["2"]);
            assert_eq!(all("x-attempt"), ["2"]);
            assert_eq!(running.reached(), 2);
            running.stop().await;
            let counts = [begun, over].map(|count| count.load(Ordering::SeqCst));
            assert_eq!(counts, [2, 2]);
        }
    }
}

/// What a cluster's filter makes of a response is what retries are decided by.
#[tokio::test(flavor = "multi_thread")]
async fn a_response_is_judged_as_the_filters_let_it_pass() {
    let script = Script {
        response_head: Arc::new(|_, head| {
            if head.status == StatusCode::SERVICE_UNAVAILABLE {
                head.status = StatusCode::ACCEPTED;
            }
            Step::Continue
        }),
        ..Script::default()
    };
    let mesh = Mesh {
        scripts: vec![("up", script)],
        upstream_filters: vec![link("up", "")],
        routes: vec![RETRY.into()],
        ..Mesh::default()
    };
    let running = mesh.start(Protocol::Http1).await;
    let answer = running.post(Protocol::Http1, "/fail", &["x"], None).await;
    assert_eq!(answer.brief(), (202, "x"));
    assert_eq!(running.reached(), 1);
    running.stop().await;
}

/// A reply of a cluster's filter is no failed attempt: it goes to the client, past the connection manager's filters.
#[tokio::test(flavor = "multi_thread")]
async fn a_reply_is_not_tried_again() {
    let answering = Script {
        request_head: Arc::new(|_, _| {
            Step::wait(async {
                tokio::task::yield_now().await;
                |_: &mut HeadContext<'_>, _: &mut RequestHead| {
                    let status = StatusCode::SERVICE_UNAVAILABLE;
                    let flags = ResponseFlags::default();
                    let reply = LocalReply::new(status, "not today", "closed", flags);
                    Step::Reply(Box::new(reply))
                }
            })
        }),
        ..Script::default()
    };
    let observing = Script {
        response_head: Arc::new(|context, head| {
            let origin = Some(ReplyOrigin::Filter(Side::Upstream, 0));
            assert_eq!(context.origin(), origin);
            head.headers
                .insert("x-seen", HeaderValue::from_static("yes"));
            Step::Continue
        }),
        ..Script::default()
    };
    for client in PROTOCOLS {
        let mesh = Mesh {
            scripts: vec![("up", answering.clone()), ("down", observing.clone())],
            filters: vec![link("down", "")],
            upstream_filters: vec![link("up", "")],
            routes: vec![RETRY.into()],
            ..Mesh::default()
        };
        let running = mesh.start(Protocol::Http2).await;
        let answer = running.post(client, "/", &["x"], None).await;
        assert_eq!(answer.brief(), (503, "not today"));
        assert_eq!(answer.header("x-seen"), "yes");
        assert_eq!(running.reached(), 0);
        running.stop().await;
    }
}
