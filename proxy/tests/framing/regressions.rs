//! Sequences that once broke a rule, by name.

use super::random::start;
use super::script::{
    After, Answer, AnswerKind, Body, Content, End, Exchange, Malformed, Pace, Protocol, Route,
    Script, Upgrade, Upstream, Visit,
};

fn visit(protocol: Protocol, exchanges: impl IntoIterator<Item = Exchange>) -> Visit {
    Visit {
        protocol,
        burst: false,
        exchanges: exchanges.into_iter().collect(),
    }
}

/// An upgrade that announces a body and sends none of it; the origin answers without 101.
fn upgrade_without_its_body(announced: usize) -> Exchange {
    Exchange {
        upgrade: Upgrade::WebSocket,
        body: Body::LengthCut {
            announced,
            sent: 0,
            end: End::Wait,
        },
        answers: vec![Answer::early()],
        ..Exchange::get(Upstream::Http1)
    }
}

/// A POST whose body is a request to `/admin`.
fn post_with_a_request_in_it() -> Exchange {
    Exchange {
        method: "POST",
        body: Body::Length(200),
        smuggle: true,
        ..Exchange::get(Upstream::Http1)
    }
}

async fn holds(scripts: impl IntoIterator<Item = Vec<Visit>>) {
    let (lanes, mut contender) = start(1).await;
    let mut report = String::new();
    for visits in scripts {
        let script = Script {
            visits,
            parallel: false,
        };
        for fault in lanes[0].play(contender.ports, &script).await {
            report += &format!("{script}  ! {fault}\n");
        }
    }
    contender.assert_running();
    assert!(report.is_empty(), "{report}");
}

#[tokio::test]
async fn an_upgrade_with_a_length_and_no_body_swallows_no_request() {
    // Around the length of the POST's head as the origin sees it.
    holds([1, 100, 200, 250, 300, 350, 400].map(|announced| {
        vec![
            visit(Protocol::Http1, [upgrade_without_its_body(announced)]),
            visit(Protocol::Http1, [post_with_a_request_in_it()]),
            visit(Protocol::Http1, [Exchange::get(Upstream::Http1)]),
        ]
    }))
    .await;
}

#[tokio::test]
async fn an_extended_connect_with_a_length_swallows_no_request() {
    holds([1, 300].map(|announced| {
        vec![
            visit(Protocol::Http2, [upgrade_without_its_body(announced)]),
            visit(Protocol::Http1, [post_with_a_request_in_it()]),
        ]
    }))
    .await;
}

/// A GET with this body, which the origin answers before it reads it.
fn early(body: Body) -> Exchange {
    Exchange {
        body,
        answers: vec![Answer::early()],
        ..Exchange::get(Upstream::Http1)
    }
}

/// A GET with this answer.
fn answered(upgrade: Upgrade, kind: AnswerKind) -> Exchange {
    let answer = Answer {
        kind,
        ..Answer::ok()
    };
    Exchange {
        upgrade,
        answers: vec![answer],
        ..Exchange::get(Upstream::Http1)
    }
}

fn response(content: Content, after: After) -> AnswerKind {
    AnswerKind::Response {
        status: 200,
        content,
        after,
    }
}

const PROTOCOLS: [Protocol; 3] = [Protocol::Http1, Protocol::Http1Only, Protocol::Http2];

#[tokio::test]
async fn a_chunked_request_that_breaks_off_after_its_response_does_not_become_whole() {
    let ends = [End::Close, End::HalfClose, End::Reset, End::Wait];
    let bodies = ends.map(|end| Body::ChunkedCut { size: 20, end });
    holds(
        bodies
            .into_iter()
            .flat_map(|body| PROTOCOLS.map(|protocol| vec![visit(protocol, [early(body)])])),
    )
    .await;
}

#[tokio::test]
async fn a_response_with_two_framings_is_refused() {
    let contents = [Content::LengthAndChunked(20), Content::TwoLengths(20)];
    holds(contents.into_iter().flat_map(|content| {
        let kind = response(content, After::Keep);
        PROTOCOLS.map(|protocol| {
            vec![
                visit(protocol, [answered(Upgrade::None, kind)]),
                visit(Protocol::Http1, [Exchange::get(Upstream::Http1)]),
            ]
        })
    }))
    .await;
}

