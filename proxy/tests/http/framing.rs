//! Where messages begin and end: whatever is sent has the framing that its head announces, and a connection on
//! which that is in doubt is closed.

use bytes::Bytes;
use http::{Request, Response};
use tokio::net::TcpListener;

use super::origin::{Origin, Peer};
use super::upstream::{HTTP2, proxy, proxy_with_edits};
use crate::harness::Proxy;

const WEBSOCKET: &str = "upgrade_configs: [{ upgrade_type: websocket }],";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const LAST: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
const SWITCH: &str =
    "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";

async fn start(action: &str, more: &str) -> (Proxy, Origin) {
    let origin = Origin::start().await;
    let proxy = proxy(action, more, &[("up", origin.address(), "")]).await;
    (proxy, origin)
}

/// What a connection in doubt comes to: nothing more is written to it, and it is closed. The next request travels
/// on another, which its server closes.
async fn is_given_up(peer: &mut Peer, proxy: &Proxy, origin: &Origin) {
    assert_eq!(peer.rest().await, "");
    let mut client = Peer::client(proxy).await;
    client.write("GET /next HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let mut other = origin.accept().await;
    assert_eq!(other.head().await, "GET /next HTTP/1.1");
    other.write(LAST).await;
    assert_eq!(client.head().await, "HTTP/1.1 200 OK\ncontent-length: 2");
    assert_eq!(client.take(2).await, "ok");
    assert_eq!(other.rest().await, "");
}

/// The first attack of its kind: the upgrade's body was dropped and its length announced, so that the next request's
/// head was the body, and the next request's body a request.
#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_that_is_not_granted_hides_no_request() {
    for sent in ["", "0123456789"] {
        let (proxy, origin) = start("cluster: up", WEBSOCKET).await;
        let mut client = Peer::client(&proxy).await;
        client
            .write(format!(
                "POST /ok HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                 content-length: 300\r\n\r\n{sent}"
            ))
            .await;
        let mut first = origin.accept().await;
        let head =
            "POST /ok HTTP/1.1\nconnection: upgrade\ncontent-length: 300\nupgrade: websocket";
        assert_eq!(first.head().await, head);
        assert_eq!(first.take(sent.len()).await, sent);
        first.write(OK).await;
        let head = "HTTP/1.1 200 OK\nconnection: close\ncontent-length: 2";
        assert_eq!(client.head().await, head);
        assert_eq!(client.rest().await, "ok");
        assert_eq!(first.rest().await, "");

        let smuggled = "GET /admin/keys HTTP/1.1\r\nhost: a\r\n\r\n";
        let mut other = Peer::client(&proxy).await;
        let length = smuggled.len();
        let head = format!("POST /ok HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n");
        other.write(format!("{head}{smuggled}")).await;
        let mut second = origin.accept().await;
        let head = format!("POST /ok HTTP/1.1\ncontent-length: {length}");
        assert_eq!(second.head().await, head);
        assert_eq!(second.take(length).await, smuggled);
        second.write(OK).await;
        assert_eq!(other.head().await, "HTTP/1.1 200 OK\ncontent-length: 2");
        proxy.data_plane.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_protocol_changes_behind_the_body_of_an_upgrade() {
    let (proxy, origin) = start("cluster: up", WEBSOCKET).await;
    for (framing, body) in [
        ("content-length: 5", "hello"),
        ("transfer-encoding: chunked", "5\r\nhello\r\n0\r\n\r\n"),
    ] {
        let mut client = Peer::client(&proxy).await;
        client
            .write(format!(
                "POST / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: WebSocket\r\n\
                 {framing}\r\n\r\n{body}early"
            ))
            .await;
        let mut peer = origin.accept().await;
        let mut head = ["connection: upgrade", "upgrade: WebSocket", framing];
        head.sort_unstable();
        let head = format!("POST / HTTP/1.1\n{}", head.join("\n"));
        assert_eq!(peer.head().await, head);
        assert_eq!(peer.take(body.len()).await, body);
        peer.write(format!("{SWITCH}first")).await;
        let head = "HTTP/1.1 101 Switching Protocols\nconnection: upgrade\nupgrade: websocket";
        assert_eq!(client.head().await, head);
        assert_eq!(client.take(5).await, "first");
        client.write("late").await;
        assert_eq!(peer.take(9).await, "earlylate");
        drop(client);
        assert_eq!(peer.rest().await, "");
    }
    proxy.data_plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_before_the_end_of_the_request_is_an_error() {
    let (proxy, origin) = start("cluster: up", WEBSOCKET).await;
    for (framing, part) in [
        ("content-length: 40", "hello"),
        ("transfer-encoding: chunked", "5\r\nhello\r\n"),
    ] {
        let mut client = Peer::client(&proxy).await;
        client
            .write(format!(
                "POST / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                 {framing}\r\n\r\n{part}"
            ))
            .await;
        let mut peer = origin.accept().await;
        peer.head().await;
        assert_eq!(peer.take(part.len()).await, part);
        peer.write(SWITCH).await;
        let head = client.head().await;
        let closes = "HTTP/1.1 502 Bad Gateway\nconnection: close\n";
        assert!(head.starts_with(closes), "{head}");
        is_given_up(&mut peer, &proxy, &origin).await;
    }
    proxy.data_plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_that_was_not_asked_for_is_an_error() {
    let (proxy, origin) = start("cluster: up", WEBSOCKET).await;
    let asks = "connection: upgrade\r\nupgrade: websocket\r\n";
    for (asked, answer) in [
        ("", SWITCH.to_owned()),
        ("", "HTTP/1.1 101 Switching Protocols\r\n\r\n".to_owned()),
        (asks, "HTTP/1.1 101 Switching Protocols\r\n\r\n".to_owned()),
        (asks, SWITCH.replace("websocket", "other")),
        (asks, SWITCH.replace("websocket", "websocket, other")),
        (
            asks,
            SWITCH.replace(
                "upgrade: websocket",
                "upgrade: websocket\r\ncontent-length: 3",
            ),
        ),
    ] {
        let mut client = Peer::client(&proxy).await;
        client
            .write(format!("GET / HTTP/1.1\r\nhost: a\r\n{asked}\r\n"))
            .await;
        let mut peer = origin.accept().await;
        peer.head().await;
        peer.write(format!("{answer}bytes")).await;
        let head = client.head().await;
        assert!(
            head.starts_with("HTTP/1.1 502 Bad Gateway"),
            "{answer}: {head}"
        );
        let closes = head.contains("\nconnection: close");
        assert_eq!(closes, !asked.is_empty(), "{answer}: {head}");
        is_given_up(&mut peer, &proxy, &origin).await;
    }
    proxy.data_plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_unknown_length_arrives_whatever_the_method() {
    let (proxy, origin) = start("cluster: up", "").await;
    let chunked = "5\r\nhello\r\n0\r\n\r\n";
    for method in ["GET", "HEAD", "DELETE", "OPTIONS", "TRACE", "POST"] {
        let line = format!("{method} / HTTP/1.1");
        let expected = format!("{line}\ntransfer-encoding: chunked");
        let mut client = Peer::client(&proxy).await;
        let head = format!("{line}\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
        client.write(head + chunked).await;
        let mut peer = origin.accept().await;
        assert_eq!(peer.head().await, expected);
        assert_eq!(peer.take(chunked.len()).await, chunked);
        peer.write("HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
            .await;
        assert_eq!(client.head().await, "HTTP/1.1 204 No Content");

        // Over HTTP/2 nothing but the end of the stream says how long it is.
        let (mut client, _connection) = http2_client(&proxy).await;
        let request = Request::builder()
            .method(method)
            .uri("http://a/")
            .body(())
            .unwrap();
        let (response, mut body) = client.send_request(request, false).unwrap();
        body.send_data(Bytes::from_static(b"hello"), true).unwrap();
        let mut peer = origin.accept().await;
        assert_eq!(peer.head().await, expected);
        assert_eq!(peer.take(chunked.len()).await, chunked);
        peer.write("HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
            .await;
        assert_eq!(response.await.unwrap().status(), 204);
    }
    proxy.data_plane.stop().await;
}

type Http2Client = h2::client::SendRequest<Bytes>;

/// An HTTP/2 client with the task that moves its bytes; the connection ends with the task.
async fn http2_client(proxy: &Proxy) -> (Http2Client, tokio_util::task::AbortOnDropHandle<()>) {
    let stream = proxy.connect("in").await;
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    let moving = tokio::spawn(async move {
        // However it ends.
        let _ = connection.await;
    });
    let client = client.ready().await.unwrap();
    (client, tokio_util::task::AbortOnDropHandle::new(moving))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_extended_connect_that_is_not_granted_is_no_tunnel() {
    let (proxy, origin) = start("cluster: up", WEBSOCKET).await;
    for (answer, status) in [
        (LAST, 502),
        ("HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nno", 404),
    ] {
        let (mut client, _connection) = http2_client(&proxy).await;
        while !client.is_extended_connect_protocol_enabled() {
            tokio::task::yield_now().await;
        }
        let request = Request::connect("http://a/")
            .extension(h2::ext::Protocol::from_static("websocket"))
            .body(())
            .unwrap();
        let (response, mut body) = client.send_request(request, false).unwrap();
        body.send_data(Bytes::from_static(b"GET /admin HTTP/1.1\r\n\r\n"), false)
            .unwrap();
        let mut peer = origin.accept().await;
        assert_eq!(
            peer.head().await,
            "GET / HTTP/1.1\nconnection: upgrade\nupgrade: websocket"
        );
        peer.write(answer).await;
        assert_eq!(response.await.unwrap().status(), status);
        is_given_up(&mut peer, &proxy, &origin).await;
    }
    proxy.data_plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_doubtful_response_is_an_error() {
    let (proxy, origin) = start("cluster: up", "").await;
    for head in [
        "200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 2",
        "200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 0",
        "200 OK\r\ntransfer-encoding: gzip",
        "200 OK\r\ntransfer-encoding: gzip, chunked",
        "200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked",
        "200 OK\r\ncontent-length: 2\r\ncontent-length: 3",
        "200 OK\r\ncontent-length: 2\r\ncontent-length: 2",
        "200 OK\r\ncontent-length: 2, 2",
        "200 OK\r\ncontent-length: +2",
        "204 No Content\r\ncontent-length: 2",
        "204 No Content\r\ntransfer-encoding: chunked",
    ] {
        let mut client = Peer::client(&proxy).await;
        client.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let mut peer = origin.accept().await;
        peer.head().await;
        peer.write(format!("HTTP/1.1 {head}\r\n\r\n2\r\nok\r\n0\r\n\r\n"))
            .await;
        let answer = client.head().await;
        assert!(
            answer.starts_with("HTTP/1.1 502 Bad Gateway"),
            "{head}: {answer}"
        );
        is_given_up(&mut peer, &proxy, &origin).await;
    }
    proxy.data_plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_serves_again_only_behind_a_whole_exchange() {
    let (proxy, origin) = start("cluster: up", "").await;
    let mut client = Peer::client(&proxy).await;
    let ask = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    client.write(ask).await;
    let mut peer = origin.accept().await;
    peer.head().await;
    peer.write("HTTP/1.1 100 Continue\r\n\r\n").await;
    peer.write(OK).await;
    assert_eq!(client.head().await, "HTTP/1.1 200 OK\ncontent-length: 2");
    client.take(2).await;
    client.write(ask).await;
    assert_eq!(peer.head().await, "GET / HTTP/1.1");
    for last in [
        LAST,
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nproxy-connection: close\r\n\r\nok",
        "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
        // hyper would write HTTP/1.0 from now on, and lose bodies of unknown length.
        "HTTP/1.0 200 OK\r\ncontent-length: 2\r\nconnection: keep-alive\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil",
    ] {
        peer.write(last).await;
        assert_eq!(client.head().await, "HTTP/1.1 200 OK\ncontent-length: 2");
        assert_eq!(client.take(2).await, "ok");
        assert_eq!(peer.rest().await, "", "{last}");
        client.write(ask).await;
        peer = origin.accept().await;
        assert_eq!(peer.head().await, "GET / HTTP/1.1");
    }
    proxy.data_plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_that_overtakes_its_request_ends_both_connections() {
    let (proxy, origin) = start("cluster: up", "").await;
    for (framing, part) in [
        ("content-length: 40", "hello"),
        ("transfer-encoding: chunked", "5\r\nhello\r\n"),
    ] {
        let mut client = Peer::client(&proxy).await;
        client
            .write(format!(
                "POST / HTTP/1.1\r\nhost: a\r\n{framing}\r\n\r\n{part}"
            ))
            .await;
        let mut peer = origin.accept().await;
        assert_eq!(peer.head().await, format!("POST / HTTP/1.1\n{framing}"));
        assert_eq!(peer.take(part.len()).await, part);
        peer.write(OK).await;
        let head = "HTTP/1.1 200 OK\nconnection: close\ncontent-length: 2";
        assert_eq!(client.head().await, head);
        assert_eq!(client.rest().await, "ok");
        is_given_up(&mut peer, &proxy, &origin).await;
    }
    proxy.data_plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_of_the_proxys_own_ends_a_connection_that_may_carry_more_than_the_request() {
    let (proxy, _origin) = start("cluster: nowhere", WEBSOCKET).await;
    for request in [
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 40\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n28\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: other\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        "CONNECT a:80 HTTP/1.1\r\nhost: a:80\r\n\r\n",
    ] {
        let mut client = Peer::client(&proxy).await;
        client
            .write(format!("{request}GET / HTTP/1.1\r\nhost: a\r\n\r\n"))
            .await;
        let head = client.head().await;
        assert!(head.contains("\nconnection: close"), "{request}: {head}");
        assert_eq!(client.rest().await, "", "{request}");
    }
    proxy.data_plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn header_operations_cannot_change_the_framing() {
    let edit = |(name, value): &(&str, &str)| {
        format!(
            "{{ header: {{ key: {name}, value: \"{value}\" }}, \
                append_action: OVERWRITE_IF_EXISTS_OR_ADD }}"
        )
    };
    let edits = [
        ("content-length", "99"),
        ("transfer-encoding", "chunked"),
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("keep-alive", "3"),
    ];
    let edits = edits.iter().map(edit).collect::<Vec<_>>().join(", ");
    let te = edit(&("te", "gzip"));
    let removals = "[content-length, transfer-encoding]";
    for edits in [
        format!("request_headers_to_add: [{edits}, {te}], response_headers_to_add: [{edits}],"),
        format!("request_headers_to_remove: {removals}, response_headers_to_remove: {removals},"),
    ] {
        let origin = Origin::start().await;
        let clusters = [("up", origin.address(), "")];
        let proxy = proxy_with_edits("cluster: up", &edits, &clusters).await;
        let chunked = "5\r\nhello\r\n0\r\n\r\n";
        for (method, framing, body) in [
            ("GET", "", ""),
            ("POST", "content-length: 5", "hello"),
            ("POST", "transfer-encoding: chunked", chunked),
        ] {
            let mut client = Peer::client(&proxy).await;
            let line = format!("{method} / HTTP/1.1");
            let sent = if framing.is_empty() {
                String::new()
            } else {
                format!("{framing}\r\n")
            };
            client
                .write(format!("{line}\r\nhost: a\r\n{sent}\r\n{body}"))
                .await;
            let mut peer = origin.accept().await;
            let expected = if framing.is_empty() {
                line
            } else {
                format!("{line}\n{framing}")
            };
            assert_eq!(peer.head().await, expected);
            assert_eq!(peer.take(body.len()).await, body);
            peer.write(LAST).await;
            assert_eq!(client.head().await, "HTTP/1.1 200 OK\ncontent-length: 2");
            assert_eq!(client.take(2).await, "ok");
            assert_eq!(peer.rest().await, "");
        }
        proxy.data_plane.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_response_is_not_completed() {
    let (proxy, origin) = start("cluster: up", "").await;
    for (head, body, shown) in [
        ("content-length: 20", "hello", "hello"),
        (
            "transfer-encoding: chunked",
            "5\r\nhello\r\n",
            "5\r\nhello\r\n",
        ),
        ("transfer-encoding: chunked", "9\r\nhello", "5\r\nhello\r\n"),
    ] {
        let mut client = Peer::client(&proxy).await;
        client.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let mut peer = origin.accept().await;
        peer.head().await;
        peer.write(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}"))
            .await;
        assert_eq!(client.head().await, format!("HTTP/1.1 200 OK\n{head}"));
        assert_eq!(client.take(shown.len()).await, shown);
        drop(peer);
        assert_eq!(client.rest().await, "");
    }
    proxy.data_plane.stop().await;
}

/// NO_ERROR asks a client to stop its upload: it does not make half a message whole.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_reset_without_an_error_is_not_completed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let (_, mut respond) = connection.accept().await.unwrap().unwrap();
        let mut body = respond.send_response(Response::new(()), false).unwrap();
        body.send_data(Bytes::from_static(b"hello"), false).unwrap();
        let moving = tokio::spawn(async move { while connection.accept().await.is_some() {} });
        (body, moving)
    });
    let proxy = proxy("cluster: up", "", &[("up", address, HTTP2)]).await;
    let mut client = Peer::client(&proxy).await;
    client.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let head = "HTTP/1.1 200 OK\ntransfer-encoding: chunked";
    assert_eq!(client.head().await, head);
    let (mut body, _moving) = served.await.unwrap();
    assert_eq!(client.take(10).await, "5\r\nhello\r\n");
    body.send_reset(h2::Reason::NO_ERROR);
    assert_eq!(client.rest().await, "");
    proxy.data_plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_its_client_gives_up_is_not_completed() {
    let (proxy, origin) = start("cluster: up", "").await;
    let reasons = [h2::Reason::NO_ERROR, h2::Reason::CANCEL];
    for (reason, begun) in reasons
        .iter()
        .flat_map(|reason| [(*reason, false), (*reason, true)])
    {
        let (mut client, _connection) = http2_client(&proxy).await;
        let request = Request::post("http://a/").body(()).unwrap();
        let (response, mut body) = client.send_request(request, false).unwrap();
        body.send_data(Bytes::from_static(b"hello"), false).unwrap();
        let mut peer = origin.accept().await;
        assert_eq!(
            peer.head().await,
            "POST / HTTP/1.1\ntransfer-encoding: chunked"
        );
        assert_eq!(peer.take(10).await, "5\r\nhello\r\n");
        if begun {
            let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
            peer.write(format!("{head}2\r\nok\r\n")).await;
            let mut answer = response.await.unwrap().into_body();
            assert_eq!(answer.data().await.unwrap().unwrap(), "ok");
        }
        body.send_reset(reason);
        is_given_up(&mut peer, &proxy, &origin).await;
    }
    let mut client = Peer::client(&proxy).await;
    client
        .write("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")
        .await;
    let mut peer = origin.accept().await;
    peer.head().await;
    assert_eq!(peer.take(10).await, "5\r\nhello\r\n");
    drop(client);
    is_given_up(&mut peer, &proxy, &origin).await;
    proxy.data_plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_its_client_gives_up_ends_its_connection() {
    let (proxy, origin) = start("cluster: up", "").await;
    let mut client = Peer::client(&proxy).await;
    client.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let mut peer = origin.accept().await;
    peer.head().await;
    peer.write("HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\nhello")
        .await;
    assert_eq!(client.head().await, "HTTP/1.1 200 OK\ncontent-length: 20");
    assert_eq!(client.take(5).await, "hello");
    drop(client);
    is_given_up(&mut peer, &proxy, &origin).await;
    proxy.data_plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_try_that_is_given_up_ends_its_connection() {
    let retry = "cluster: up, retry_policy: { retry_on: 5xx, num_retries: 1, per_try_timeout: 0.1s, \
                 retry_back_off: { base_interval: 0.001s } }";
    let (proxy, origin) = start(retry, "").await;
    let mut client = Peer::client(&proxy).await;
    client.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let mut first = origin.accept().await;
    first.head().await;
    let mut second = origin.accept().await;
    assert_eq!(second.head().await, "GET / HTTP/1.1");
    assert_eq!(first.rest().await, "");
    second.write(LAST).await;
    assert_eq!(client.head().await, "HTTP/1.1 200 OK\ncontent-length: 2");
    proxy.data_plane.stop().await;
}

/// The connection of the first try still sends the body when the second begins: it must not take any of it.
#[tokio::test(flavor = "multi_thread")]
async fn two_tries_do_not_share_the_rest_of_a_body() {
    let retry = "cluster: up, retry_policy: { retry_on: 5xx, num_retries: 1, \
                 retry_back_off: { base_interval: 0.001s } }";
    let (proxy, origin) = start(retry, "").await;
    let mut client = Peer::client(&proxy).await;
    let (begin, end) = ("5\r\nhello\r\n", "5\r\nworld\r\n0\r\n\r\n");
    client
        .write(format!(
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{begin}"
        ))
        .await;
    let mut first = origin.accept().await;
    first.head().await;
    assert_eq!(first.take(begin.len()).await, begin);
    first
        .write("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n")
        .await;
    let mut second = origin.accept().await;
    second.head().await;
    assert_eq!(second.take(begin.len()).await, begin);
    assert_eq!(first.rest().await, "");
    client.write(end).await;
    assert_eq!(second.take(end.len()).await, end);
    second.write(LAST).await;
    assert_eq!(client.head().await, "HTTP/1.1 200 OK\ncontent-length: 2");
    proxy.data_plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_without_a_body_announces_none() {
    let (proxy, origin) = start("cluster: up", "").await;
    for (method, sent, shown) in [
        (
            "HEAD",
            "200 OK\r\ncontent-length: 20",
            "200 OK\ncontent-length: 20",
        ),
        (
            "GET",
            "204 No Content\r\ncontent-length: 0",
            "204 No Content",
        ),
        (
            "GET",
            "304 Not Modified\r\ntransfer-encoding: chunked",
            "304 Not Modified",
        ),
        (
            "GET",
            "200 OK\r\ncontent-length: 0",
            "200 OK\ncontent-length: 0",
        ),
    ] {
        let mut client = Peer::client(&proxy).await;
        client
            .write(format!("{method} / HTTP/1.1\r\nhost: a\r\n\r\n"))
            .await;
        let mut peer = origin.accept().await;
        peer.head().await;
        peer.write(format!("HTTP/1.1 {sent}\r\nconnection: close\r\n\r\n"))
            .await;
        assert_eq!(client.head().await, format!("HTTP/1.1 {shown}"));
        // Nothing is left between the two responses.
        client.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let mut peer = origin.accept().await;
        peer.head().await;
        peer.write(LAST).await;
        assert_eq!(client.head().await, "HTTP/1.1 200 OK\ncontent-length: 2");
        assert_eq!(client.take(2).await, "ok");
    }
    proxy.data_plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_request_that_broke_off_is_not_completed() {
    let (shadow, main) = (Origin::start().await, Origin::start().await);
    let action = "cluster: up, request_mirror_policies: [{ cluster: shadow }]";
    let clusters = [("up", main.address(), ""), ("shadow", shadow.address(), "")];
    let proxy = proxy(action, "", &clusters).await;
    let mut client = Peer::client(&proxy).await;
    client
        .write("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")
        .await;
    let (mut peer, mut copy) = (main.accept().await, shadow.accept().await);
    peer.head().await;
    assert_eq!(
        copy.head().await,
        "POST / HTTP/1.1\ntransfer-encoding: chunked"
    );
    assert_eq!(copy.take(10).await, "5\r\nhello\r\n");
    // The original breaks off, and so does the copy.
    drop(client);
    assert_eq!(copy.rest().await, "");
    proxy.data_plane.stop().await;
}
