//! What the connection manager does to headers on the way in and out: hop-by-hop headers, the client's
//! address, the headers of the mesh's own that outsiders may not set
//! (<https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/headers>).

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::OnceLock;

use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HeaderMap, HeaderName, HeaderValue, SERVER, TE,
    TRANSFER_ENCODING, UPGRADE, VIA,
};
use smallvec::SmallVec;

use super::request_id::{self, X_REQUEST_ID};
use super::stream::{RequestHead, Scheme, Stream};
use super::xfcc;
use crate::config::http::{EdgeOptions, HttpConnectionManager, ServerHeaderMode};
use crate::telemetry::stream_info::ConnectionInfo;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_ENVOY_INTERNAL: HeaderName = HeaderName::from_static("x-envoy-internal");
const X_ENVOY_EXTERNAL_ADDRESS: HeaderName = HeaderName::from_static("x-envoy-external-address");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// Removed from every request that is not internal.
const UNTRUSTED: &[&str] = &[
    "x-envoy-retriable-status-codes",
    "x-envoy-retriable-header-names",
    "x-envoy-retry-on",
    "x-envoy-retry-grpc-on",
    "x-envoy-max-retries",
    "x-envoy-upstream-alt-stat-name",
    "x-envoy-upstream-rq-timeout-ms",
    "x-envoy-upstream-rq-per-try-timeout-ms",
    "x-envoy-upstream-rq-timeout-alt-response",
    "x-envoy-expected-rq-timeout-ms",
    "x-envoy-force-trace",
    "x-envoy-ip-tags",
    "x-envoy-original-url",
    "x-envoy-original-host",
    "x-envoy-hedge-on-per-try-timeout",
];

/// Removed, besides, from requests that enter the mesh here.
const UNTRUSTED_AT_THE_EDGE: &[&str] = &[
    "x-envoy-decorator-operation",
    "x-envoy-downstream-service-cluster",
    "x-envoy-downstream-service-node",
    "x-envoy-original-path",
];

/// What was found out about the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// Its address: the peer's, or what trusted proxies say.
    pub address: SocketAddr,
    /// It is one of our own.
    pub internal: bool,
}

/// A header that may not be nominated by `connection`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connection header names a header that must not be removed")]
pub struct ForbiddenNomination;

/// Cleans a request that came in and adds what the connection manager adds.
pub fn clean_request(
    hcm: &HttpConnectionManager,
    connection: &ConnectionInfo,
    internal_only: &[HeaderName],
    head: &mut RequestHead,
) -> Result<Client, ForbiddenNomination> {
    remove_hop_by_hop(head)?;
    let client = identify_client(&hcm.edge, connection, &mut head.headers);
    distrust(&hcm.edge, &client, &mut head.headers, internal_only);
    set_scheme(&hcm.edge, connection, head);
    let edge = hcm.edge.use_remote_address && !client.internal;
    if edge {
        let address = client.address.ip().to_canonical().to_string();
        if let Ok(address) = HeaderValue::from_maybe_shared(Bytes::from(address)) {
            head.headers.insert(X_ENVOY_EXTERNAL_ADDRESS, address);
        }
    }
    if let Some(via) = &hcm.via {
        append(&mut head.headers, VIA, via.as_bytes());
    }
    request_id::ensure(&hcm.request_id, &mut head.headers, edge);
    xfcc::forward(&hcm.forwarded_client_cert, connection, &mut head.headers);
    Ok(client)
}

