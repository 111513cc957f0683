use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use http::{HeaderMap, HeaderValue};
use rstest::rstest;

use super::*;
use crate::access_log::{AccessLogs, Captures};
use crate::config::listener::Direction;
use crate::config::metadata::{Struct, Value};
use crate::config::request::{RequestHead, Scheme};
use crate::stream_info::{ConnectionInfo, DynamicMetadata, ResponseFlags, StreamInfo};

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn connection() -> Rc<ConnectionInfo> {
    Rc::new(ConnectionInfo {
        buffer_limit_bytes: 1 << 20,
        id: 7,
        direction: Direction::Outbound,
        remote: address("10.0.0.9:4000"),
        direct_remote: address("10.0.0.8:4001"),
        local: address("10.96.0.1:9080"),
        original_destination: None,
        server_name: Some("sni.example".into()),
        tls: None,
        start: Instant::now(),
        filter_chain: "chain".into(),
    })
}

fn info() -> StreamInfo {
    StreamInfo {
        connection: connection(),
        remote: address("10.0.0.9:4000"),
        // Later than now: the duration is zero, however slow the machine.
        start: Instant::now() + Duration::from_secs(3600),
        start_time: SystemTime::UNIX_EPOCH + Duration::from_millis(1_481_819_083_814),
        protocol: Some(http::Version::HTTP_2),
        method: Some(http::Method::GET),
        original_path: Some(HeaderValue::from_static("/reviews/0?a=b")),
        authority: Some(HeaderValue::from_static("reviews:9080")),
        response_code: 503,
        response_code_details: "upstream_reset".into(),
        flags: ResponseFlags::UPSTREAM_CONNECTION_FAILURE,
        connection_termination_details: None,
        bytes_received: Rc::new(Cell::new(11)),
        bytes_sent: Rc::new(Cell::new(22)),
        route_name: Some("default".into()),
        cluster: None,
        cluster_name: Some("outbound|9080||reviews".into()),
        upstream_host: Some(address("10.1.0.2:9080")),
        upstream_local: None,
        upstream_transport_failure: Some("delayed connect error: 111".into()),
        upstream_connection: None,
        upstream_endpoint: None,
        upstream_cluster: None,
        upstream_service_time: None,
        attempts: 2,
        grpc_status: Some(14),
        grpc: true,
        grpc_messages: (0, 0),
        dynamic_metadata: DynamicMetadata::default(),
        peer: None,
        logged_request_headers: Default::default(),
        logged_response_headers: Default::default(),
    }
}

fn head() -> RequestHead {
    let mut headers = HeaderMap::new();
    headers.insert("host", HeaderValue::from_static("reviews:9080"));
    headers.insert("user-agent", HeaderValue::from_static("curl/8 \"x\""));
    headers.insert("x-request-id", HeaderValue::from_static("id-1"));
    RequestHead {
        method: http::Method::GET,
        scheme: Scheme::Http,
        path: "/rewritten".parse().unwrap(),
        headers,
        version: http::Version::HTTP_2,
        extensions: Default::default(),
        upgrade: None,
    }
}

/// The line of a format for the request above.
fn line(format: LogFormat, captures: Captures) -> String {
    let mut info = info();
    let logs = AccessLogs::compiled(
        vec![never_written(LogFormat::Text {
            pieces: vec![],
            omit_empty: false,
        })],
        captures,
    );
    logs.capture_request(&head(), &mut info);
    let mut response = HeaderMap::new();
    response.insert(
        "x-envoy-upstream-service-time",
        HeaderValue::from_static("5"),
    );
    logs.capture_response(&response, &mut info);
    let mut out = Vec::new();
    format.write(&info, &mut out);
    String::from_utf8(out).unwrap()
}

/// Captures only happen where there is a log.
fn never_written(format: LogFormat) -> crate::access_log::AccessLog {
    let sinks = crate::log_sink::LogSinks::new();
    let sink = sinks
        .open(crate::config::access_log::SinkPath::Stdout)
        .unwrap();
    crate::access_log::AccessLog {
        filter: None,
        format,
        sink,
    }
}

fn text(format: &str) -> String {
    let mut captures = Captures::default();
    let pieces = parse(format, &mut captures).unwrap();
    line(
        LogFormat::Text {
            pieces,
            omit_empty: false,
        },
        captures,
    )
}

#[test]
fn envoys_default_line() {
    assert_eq!(
        text(crate::config::access_log::DEFAULT_FORMAT),
        "[2016-12-15T16:24:43.814Z] \"GET /reviews/0?a=b HTTP/2\" 503 UF 11 22 0 5 \"-\" \
         \"curl/8 \"x\"\" \"id-1\" \"reviews:9080\" \"10.1.0.2:9080\"\n"
    );
}

