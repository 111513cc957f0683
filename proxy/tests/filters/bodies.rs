//! Bodies: buffered up to a limit, edited as they pass, and framed as they are then.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use proxy::http::filter::{
    BodyContext, BodyEnd, BodyStep, Buffering, HeadContext, Overflow, Step, Watch,
};
use proxy::http::stream::RequestHead;

use super::mesh::{Answer, Mesh, PROTOCOLS, Protocol};
use super::script::{Script, link};

fn trailers(value: &'static str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-t", HeaderValue::from_static(value));
    trailers
}

fn buffering(limit: usize, overflow: Overflow) -> Script {
    Script {
        request_head: Arc::new(move |_, _| Step::Buffer(Buffering { limit, overflow })),
        request_buffered: Arc::new(|context, head| {
            let body = context.body().unwrap();
            let text = format!("[{}]", std::str::from_utf8(&body.data).unwrap());
            let complete = body.complete;
            body.data = text.into();
            let told = if complete { "whole" } else { "part" };
            head.headers
                .insert("x-echo-buffered", HeaderValue::from_static(told));
            Step::Continue
        }),
        ..Script::default()
    }
}

async fn buffered(script: Script, chunks: &[&'static str], check: impl Fn(Answer, Protocol)) {
    for upstream in PROTOCOLS {
        let mesh = Mesh {
            scripts: vec![("a", script.clone())],
            filters: vec![link("a", "")],
            ..Mesh::default()
        };
        let running = mesh.start(upstream).await;
        for client in PROTOCOLS {
            check(running.post(client, "/", chunks, None).await, upstream);
        }
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_buffered_body_is_edited_and_has_its_new_length() {
    let script = buffering(100, Overflow::Refuse);
    buffered(script, &["hello ", "world"], |answer, _| {
        assert_eq!(answer.brief(), (200, "[hello world]"));
        assert_eq!(answer.header("x-echo-buffered"), "whole");
        assert_eq!(answer.header("x-length"), "13");
        assert_eq!(answer.header("x-coding"), "-");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_buffered_body_keeps_its_trailers() {
    let mut script = buffering(100, Overflow::Refuse);
    let edit = script.request_buffered.clone();
    script.request_buffered = Arc::new(move |context, head| {
        let trailers = context.body().unwrap().trailers.as_mut().unwrap();
        trailers.append("x-t", HeaderValue::from_static("more"));
        edit(context, head)
    });
    for upstream in PROTOCOLS {
        let mesh = Mesh {
            scripts: vec![("a", script.clone())],
            filters: vec![link("a", "")],
            ..Mesh::default()
        };
        let running = mesh.start(upstream).await;
        for client in PROTOCOLS {
            let sent = Some(trailers("client"));
            let answer = running.post(client, "/", &["hello"], sent).await;
            assert_eq!(answer.brief(), (200, "[hello]"));
            let told = answer.trailers.unwrap();
            let told: Vec<_> = told.get_all("x-t").iter().collect();
            assert_eq!(told, ["client", "more"]);
        }
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_beyond_the_limit_is_refused() {
    let script = buffering(10, Overflow::Refuse);
    buffered(script, &["hello ", "world"], |answer, _| {
        assert_eq!(answer.brief(), (413, "Payload Too Large"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_beyond_the_limit_streams_on() {
    let script = buffering(8, Overflow::StreamOn);
    buffered(
        script,
        &["hello ", "world", " and more"],
        |answer, upstream| {
            // The filter got what exceeds the limit first.
            assert_eq!(answer.brief(), (200, "[hello world] and more"));
            assert_eq!(answer.header("x-echo-buffered"), "part");
            let coding = match upstream {
                Protocol::Http1 => "chunked",
                Protocol::Http2 => "-",
            };
            assert_eq!(answer.header("x-coding"), coding);
            assert_eq!(answer.header("x-length"), "-");
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_a_body_can_get_one() {
    for upstream in PROTOCOLS {
        let mesh = Mesh {
            scripts: vec![("a", buffering(10, Overflow::Refuse))],
            filters: vec![link("a", "")],
            ..Mesh::default()
        };
        let running = mesh.start(upstream).await;
        for client in PROTOCOLS {
            let answer = running.get(client, "/").await;
            assert_eq!(answer.brief(), (200, "[]"));
            assert_eq!(answer.header("x-length"), "2");
        }
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_waits_with_the_body_at_hand() {
    let script = Script {
        request_head: Arc::new(|_, _| {
            Step::Buffer(Buffering {
                limit: 100,
                overflow: Overflow::Refuse,
            })
        }),
        request_buffered: Arc::new(|_, _| {
            Step::wait(async {
                tokio::task::yield_now().await;
                |context: &mut HeadContext<'_>, _: &mut RequestHead| {
                    context.body().unwrap().data = Bytes::from_static(b"other");
                    Step::Continue
                }
            })
        }),
        ..Script::default()
    };
    buffered(script, &["hello"], |answer, _| {
        assert_eq!(answer.brief(), (200, "other"));
        assert_eq!(answer.header("x-length"), "5");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_is_buffered_and_edited() {
    let script = |limit, overflow| Script {
        response_head: Arc::new(move |_, _| Step::Buffer(Buffering { limit, overflow })),
        response_buffered: Arc::new(|context, head| {
            let body = context.body().unwrap();
            let text = format!("<{}>", std::str::from_utf8(&body.data).unwrap());
            body.data = text.into();
            head.headers
                .insert("x-buffered", HeaderValue::from_static("yes"));
            Step::Continue
        }),
        ..Script::default()
    };
    buffered(script(100, Overflow::Refuse), &["hello"], |answer, _| {
        assert_eq!(answer.brief(), (200, "<hello>"));
        assert_eq!(answer.header("x-buffered"), "yes");
        assert_eq!(answer.header("content-length"), "7");
    })
    .await;
    buffered(script(3, Overflow::Refuse), &["hello"], |answer, _| {
        assert_eq!(answer.brief(), (500, "Internal Server Error"));
        assert_eq!(answer.header("x-buffered"), "");
    })
    .await;
    buffered(script(3, Overflow::StreamOn), &["hello"], |answer, _| {
        assert_eq!(answer.brief(), (200, "<hello>"));
        // What follows is of known length.
        assert_eq!(answer.header("content-length"), "7");
    })
    .await;
}

/// Edits every chunk and the end of both bodies; every other chunk waits.
fn editing() -> Script {
    Script {
        request_head: Arc::new(|context, _| {
            context.watch_body(Watch::Edit);
            Step::Continue
        }),
        request_data: Arc::new(|_, data| {
            *data = data.to_ascii_uppercase().into();
            BodyStep::Continue
        }),
        request_end: Arc::new(|_, end| {
            end.data = Bytes::from_static(b"!");
            let trailers = end.trailers.get_or_insert_default();
            trailers.append("x-t", HeaderValue::from_static("up"));
            BodyStep::Continue
        }),
        response_head: Arc::new(|context, _| {
            context.watch_body(Watch::Edit);
            Step::Continue
        }),
        response_data: Arc::new(|_, _| {
            BodyStep::wait(async {
                tokio::task::yield_now().await;
                |_: &mut BodyContext<'_>, data: &mut Bytes| {
                    *data = [b"(", &data[..], b")"].concat().into();
                    BodyStep::Continue
                }
            })
        }),
        response_end: Arc::new(|_, _| {
            BodyStep::wait(async {
                tokio::task::yield_now().await;
                |_: &mut BodyContext<'_>, end: &mut BodyEnd| {
                    end.data = Bytes::from_static(b"?");
                    let trailers = end.trailers.get_or_insert_default();
                    trailers.append("x-t", HeaderValue::from_static("down"));
                    BodyStep::Continue
                }
            })
        }),
        ..Script::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_and_trailers_are_edited_both_ways() {
    for upstream in PROTOCOLS {
        let mesh = Mesh {
            scripts: vec![("a", editing())],
            filters: vec![link("a", "")],
            ..Mesh::default()
        };
        let running = mesh.start(upstream).await;
        for client in PROTOCOLS {
            let sent = Some(trailers("client"));
            let answer = running.post(client, "/", &["one", "two"], sent).await;
            assert_eq!(answer.status, 200);
            assert_eq!(answer.body.replace(")(", ""), "(ONETWO!)?");
            let told = answer.trailers.unwrap();
            let told: Vec<_> = told.get_all("x-t").iter().collect();
            assert_eq!(told, ["client", "up", "down"]);
        }
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_body_loses_its_announced_length() {
    let mut script = editing();
    script.request_end = Arc::new(|_, _| BodyStep::Continue);
    script.response_end = Arc::new(|_, _| BodyStep::Continue);
    script.response_data = Arc::new(|_, data| {
        *data = Bytes::from([&data[..], b"..."].concat());
        BodyStep::Continue
    });
    for upstream in PROTOCOLS {
        let mesh = Mesh {
            scripts: vec![("a", script.clone())],
            filters: vec![link("a", "")],
            ..Mesh::default()
        };
        let running = mesh.start(upstream).await;
        for client in PROTOCOLS {
            // Client and upstream announce the length of what they send.
            let body = http_body_util::BodyExt::boxed(http_body_util::Full::new("hello".into()));
            let answer = running.send(client, http::Request::post("/"), body).await;
            assert_eq!(answer.brief(), (200, "HELLO..."));
            assert_eq!(answer.header("x-length"), "-");
            assert_eq!(answer.header("content-length"), "");
        }
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inspected_body_stays_as_it_is() {
    let seen = Arc::new(AtomicU32::new(0));
    let count = seen.clone();
    let look = move |_: &mut BodyContext<'_>, data: &mut Bytes| {
        count.fetch_add(data.len() as u32, Ordering::SeqCst);
        *data = Bytes::from_static(b"nothing of this is sent");
        BodyStep::Continue
    };
    let ends = Arc::new(AtomicU32::new(0));
    let end = ends.clone();
    let script = Script {
        request_head: Arc::new(|context, _| {
            context.watch_body(Watch::Inspect);
            Step::Continue
        }),
        request_data: Arc::new(look.clone()),
        response_head: Arc::new(|context, _| {
            context.watch_body(Watch::Inspect);
            Step::Continue
        }),
        response_data: Arc::new(look),
        response_end: Arc::new(move |_, _| {
            end.fetch_add(1, Ordering::SeqCst);
            BodyStep::Continue
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
            // A body of known length over HTTP/1.
            let body = http_body_util::BodyExt::boxed(http_body_util::Full::new("hello".into()));
            let answer = running.send(client, http::Request::post("/"), body).await;
            assert_eq!(answer.brief(), (200, "hello"));
            assert_eq!(answer.header("x-length"), "5");
        }
        running.stop().await;
    }
    assert_eq!(seen.load(Ordering::SeqCst), 4 * 2 * 5);
    assert_eq!(ends.load(Ordering::SeqCst), 4);
}

/// The response to HEAD tells of a body and has none. It ends as any other.
#[tokio::test(flavor = "multi_thread")]
async fn a_response_without_a_body_is_left_alone() {
    let mut script = editing();
    let whole = Buffering {
        limit: 100,
        overflow: Overflow::Refuse,
    };
    script.request_head = Arc::new(|_, _| Step::Continue);
    script.response_end = Arc::new(|_, _| panic!("there is no body"));
    let mut buffer = buffering(100, Overflow::Refuse);
    buffer.request_head = Arc::new(|_, _| Step::Continue);
    buffer.response_head = Arc::new(move |_, _| Step::Buffer(whole));
    buffer.response_buffered = Arc::new(|context, _| {
        context.body().unwrap().data = Bytes::from_static(b"dropped");
        Step::Continue
    });
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    let mesh = Mesh {
        scripts: vec![("a", script), ("b", buffer)],
        filters: vec![link("a", ""), link("b", "")],
        manager: format!(
            "access_log: [{{ name: file, typed_config: {{ \
               \"@type\": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, \
               path: \"{}\", log_format: {{ text_format_source: {{ inline_string: \
               \"%RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_SENT% \" }} }} }} }}],",
            log.display()
        ),
        ..Mesh::default()
    };
    let running = mesh.start(Protocol::Http1).await;
    for client in PROTOCOLS {
        let body = http_body_util::BodyExt::boxed(http_body_util::Empty::new());
        let answer = running.send(client, http::Request::head("/"), body).await;
        assert_eq!((answer.brief(), answer.cut), ((200, ""), false));
    }
    running.stop().await;
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "200 - 0 200 - 0 ");
}