fn remove_hop_by_hop(head: &mut RequestHead) -> Result<(), ForbiddenNomination> {
    let headers = &mut head.headers;
    if let http::header::Entry::Occupied(lines) = headers.entry(CONNECTION) {
        // Every line counts (RFC 9110 section 7.6.1).
        let (_, lines) = lines.remove_entry_mult();
        for line in lines.collect::<SmallVec<[HeaderValue; 2]>>() {
            remove_nominated(&line, headers)?;
        }
        headers.remove(HTTP2_SETTINGS);
    }
    if head.upgrade.is_none() {
        headers.remove(UPGRADE);
    }
    headers.remove(KEEP_ALIVE);
    headers.remove(PROXY_CONNECTION);
    if headers.remove(TRANSFER_ENCODING).is_some() {
        headers.remove(CONTENT_LENGTH);
    }
    if headers.get(TE).is_some_and(|te| te != "trailers") {
        let trailers = super::stream::joined(headers, TE)
            .is_some_and(|te| tokens(&te).any(|token| token.eq_ignore_ascii_case(b"trailers")));
        headers.remove(TE);
        if trailers {
            headers.insert(TE, HeaderValue::from_static("trailers"));
        }
    }
    // The server answers it when the body is first asked for. Differs from Envoy, which may pass it on and
    // wait for the upstream's 100.
    if headers
        .get(EXPECT)
        .is_some_and(|e| e.as_bytes().eq_ignore_ascii_case(b"100-continue"))
    {
        headers.remove(EXPECT);
    }
    Ok(())
}

fn remove_nominated(
    connection: &HeaderValue,
    headers: &mut HeaderMap,
) -> Result<(), ForbiddenNomination> {
    for token in tokens(connection.as_bytes()) {
        if token[0] == b':' {
            return Err(ForbiddenNomination);
        }
        let Ok(name) = HeaderName::from_bytes(token) else {
            continue;
        };
        match name.as_str() {
            "close" | "keep-alive" | "upgrade" | "te" => {}
            "x-forwarded-for" | "x-forwarded-host" | "x-forwarded-proto" | "host" => {
                return Err(ForbiddenNomination);
            }
            _ => drop(headers.remove(name)),
        }
    }
    Ok(())
}

fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|token| !token.is_empty())
}

/// Who the client is, by the socket and `x-forwarded-for`, which is extended at the edge.
fn identify_client(
    edge: &EdgeOptions,
    connection: &ConnectionInfo,
    headers: &mut HeaderMap,
) -> Client {
    let hops = edge.xff_trusted_hops as usize;
    let (found, single) = if edge.use_remote_address {
        let single = !headers.contains_key(X_FORWARDED_FOR);
        let trusted = (hops > 0)
            .then(|| forwarded_address(headers, hops - 1).0)
            .flatten();
        if !edge.skip_xff_append {
            append_forwarded_for(connection.remote.ip(), headers);
        }
        (Some(trusted.unwrap_or(connection.remote)), single)
    } else {
        forwarded_address(headers, hops)
    };
    let internal = single && found.is_some_and(|address| edge.is_internal(address.ip()));
    Client {
        address: found.unwrap_or(connection.remote),
        internal,
    }
}

/// The address that stands `skip` places from the right in `x-forwarded-for`, and whether it is the only one.
fn forwarded_address(headers: &HeaderMap, skip: usize) -> (Option<SocketAddr>, bool) {
    let Some(forwarded) = super::stream::joined(headers, X_FORWARDED_FOR) else {
        return (None, false);
    };
    let Ok(text) = std::str::from_utf8(&forwarded) else {
        return (None, false);
    };
    let single = !text.contains(',');
    let address = text.rsplit(',').nth(skip).map(str::trim);
    let ip = address.and_then(|address| address.parse::<IpAddr>().ok());
    match ip {
        Some(ip) => (Some(SocketAddr::new(ip, 0)), single),
        None => (None, false),
    }
}

fn append_forwarded_for(peer: IpAddr, headers: &mut HeaderMap) {
    // A loopback peer says nothing to the next hop: Envoy writes the machine's own address instead.
    let address = if peer.to_canonical().is_loopback() {
        own_address()
    } else {
        peer.to_canonical()
    };
    append(headers, X_FORWARDED_FOR, address.to_string().as_bytes());
}

