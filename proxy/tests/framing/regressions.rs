//! Sequences that once broke a rule, by name.

use super::random::start;
use super::script::{Answer, Body, End, Exchange, Protocol, Script, Upgrade, Upstream, Visit};

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
