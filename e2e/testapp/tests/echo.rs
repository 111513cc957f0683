//! The client against the servers, over real sockets.

use std::sync::{Arc, atomic::AtomicBool};

use clap::Parser;
use testapp::{
    args::{Args, Command},
    client::{self, Report},
    echo::{self, Addresses, EchoArgs},
};
use tokio::task::JoinSet;

async fn start() -> (JoinSet<()>, Addresses) {
    let args = EchoArgs {
        http: vec![0],
        https: vec![0],
        tcp: vec![0],
        server_first: vec![0],
        early_hints: vec![0],
        version: "v7".to_owned(),
        pod: "echo-0".to_owned(),
        ..EchoArgs::default()
    };
    echo::start(&args).await.unwrap()
}

async fn run(line: &str) -> Report {
    let words = ["testapp", "client"]
        .into_iter()
        .chain(line.split_whitespace());
    let Command::Client(args) = Args::parse_from(words).command else {
        panic!("not a client");
    };
    client::run(*args, Arc::new(AtomicBool::new(false)))
        .await
        .unwrap()
}

#[tokio::test]
async fn a_request_is_described_and_counted() {
    let (_servers, at) = start().await;
    let report = run(&format!(
        "--url http://localhost:{}/a?key=k -n 5 -c 2 -X POST -d abc --group-by header:x-version",
        at.http[0].port()
    ))
    .await;
    assert_eq!(report.statuses, [("200".to_owned(), 5)].into());
    assert_eq!(report.groups, [("v7".to_owned(), 5)].into());
    let body: serde_json::Value = serde_json::from_str(&report.answers[0].body).unwrap();
    assert_eq!(
        (&body["method"], &body["body_bytes"]),
        (&"POST".into(), &3.into())
    );
    let counts = run(&format!(
        "--url http://localhost:{}/counts",
        at.http[0].port()
    ))
    .await;
    assert!(counts.answers[0].body.contains(r#""by_key":{"k":5}"#));
}

#[tokio::test]
async fn requests_fail_wait_and_are_cut_as_they_ask() {
    let (_servers, at) = start().await;
    let url = format!("http://localhost:{}", at.http[0].port());
    let report = run(&format!("--url {url}/f?fail=2&fail-status=500 -n 3")).await;
    assert_eq!(
        report.statuses,
        [("200".to_owned(), 1), ("500".to_owned(), 2)].into()
    );
    let report = run(&format!("--url {url}/c?close=1 -n 2")).await;
    assert_eq!((report.answered, report.errors.len()), (1, 1));
    let report = run(&format!("--url {url}/d?delay=5000 --timeout 0.05")).await;
    assert_eq!(report.errors, [("timeout".to_owned(), 1)].into());
}

#[tokio::test]
async fn every_http_version_carries_bodies_both_ways() {
    let (_servers, at) = start().await;
    let url = format!("http://localhost:{}", at.http[0].port());
    for (flags, protocol) in [
        ("--http1-0", "HTTP/1.0"),
        ("", "HTTP/1.1"),
        ("--http2", "HTTP/2.0"),
    ] {
        let report = run(&format!(
            "--url {url}/b?bytes=1000000 --upload 300000 -X POST {flags}"
        ))
        .await;
        assert_eq!(report.errors, [].into(), "{protocol}");
        let answer = &report.answers[0];
        assert_eq!(
            (answer.protocol.as_str(), answer.body_bytes),
            (protocol, 1_000_000)
        );
    }
}

#[tokio::test]
async fn trailers_pass_in_both_directions() {
    let (_servers, at) = start().await;
    let url = format!("http://localhost:{}", at.http[0].port());
    let report = run(&format!(
        "--url {url}/t?trailer=x-sum:1 -H te:trailers -d x -X POST --trailer x-up:2"
    ))
    .await;
    let answer = &report.answers[0];
    assert_eq!(
        answer.trailers,
        [("x-sum".to_owned(), "1".to_owned())].into()
    );
    assert!(
        answer.body.contains(r#""trailers":{"x-up":"2"}"#),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn informational_answers_are_seen() {
    let (_servers, at) = start().await;
    let report = run(&format!(
        "--url http://localhost:{}/ -n 2",
        at.early_hints[0].port()
    ))
    .await;
    assert_eq!(report.answers[0].informational, [103]);
    assert_eq!(report.statuses, [("200".to_owned(), 2)].into());
}

#[tokio::test]
async fn tls_websocket_and_tcp_echo() {
    let (_servers, at) = start().await;
    let report = run(&format!(
        "--url https://localhost:{}/ --http2",
        at.https[0].port()
    ))
    .await;
    assert_eq!(
        report.statuses,
        [("200".to_owned(), 1)].into(),
        "{:?}",
        report.errors
    );
    let report = run(&format!(
        "--url http://localhost:{}/ws --ws --messages 3",
        at.http[0].port()
    ))
    .await;
    assert_eq!(report.answers[0].messages, 3, "{:?}", report.errors);
    let report = run(&format!(
        "--tcp localhost:{} --server-first --group-by line",
        at.server_first[0].port()
    ))
    .await;
    assert_eq!(report.groups, [("v7".to_owned(), 1)].into());
    let report = run(&format!(
        "--tcp localhost:{} --upload 5000000",
        at.tcp[0].port()
    ))
    .await;
    assert_eq!(report.body_bytes, 5_000_000);
}

#[tokio::test]
async fn grpc_calls_of_all_four_kinds() {
    let (_servers, at) = start().await;
    let url = format!("http://localhost:{}", at.http[0].port());
    for (method, messages) in [
        ("unary", 1),
        ("server-stream", 9),
        ("client-stream", 1),
        ("bidi", 9),
    ] {
        let report = run(&format!(
            "--url {url} --grpc {method} --messages 9 --group-by header:x-version"
        ))
        .await;
        let answer = &report.answers[0];
        assert_eq!(
            (answer.status.as_str(), answer.messages),
            ("0", messages),
            "{method}: {answer:?}"
        );
        assert_eq!(report.groups, [("v7".to_owned(), 1)].into());
    }
    for method in ["unary", "server-stream", "client-stream", "bidi"] {
        let report = run(&format!("--url {url} --grpc {method} --grpc-status 9")).await;
        let answer = &report.answers[0];
        assert_eq!(
            (answer.status.as_str(), answer.trailers["x-detail"].as_str()),
            ("9", "asked"),
            "{method}"
        );
    }
}

#[tokio::test]
async fn a_rate_is_kept() {
    let (_servers, at) = start().await;
    let url = format!("http://localhost:{}", at.http[0].port());
    let report = run(&format!("--url {url} --rate 200 --duration 0.5 -c 4")).await;
    assert_eq!(report.answered, 100);
    assert!(report.elapsed_ms >= 490, "{}", report.elapsed_ms);
}