#[rstest]
#[case(
    "%RESPONSE_CODE_DETAILS%|%CONNECTION_TERMINATION_DETAILS%",
    "upstream_reset|-"
)]
#[case("%UPSTREAM_TRANSPORT_FAILURE_REASON%", "delayed connect error: 111")]
#[case("%REQ(:PATH)%", "/rewritten")]
#[case("%REQ_WITHOUT_QUERY(X-ENVOY-ORIGINAL-PATH?:PATH)%", "/reviews/0")]
#[case("%REQ(X-NONE?USER-AGENT):4%", "curl")]
#[case("%REQ(X-NONE):4%", "-")]
#[case(
    "%DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_REMOTE_PORT%",
    "10.0.0.9:4000 4000"
)]
#[case("%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", "10.0.0.9")]
#[case("%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%", "10.0.0.8:4001")]
#[case(
    "%DOWNSTREAM_LOCAL_ADDRESS% %UPSTREAM_LOCAL_ADDRESS%",
    "10.96.0.1:9080 -"
)]
#[case("%UPSTREAM_CLUSTER% %ROUTE_NAME%", "outbound|9080||reviews default")]
#[case(
    "%REQUESTED_SERVER_NAME% %FILTER_CHAIN_NAME% %CONNECTION_ID%",
    "sni.example chain 7"
)]
#[case(
    "%GRPC_STATUS% %GRPC_STATUS(SNAKE_STRING)% %GRPC_STATUS_NUMBER%",
    "Unavailable UNAVAILABLE 14"
)]
#[case("%UPSTREAM_REQUEST_ATTEMPT_COUNT%", "2")]
#[case(
    "100%% %START_TIME(%Y/%m/%dT%H:%M:%S%z %s)%",
    "100% 2016/12/15T16:24:43+0000 1481819083"
)]
#[case("%DOWNSTREAM_TLS_VERSION%", "-")]
fn operators(#[case] format: &str, #[case] expected: &str) {
    assert_eq!(text(format), expected);
}

#[rstest]
#[case("%REQ(X", "operator without end: \"%REQ(X\"")]
#[case(
    "%FILTER_STATE(a)%",
    "operator is not supported: \"%FILTER_STATE(a)%\""
)]
#[case("%NO_SUCH%", "operator is not supported: \"%NO_SUCH%\"")]
#[case("%START_TIME(%!)%", "bad argument in \"%START_TIME(%!)%\"")]
#[case("%REQ(a b)%", "bad argument in \"%REQ(a b)%\"")]
fn what_cannot_be_shown_is_an_error(#[case] format: &str, #[case] expected: &str) {
    let error = parse(format, &mut Captures::default()).unwrap_err();
    assert_eq!(error.to_string(), expected);
}

fn json(members: &[(&str, Value)], omit_empty: bool) -> String {
    let format: Struct = members
        .iter()
        .map(|(k, v)| ((*k).into(), v.clone()))
        .collect();
    let mut captures = Captures::default();
    let template = JsonTemplate::compile(&format, omit_empty, &mut captures).unwrap();
    line(LogFormat::Json(template), captures)
}

fn string(format: &str) -> Value {
    Value::String(format.into())
}

#[test]
fn json_keeps_types_and_sorts_keys() {
    let nested = [("code".into(), string("%RESPONSE_CODE%"))]
        .into_iter()
        .collect();
    assert_eq!(
        json(
            &[
                ("user_agent", string("%REQ(USER-AGENT)%")),
                ("bytes", string("%BYTES_SENT%")),
                ("missing", string("%REQ(X-NONE)%")),
                ("mixed", string("%PROTOCOL%/%REQ(X-NONE)%")),
                ("constant", Value::Number(3.0.into())),
                ("nested", Value::Struct(nested)),
                ("list", Value::List(vec![string("%RESPONSE_FLAGS%")])),
            ],
            false
        ),
        "{\"bytes\":22,\"constant\":3,\"list\":[\"UF\"],\"missing\":null,\"mixed\":\"HTTP/2/-\",\
         \"nested\":{\"code\":503},\"user_agent\":\"curl/8 \\\"x\\\"\"}\n"
    );
}

#[test]
fn json_may_leave_out_what_is_missing() {
    assert_eq!(
        json(
            &[("a", string("%REQ(X-NONE)%")), ("b", string("%PROTOCOL%"))],
            true
        ),
        "{\"b\":\"HTTP/2\"}\n"
    );
}
