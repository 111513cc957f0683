//! Where a request comes from: this machine or elsewhere, a program or a page in a browser.
//!
//! Some pages are for people on the machine itself, most of whom come by a port-forward: the peer of the
//! socket is loopback then. What a header says about the client is never believed. A browser runs on such a
//! machine too and sends requests for any page that is open in it, so being local is not enough
//! ([`of_other_site`]).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// The source of connections that a sidecar makes to its application for others (Istio's
/// `InboundPassthroughBindIpv4`): loopback, and yet anybody.
const SIDECAR_SOURCE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 6);

/// Stands for a value that is no text; nothing is like it.
const UNREADABLE: &str = "unreadable.invalid";

/// The peer of the connection that a request came on, as the listener knows it.
pub fn peer(request: &Request) -> Option<SocketAddr> {
    let extensions = request.extensions();
    let connected = extensions.get::<ConnectInfo<SocketAddr>>();
    let address = extensions.get::<SocketAddr>();
    address
        .or(connected.map(|ConnectInfo(address)| address))
        .copied()
}

/// Whether a request comes from a program on this machine, in the same network namespace. One whose peer
/// is not known does not.
pub fn is_local(request: &Request) -> bool {
    peer(request).is_some_and(|peer| is_loopback(peer.ip())) && !of_other_site(request.headers())
}

/// Whether an address is of this machine: 127.0.0.0/8 without the sidecar's source, and `::1`; IPv4 in
/// IPv6 is IPv4 (RFC 4291 section 2.5.5.2).
pub fn is_loopback(address: IpAddr) -> bool {
    let address = address.to_canonical();
    address.is_loopback() && address != IpAddr::V4(SIDECAR_SOURCE)
}

/// Whether a browser sends a request for a page of another site, or may: it names another origin
/// (RFC 6454 section 7) or site (W3C Fetch Metadata), or the host is a name that a stranger can point at
/// this machine (DNS rebinding). Addresses and names of one label cannot be registered by anybody.
pub fn of_other_site(headers: &HeaderMap) -> bool {
    let text = |name| {
        headers
            .get(name)
            .map(|value| value.to_str().unwrap_or(UNREADABLE))
    };
    let host = text(header::HOST.as_str());
    let other_origin = text(header::ORIGIN.as_str()).is_some_and(|origin| {
        let authority = origin.split_once("://").map(|(_, authority)| authority);
        authority.is_none() || authority != host
    });
    let other_site =
        text("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none");
    other_origin || other_site || host.is_some_and(|host| !is_unregistrable(host))
}

/// Middleware: refuses what does not come from a program on this machine.
pub async fn only_local(request: Request, next: Next) -> Response {
    if is_local(&request) {
        return next.run(request).await;
    }
    let message = "only from this machine: use a port-forward, and localhost as host\n";
    (StatusCode::FORBIDDEN, message).into_response()
}

/// Middleware of a listener that only this machine can reach: refuses pages of other sites.
pub async fn no_other_site(request: Request, next: Next) -> Response {
    if !of_other_site(request.headers()) {
        return next.run(request).await;
    }
    let message = "not for pages of other sites: use localhost or an address as host\n";
    (StatusCode::FORBIDDEN, message).into_response()
}

/// The host of an authority without its port.
fn is_unregistrable(authority: &str) -> bool {
    if authority.parse::<SocketAddr>().is_ok() {
        return true;
    }
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    host.parse::<IpAddr>().is_ok() || !name.contains('.') || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn request(peer: Option<&str>, headers: &[(&str, &str)]) -> Request {
        let mut request = Request::new(Body::empty());
        if let Some(peer) = peer {
            let peer: SocketAddr = peer.parse().unwrap();
            request.extensions_mut().insert(peer);
        }
        for (name, value) in headers {
            let name: header::HeaderName = name.parse().unwrap();
            request.headers_mut().append(name, value.parse().unwrap());
        }
        request
    }

    #[test]
    fn the_peer_of_the_socket_decides_and_no_header() {
        for (peer, local) in [
            (Some("127.0.0.1:1"), true),
            (Some("127.8.0.1:1"), true),
            (Some("[::1]:1"), true),
            (Some("[::ffff:127.0.0.1]:1"), true),
            (Some("10.0.0.1:1"), false),
            (Some("[::ffff:10.0.0.1]:1"), false),
            (Some("127.0.0.6:1"), false),
            (Some("[::ffff:127.0.0.6]:1"), false),
            (Some("[::6]:1"), false),
            (None, false),
        ] {
            let headers = [("x-forwarded-for", "127.0.0.1"), ("x-real-ip", "::1")];
            assert_eq!(is_local(&request(peer, &headers)), local, "{peer:?}");
            assert_eq!(is_local(&request(peer, &[])), local, "{peer:?}");
        }
    }

    #[test]
    fn a_page_of_another_site_is_not_this_machine() {
        for (headers, local) in [
            (&[("host", "localhost:15014")][..], true),
            (&[("host", "127.0.0.1:15014")], true),
            (&[("host", "[::1]:15014")], true),
            (&[("host", "[::1]")], true),
            (&[("host", "istiod")], true),
            (&[("host", "mesh.localhost:80")], true),
            (&[("host", "evil.example:15014")], false),
            (&[("host", "evil.example.")], false),
            (&[("host", "127.0.0.1.evil.example")], false),
            (&[("host", "\u{e9}")], false),
            (
                &[("host", "localhost:1"), ("origin", "http://localhost:1")],
                true,
            ),
            (
                &[("host", "localhost:1"), ("origin", "http://localhost:2")],
                false,
            ),
            (
                &[("host", "localhost:1"), ("origin", "https://evil.example")],
                false,
            ),
            (&[("host", "localhost:1"), ("origin", "null")], false),
            (
                &[("host", "localhost"), ("sec-fetch-site", "cross-site")],
                false,
            ),
            (
                &[("host", "localhost"), ("sec-fetch-site", "same-site")],
                false,
            ),
            (
                &[("host", "localhost"), ("sec-fetch-site", "same-origin")],
                true,
            ),
            (&[("host", "localhost"), ("sec-fetch-site", "none")], true),
        ] {
            let found = is_local(&request(Some("127.0.0.1:1"), headers));
            assert_eq!(found, local, "{headers:?}");
        }
    }
}