/// The machine's address towards the world, looked up once.
fn own_address() -> IpAddr {
    static ADDRESS: OnceLock<IpAddr> = OnceLock::new();
    *ADDRESS.get_or_init(|| {
        // Connecting a datagram socket sends nothing; it only makes the kernel choose a source address.
        let chosen = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
            socket.connect("192.0.2.1:9")?;
            socket.local_addr()
        });
        chosen.map_or(IpAddr::from([127, 0, 0, 1]), |address| address.ip())
    })
}

/// Removes what only our own may say. Most requests have no such header: one pass over the names tells.
fn distrust(
    edge: &EdgeOptions,
    client: &Client,
    headers: &mut HeaderMap,
    internal_only: &[HeaderName],
) {
    if headers
        .keys()
        .any(|name| name.as_str().starts_with("x-envoy-"))
    {
        headers.remove(X_ENVOY_INTERNAL);
        if !client.internal {
            UNTRUSTED
                .iter()
                .for_each(|name| drop(headers.remove(*name)));
            if edge.use_remote_address {
                let names = UNTRUSTED_AT_THE_EDGE.iter();
                names.for_each(|name| drop(headers.remove(*name)));
            }
        }
    }
    if client.internal {
        headers.insert(X_ENVOY_INTERNAL, HeaderValue::from_static("true"));
    } else {
        for name in internal_only {
            headers.remove(name);
        }
    }
}

fn set_scheme(edge: &EdgeOptions, connection: &ConnectionInfo, head: &mut RequestHead) {
    let own = if connection.tls.is_some() {
        Scheme::Https
    } else {
        Scheme::Http
    };
    let trusted = !edge.use_remote_address || edge.xff_trusted_hops > 0;
    let said = head.headers.get(X_FORWARDED_PROTO).filter(|_| trusted);
    match said.map(HeaderValue::as_bytes) {
        Some(said) if said.eq_ignore_ascii_case(b"https") => head.scheme = Scheme::Https,
        Some(said) if said.eq_ignore_ascii_case(b"http") => head.scheme = Scheme::Http,
        Some(_) => head.scheme = own,
        None => {
            head.scheme = own;
            let value = HeaderValue::from_static(own.as_str());
            head.headers.insert(X_FORWARDED_PROTO, value);
        }
    }
}

/// Cleans a response on its way to the client and adds what the connection manager adds.
pub fn clean_response(stream: &Stream, response: &mut http::response::Parts, upgrade: bool) {
    let hcm = &stream.connection.hcm;
    let headers = &mut response.headers;
    if !upgrade {
        if headers.contains_key(CONNECTION) {
            headers.remove(CONNECTION);
        }
        headers.remove(UPGRADE);
    }
    headers.remove(KEEP_ALIVE);
    headers.remove(PROXY_CONNECTION);
    headers.remove(TRANSFER_ENCODING);
    match hcm.server_header.mode {
        ServerHeaderMode::Overwrite => drop(headers.insert(SERVER, hcm.server_header.name.clone())),
        ServerHeaderMode::AppendIfAbsent => {
            let entry = headers.entry(SERVER);
            entry.or_insert_with(|| hcm.server_header.name.clone());
        }
        ServerHeaderMode::PassThrough => {}
    }
    if let Some(via) = &hcm.via {
        append(headers, VIA, via.as_bytes());
    }
    if let Some(id) = &stream.request_id {
        headers.insert(X_REQUEST_ID, id.clone());
    }
}

/// Adds a value to a header's list, in one line as Envoy does.
pub fn append(headers: &mut HeaderMap, name: HeaderName, value: &[u8]) {
    let mut list = match super::stream::joined(headers, &name) {
        Some(existing) if !existing.is_empty() => {
            let mut list = existing.into_owned();
            list.push(b',');
            list
        }
        _ => Vec::with_capacity(value.len()),
    };
    list.extend_from_slice(value);
    if let Ok(list) = HeaderValue::from_maybe_shared(Bytes::from(list)) {
        headers.insert(name, list);
    }
}

#[cfg(test)]
mod tests;
