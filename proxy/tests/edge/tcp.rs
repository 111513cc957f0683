//! TCP through listeners and clusters.

use tokio::io::AsyncReadExt;

use super::harness::{Proxy, bootstrap, cluster, echo, exchange, listener, tcp_proxy};

fn chain(filters: &str) -> String {
    format!("{{ filters: [{filters}] }}")
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_pass_exactly_in_bulk_and_the_end_reaches_both_sides() {
    let upstream = echo("").await;
    let proxy = Proxy::start(&bootstrap(
        &[listener("in", "", &[chain(&tcp_proxy("up", ""))])],
        &[cluster("up", upstream, "")],
    ))
    .await;
    let bytes: Vec<u8> = (0..4_000_003_u32).map(|n| (n % 251) as u8).collect();
    let answer = exchange(proxy.connect("in").await, &bytes).await.unwrap();
    assert!(answer == bytes, "{} bytes came back", answer.len());
    proxy.data_plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_access_log_tells_how_a_connection_ended() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.log");
    let log = format!(
        "access_log: [{{ name: file, typed_config: {{ \
           \"@type\": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, \
           path: {}, log_format: {{ text_format_source: {{ inline_string: \
           \"%UPSTREAM_CLUSTER% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT%\\n\" }} }} }} }}],",
        path.display()
    );
    let upstream = echo("hi ").await;
    let refused = {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        socket.local_addr().unwrap()
    };
    let proxy = Proxy::start(&bootstrap(
        &[
            listener("good", "", &[chain(&tcp_proxy("up", &log))]),
            listener("refused", "", &[chain(&tcp_proxy("down", &log))]),
            listener("nowhere", "", &[chain(&tcp_proxy("missing", &log))]),
        ],
        &[cluster("up", upstream, ""), cluster("down", refused, "")],
    ))
    .await;
    let answer = exchange(proxy.connect("good").await, b"there").await;
    assert_eq!(answer.unwrap(), b"hi there");
    for name in ["refused", "nowhere"] {
        let mut stream = proxy.connect(name).await;
        // Closed without an answer, by FIN or by RST.
        assert_eq!(stream.read(&mut [0; 1]).await.unwrap_or(0), 0);
    }
    proxy.data_plane.stop().await;
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["- NC 0 0", "down UF 0 0", "up - 5 8"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_first_protocol_is_told_apart_and_server_first_is_not_held_up() {
    let (http, other) = (echo("http ").await, echo("other ").await);
    let inspector = "listener_filters: [{ name: http, typed_config: { \"@type\": \
        type.googleapis.com/envoy.extensions.filters.listener.http_inspector.v3.HttpInspector } }], \
        listener_filters_timeout: 0.2s, continue_on_listener_filters_timeout: true,";
    let http_chain = format!(
        "{{ filter_chain_match: {{ application_protocols: [http/1.1, h2c] }}, filters: [{}] }}",
        tcp_proxy("http", "")
    );
    let proxy = Proxy::start(&bootstrap(
        &[listener(
            "in",
            inspector,
            &[http_chain, chain(&tcp_proxy("other", ""))],
        )],
        &[cluster("http", http, ""), cluster("other", other, "")],
    ))
    .await;
    let request = b"GET / HTTP/1.1\r\n\r\n";
    let answer = exchange(proxy.connect("in").await, request).await.unwrap();
    assert_eq!(answer, [&b"http "[..], request].concat());
    let answer = exchange(proxy.connect("in").await, b"hello").await.unwrap();
    assert_eq!(answer, b"other hello");
    // Nothing is sent: the server's first bytes arrive all the same.
    let mut silent = proxy.connect("in").await;
    let mut first = [0; 6];
    silent.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"other ");
    proxy.data_plane.stop().await;
}
