//! Heads: waiting, editing, state, and the end of a stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use http::HeaderValue;
use http::uri::PathAndQuery;
use proxy::http::filter::{HeadContext, ResponseHead, Step};
use proxy::http::stream::RequestHead;

use super::mesh::{Mesh, PROTOCOLS, Protocol, route};
use super::script::{Script, link};

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_waits_then_edits_head_and_route() {
    let waiting = Script {
        request_head: Arc::new(|_, _| {
            Step::wait(async {
                tokio::task::yield_now().await;
                // It may wait again.
                |_: &mut HeadContext<'_>, head: &mut RequestHead| {
                    head.headers
                        .insert("x-echo-first", HeaderValue::from_static("1"));
                    Step::wait(async {
                        tokio::task::yield_now().await;
                        |context: &mut HeadContext<'_>, head: &mut RequestHead| {
                            head.headers
                                .insert("x-echo-second", HeaderValue::from_static("2"));
                            head.path = PathAndQuery::from_static("/moved");
                            context.clear_route_cache();
                            Step::Continue
                        }
                    })
                }
            })
        }),
        response_head: Arc::new(|_, _| {
            Step::wait(async {
                tokio::task::yield_now().await;
                |_: &mut HeadContext<'_>, head: &mut ResponseHead| {
                    head.headers
                        .insert("x-late", HeaderValue::from_static("yes"));
                    Step::Continue
                }
            })
        }),
        ..Script::default()
    };
    for protocol in PROTOCOLS {
        let mesh = Mesh {
            scripts: vec![("a", waiting.clone())],
            filters: vec![link("a", "")],
            routes: vec![route("/moved", "two", ""), route("/", "one", "")],
            ..Mesh::default()
        };
        let running = mesh.start(protocol).await;
        for client in PROTOCOLS {
            let answer = running.post(client, "/start", &["body"], None).await;
            assert_eq!(answer.brief(), (200, "body"));
            let found = [
                "x-upstream",
                "x-path",
                "x-echo-first",
                "x-echo-second",
                "x-late",
            ]
            .map(|name| answer.header(name));
            assert_eq!(found, ["two", "/moved", "1", "2", "yes"]);
        }
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_run_in_their_order_up_and_in_the_opposite_order_down() {
    let note = |name: &'static str| Script {
        request_head: Arc::new(move |_, head| {
            head.headers
                .append("x-echo", HeaderValue::from_static(name));
            Step::Continue
        }),
        response_head: Arc::new(move |_, head| {
            head.headers
                .append("x-down", HeaderValue::from_static(name));
            Step::Continue
        }),
        ..Script::default()
    };
    let mesh = Mesh {
        scripts: vec![("a", note("a")), ("b", note("b"))],
        filters: vec![link("a", ""), link("b", "")],
        ..Mesh::default()
    };
    let running = mesh.start(Protocol::Http1).await;
    let answer = running.get(Protocol::Http1, "/").await;
    let all = |name: &str| {
        let values = answer.headers.get_all(name).iter();
        values.map(|v| v.to_str().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(all("x-echo"), ["a", "b"]);
    assert_eq!(all("x-down"), ["b", "a"]);
    running.stop().await;
}

/// What a filter keeps about a stream. Counts those that live.
struct Kept(u32, Arc<AtomicU32>);

impl Drop for Kept {
    fn drop(&mut self) {
        self.1.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_keeps_its_own_state_to_the_end_of_the_stream() {
    let live = Arc::new(AtomicU32::new(0));
    let sum = Arc::new(AtomicU32::new(0));
    let script = |number: u32| {
        let (live, sum) = (live.clone(), sum.clone());
        Script {
            request_head: Arc::new(move |context, _| {
                assert!(context.state::<Kept>().is_none());
                live.fetch_add(1, Ordering::SeqCst);
                context.set_state(Kept(number, live.clone()));
                Step::Continue
            }),
            response_head: Arc::new(|context, _| {
                context.state::<Kept>().unwrap().0 *= 10;
                assert!(context.state::<u32>().is_none());
                Step::Continue
            }),
            complete: Arc::new(move |context| {
                let kept = context.state::<Kept>().unwrap().0;
                sum.fetch_add(kept, Ordering::SeqCst);
            }),
            ..Script::default()
        }
    };
    let mesh = Mesh {
        scripts: vec![("a", script(1)), ("b", script(20))],
        filters: vec![link("a", ""), link("b", "")],
        ..Mesh::default()
    };
    let running = mesh.start(Protocol::Http2).await;
    for client in PROTOCOLS {
        assert_eq!(running.get(client, "/").await.status, 200);
    }
    running.stop().await;
    assert_eq!(sum.load(Ordering::SeqCst), 2 * (10 + 200));
    assert_eq!(live.load(Ordering::SeqCst), 0);
}
