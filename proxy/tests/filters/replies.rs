//! Replies of filters, at each stage, and what other filters see of them.

use std::sync::Arc;

use http::{HeaderValue, StatusCode};
use proxy::http::filter::{
    BodyContext, BodyEnd, BodyStep, Buffering, HeadContext, Overflow, ReplyOrigin, ResponseHead,
    Side, Step, Watch,
};
use proxy::http::local_reply::LocalReply;
use proxy::http::stream::RequestHead;
use proxy::telemetry::stream_info::ResponseFlags;

use super::mesh::{Mesh, PROTOCOLS, Protocol, route};
use super::script::{Script, link};

fn reply() -> Box<LocalReply> {
    let status = StatusCode::IM_A_TEAPOT;
    let flags = ResponseFlags::default();
    Box::new(LocalReply::new(status, "short and stout", "teapot", flags))
}

const BUFFER: Buffering = Buffering {
    limit: 100,
    overflow: Overflow::Refuse,
};

/// Tells who made the response.
fn observer() -> Script {
    let tell = |context: &mut HeadContext<'_>, head: &mut ResponseHead| {
        let origin = match context.origin() {
            None => "upstream".to_owned(),
            Some(ReplyOrigin::Filter(Side::Downstream, position)) => format!("filter {position}"),
            Some(ReplyOrigin::Filter(Side::Upstream, position)) => format!("upstream {position}"),
            Some(other) => format!("{other:?}"),
        };
        assert!(!context.is_own_reply());
        head.headers
            .insert("x-origin", HeaderValue::from_str(&origin).unwrap());
        Step::Continue
    };
    Script {
        response_head: Arc::new(tell),
        ..Script::default()
    }
}

/// The filter stands between two observers.
async fn check(script: Script, expected: (u16, &str), origin: &str, reached: bool) {
    for upstream in PROTOCOLS {
        let mesh = Mesh {
            scripts: vec![("a", script.clone()), ("observer", observer())],
            filters: vec![link("observer", ""), link("a", ""), link("observer", "")],
            ..Mesh::default()
        };
        let running = mesh.start(upstream).await;
        for client in PROTOCOLS {
            let answer = running.post(client, "/", &["hello"], None).await;
            assert_eq!(answer.brief(), expected);
            assert_eq!(answer.header("x-origin"), origin);
        }
        assert_eq!(running.reached() > 0, reached);
        running.stop().await;
    }
}

const TEAPOT: (u16, &str) = (418, "short and stout");

#[tokio::test(flavor = "multi_thread")]
async fn at_the_request_head() {
    let script = Script {
        request_head: Arc::new(|_, _| Step::Reply(reply())),
        response_head: Arc::new(|context, _| {
            assert!(context.is_own_reply());
            Step::Continue
        }),
        ..Script::default()
    };
    check(script, TEAPOT, "filter 1", false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_waiting() {
    let script = Script {
        request_head: Arc::new(|_, _| {
            Step::wait(async {
                tokio::task::yield_now().await;
                |_: &mut HeadContext<'_>, _: &mut RequestHead| Step::Reply(reply())
            })
        }),
        ..Script::default()
    };
    check(script, TEAPOT, "filter 1", false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_buffered_request() {
    let script = Script {
        request_head: Arc::new(|_, _| Step::Buffer(BUFFER)),
        request_buffered: Arc::new(|_, _| Step::Reply(reply())),
        ..Script::default()
    };
    check(script, TEAPOT, "filter 1", false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_a_chunk_of_the_request() {
    let script = Script {
        request_head: Arc::new(|context, _| {
            context.watch_body(Watch::Inspect);
            Step::Continue
        }),
        request_data: Arc::new(|_, _| BodyStep::Reply(reply())),
        ..Script::default()
    };
    // The head has reached the upstream, which answers when the body ends.
    for upstream in PROTOCOLS {
        let mesh = Mesh {
            scripts: vec![("a", script.clone()), ("observer", observer())],
            filters: vec![link("observer", ""), link("a", "")],
            ..Mesh::default()
        };
        let running = mesh.start(upstream).await;
        for client in PROTOCOLS {
            let answer = running.post(client, "/", &["hello"], None).await;
            assert_eq!(answer.brief(), TEAPOT);
            assert_eq!(answer.header("x-origin"), "filter 1");
        }
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_end_of_the_request() {
    let script = Script {
        request_head: Arc::new(|context, _| {
            context.watch_body(Watch::Edit);
            Step::Continue
        }),
        request_end: Arc::new(|_, _| {
            BodyStep::wait(async {
                tokio::task::yield_now().await;
                |_: &mut BodyContext<'_>, _: &mut BodyEnd| BodyStep::Reply(reply())
            })
        }),
        ..Script::default()
    };
    for upstream in PROTOCOLS {
        let mesh = Mesh {
            scripts: vec![("a", script.clone())],
            filters: vec![link("a", "")],
            ..Mesh::default()
        };
        let running = mesh.start(upstream).await;
        for client in PROTOCOLS {
            let answer = running.post(client, "/", &["hello"], None).await;
            assert_eq!(answer.brief(), TEAPOT);
        }
        running.stop().await;
    }
}

/// Filters that saw the head of the response see no second one.
#[tokio::test(flavor = "multi_thread")]
async fn at_the_response_head() {
    let script = Script {
        response_head: Arc::new(|_, _| Step::Reply(reply())),
        ..Script::default()
    };
    check(script, TEAPOT, "", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_buffered_response() {
    let script = Script {
        response_head: Arc::new(|_, _| Step::Buffer(BUFFER)),
        response_buffered: Arc::new(|_, _| Step::Reply(reply())),
        ..Script::default()
    };
    check(script, TEAPOT, "", true).await;
}

/// The head is on its way: all that is left is to cut the response.
#[tokio::test(flavor = "multi_thread")]
async fn at_a_chunk_of_the_response() {
    let script = Script {
        response_head: Arc::new(|context, _| {
            context.watch_body(Watch::Edit);
            Step::Continue
        }),
        response_data: Arc::new(|_, _| BodyStep::Reply(reply())),
        ..Script::default()
    };
    for upstream in PROTOCOLS {
        let mesh = Mesh {
            scripts: vec![("a", script.clone())],
            filters: vec![link("a", "")],
            ..Mesh::default()
        };
        let running = mesh.start(upstream).await;
        for client in PROTOCOLS {
            let answer = running.post(client, "/", &["hello"], None).await;
            assert_eq!((&*answer.body, answer.cut), ("", true));
        }
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replies_of_others_say_who_they_are() {
    let direct = "{ match: { prefix: /direct }, direct_response: { status: 202 } }";
    let mesh = Mesh {
        scripts: vec![("observer", observer())],
        filters: vec![link("observer", "")],
        routes: vec![
            direct.into(),
            route("/nowhere", "nowhere", ""),
            route("/one", "one", ""),
        ],
        manager: "path_with_escaped_slashes_action: REJECT_REQUEST,".into(),
        ..Mesh::default()
    };
    let running = mesh.start(Protocol::Http1).await;
    for (path, status, origin) in [
        ("/one", 200, "upstream"),
        ("/direct", 202, "Route"),
        ("/nowhere", 503, "Router"),
        ("/none", 404, "Router"),
        ("/one%2F", 400, "Connection"),
    ] {
        let answer = running.get(Protocol::Http1, path).await;
        assert_eq!((answer.status, answer.header("x-origin")), (status, origin));
    }
    running.stop().await;
}
