//! Clients, trust and hop-by-hop headers.

use std::time::Instant;

use http::{Method, Version};

use super::*;
use crate::config::listener::Direction;

fn connection(remote: &str) -> ConnectionInfo {
    ConnectionInfo {
        buffer_limit_bytes: 1 << 20,
        id: 1,
        direction: Direction::Unspecified,
        remote: remote.parse().unwrap(),
        direct_remote: remote.parse().unwrap(),
        local: "10.0.0.9:80".parse().unwrap(),
        original_destination: None,
        server_name: None,
        tls: None,
        start: Instant::now(),
        filter_chain: "".into(),
    }
}

fn head(pairs: &[(&'static str, &'static str)]) -> RequestHead {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(*name, HeaderValue::from_static(value));
    }
    RequestHead {
        method: Method::GET,
        scheme: Scheme::Http,
        path: "/".parse().unwrap(),
        headers,
        version: Version::HTTP_11,
        extensions: http::Extensions::new(),
        upgrade: None,
    }
}

fn edge(use_remote_address: bool, hops: u32) -> EdgeOptions {
    EdgeOptions {
        use_remote_address,
        xff_trusted_hops: hops,
        skip_xff_append: false,
        internal: vec!["10.0.0.0/8".parse().unwrap()],
    }
}

fn client(edge: &EdgeOptions, xff: Option<&'static str>) -> (String, bool, Option<String>) {
    let mut head = match xff {
        Some(xff) => head(&[("x-forwarded-for", xff)]),
        None => head(&[]),
    };
    let client = identify_client(edge, &connection("10.1.1.1:77"), &mut head.headers);
    let forwarded = head.headers.get(X_FORWARDED_FOR);
    (
        client.address.to_string(),
        client.internal,
        forwarded.map(|f| f.to_str().unwrap().to_owned()),
    )
}

#[test]
fn the_client_is_the_peer_at_the_edge() {
    let at =
        |address: &str, internal, xff: &str| (address.to_owned(), internal, Some(xff.to_owned()));
    assert_eq!(
        client(&edge(true, 0), None),
        at("10.1.1.1:77", true, "10.1.1.1")
    );
    let xff = Some("1.2.3.4");
    assert_eq!(
        client(&edge(true, 0), xff),
        at("10.1.1.1:77", false, "1.2.3.4,10.1.1.1")
    );
    assert_eq!(
        client(&edge(true, 1), xff),
        at("1.2.3.4:0", false, "1.2.3.4,10.1.1.1")
    );
}

#[test]
fn inside_trusted_proxies_tell() {
    let (address, internal, xff) = client(&edge(false, 0), Some("1.1.1.1, 10.2.2.2"));
    assert_eq!((address.as_str(), internal), ("10.2.2.2:0", false));
    assert_eq!(xff.as_deref(), Some("1.1.1.1, 10.2.2.2"));
    let (address, internal, _) = client(&edge(false, 0), Some("10.2.2.2"));
    assert_eq!((address.as_str(), internal), ("10.2.2.2:0", true));
    let (address, internal, _) = client(&edge(false, 0), Some("nonsense"));
    assert_eq!((address.as_str(), internal), ("10.1.1.1:77", false));
    let (address, internal, _) = client(&edge(false, 0), None);
    assert_eq!((address.as_str(), internal), ("10.1.1.1:77", false));
}

#[test]
fn outsiders_are_not_believed() {
    let sent = [
        ("x-envoy-retry-on", "5xx"),
        ("x-envoy-internal", "true"),
        ("x-envoy-decorator-operation", "x"),
        ("x-envoy-peer-metadata", "kept here, the filter judges it"),
        ("x-mine", "y"),
    ];
    let names = |edge: &EdgeOptions, internal| {
        let mut head = head(&sent);
        let client = Client {
            address: "1.1.1.1:0".parse().unwrap(),
            internal,
        };
        distrust(
            edge,
            &client,
            &mut head.headers,
            &[HeaderName::from_static("x-mine")],
        );
        let mut names: Vec<String> = head.headers.keys().map(|k| k.to_string()).collect();
        names.sort();
        names.join(" ")
    };
    assert_eq!(names(&edge(true, 0), false), "x-envoy-peer-metadata");
    assert_eq!(
        names(&edge(false, 0), false),
        "x-envoy-decorator-operation x-envoy-peer-metadata"
    );
    assert_eq!(
        names(&edge(true, 0), true),
        "x-envoy-decorator-operation x-envoy-internal x-envoy-peer-metadata x-envoy-retry-on x-mine"
    );
}

#[test]
fn hop_by_hop_headers_end_here() {
    let mut request = head(&[
        ("connection", "close, x-drop"),
        ("x-drop", "1"),
        ("keep-alive", "1"),
        ("proxy-connection", "1"),
        ("upgrade", "foo"),
        ("te", "gzip, trailers"),
        ("x-keep", "1"),
    ]);
    remove_hop_by_hop(&mut request).unwrap();
    assert_eq!(
        request.headers,
        head(&[("te", "trailers"), ("x-keep", "1")]).headers
    );
    let mut request = head(&[
        ("connection", "x-a"),
        ("connection", "x-b, close"),
        ("x-a", "1"),
        ("x-b", "1"),
        ("x-c", "1"),
    ]);
    remove_hop_by_hop(&mut request).unwrap();
    assert_eq!(request.headers, head(&[("x-c", "1")]).headers);
    for nominated in ["x-forwarded-for", "host", ":path"] {
        let mut request = head(&[("connection", "close"), ("connection", nominated)]);
        let removed = remove_hop_by_hop(&mut request);
        assert_eq!(removed, Err(ForbiddenNomination), "{nominated}");
    }
}

#[test]
fn the_scheme_follows_trusted_proxies() {
    let scheme = |edge: &EdgeOptions, said: &'static str| {
        let mut head = head(&[("x-forwarded-proto", said)]);
        set_scheme(edge, &connection("10.1.1.1:77"), &mut head);
        (
            head.scheme,
            head.headers[X_FORWARDED_PROTO].to_str().unwrap().to_owned(),
        )
    };
    assert_eq!(
        scheme(&edge(false, 0), "https"),
        (Scheme::Https, "https".into())
    );
    assert_eq!(
        scheme(&edge(true, 1), "https"),
        (Scheme::Https, "https".into())
    );
    assert_eq!(
        scheme(&edge(true, 0), "https"),
        (Scheme::Http, "http".into())
    );
}

#[test]
fn values_are_appended_in_one_line() {
    let mut headers = HeaderMap::new();
    append(&mut headers, VIA, b"a");
    append(&mut headers, VIA, b"b");
    assert_eq!(headers[VIA], "a,b");
}