#[tokio::test]
async fn what_any_connection_line_names_goes_no_further() {
    holds(PROTOCOLS.map(|protocol| {
        let exchange = Exchange {
            nominate: true,
            ..Exchange::get(Upstream::Http1)
        };
        vec![visit(protocol, [exchange])]
    }))
    .await;
}

#[tokio::test]
async fn a_switch_of_protocols_that_nobody_asked_for_is_refused() {
    let cases = [
        (Upgrade::None, "websocket"),
        (Upgrade::WebSocket, "other"),
        (Upgrade::TwoLines, "websocket"),
        (Upgrade::TwoLines, "other"),
        (Upgrade::List, "other"),
    ];
    holds(cases.into_iter().flat_map(|(upgrade, protocol)| {
        let exchange = answered(upgrade, AnswerKind::Switch(protocol));
        PROTOCOLS.map(|client| {
            vec![
                visit(client, [exchange.clone()]),
                visit(Protocol::Http1, [Exchange::get(Upstream::Http1)]),
            ]
        })
    }))
    .await;
}

#[tokio::test]
async fn the_response_to_a_refused_upgrade_keeps_its_body() {
    let contents = [
        Content::Length(20),
        Content::Chunked {
            size: 20,
            trailers: false,
        },
    ];
    holds(contents.into_iter().flat_map(|content| {
        let exchange = answered(Upgrade::WebSocket, response(content, After::Keep));
        PROTOCOLS.map(|protocol| vec![visit(protocol, [exchange.clone()])])
    }))
    .await;
}

#[tokio::test]
async fn an_upgrade_whose_client_breaks_off_ends() {
    let exchange = Exchange {
        upgrade: Upgrade::WebSocket,
        body: Body::LengthCut {
            announced: 14,
            sent: 12,
            end: End::HalfClose,
        },
        pace: Pace::AfterContinue,
        ..Exchange::get(Upstream::Http1)
    };
    holds(PROTOCOLS.map(|protocol| vec![visit(protocol, [exchange.clone()])])).await;
}

#[tokio::test]
async fn bytes_behind_a_response_reach_nobody() {
    holds(
        [After::Garbage, After::SecondResponse]
            .into_iter()
            .flat_map(|after| {
                let exchange = answered(Upgrade::None, response(Content::Length(20), after));
                PROTOCOLS.map(|protocol| {
                    vec![
                        visit(protocol, [exchange.clone()]),
                        visit(Protocol::Http1, [Exchange::get(Upstream::Http1)]),
                    ]
                })
            }),
    )
    .await;
}

#[tokio::test]
async fn a_refused_upgrade_does_not_end_the_check_of_what_follows() {
    let upgrade = |route| Exchange {
        upgrade: Upgrade::WebSocket,
        route,
        ..Exchange::get(Upstream::Http1)
    };
    let malformed = |malformed| Exchange {
        method: "POST",
        body: Body::Malformed(malformed),
        ..Exchange::get(Upstream::Http1)
    };
    let kinds = [
        Malformed::LengthAndChunked,
        Malformed::GzipChunked,
        Malformed::ChunkedTwice,
        Malformed::TwoLengths,
    ];
    let routes = [Route::Admin, Route::NoUpgrade, Route::Direct, Route::Plain];
    holds(routes.into_iter().flat_map(|route| {
        kinds.map(|kind| vec![visit(Protocol::Http1, [upgrade(route), malformed(kind)])])
    }))
    .await;
}

#[tokio::test]
async fn the_body_of_any_method_arrives() {
    let bodies = [
        Body::Length(20),
        Body::Chunked {
            size: 20,
            chunk: 7,
            trailers: false,
            extension: true,
        },
    ];
    let methods = ["GET", "HEAD", "DELETE", "OPTIONS", "POST"];
    let upstreams = [Upstream::Http1, Upstream::Http2];
    let exchanges = methods.into_iter().flat_map(|method| {
        upstreams.into_iter().flat_map(move |upstream| {
            bodies.map(|body| Exchange {
                method,
                body,
                ..Exchange::get(upstream)
            })
        })
    });
    let exchanges: Vec<_> = exchanges.collect();
    holds(PROTOCOLS.into_iter().flat_map(|protocol| {
        let exchanges = exchanges.clone().into_iter();
        exchanges.map(move |exchange| vec![visit(protocol, [exchange])])
    }))
    .await;
}
