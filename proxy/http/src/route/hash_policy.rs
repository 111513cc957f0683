//! What consistent load balancers hash a request by, equal to Envoy's, so that both choose the same endpoint.

use std::net::SocketAddr;

use bytes::Bytes;
use http::HeaderValue;
use http::header::COOKIE;
use xxhash_rust::xxh64::xxh64;

use super::rewrite::substitute;
use crate::config::matcher::query_parameter;
use crate::config::route::{HashPolicy, HashSource};
use crate::stream::{HeaderKey, RequestHead, Stream};

/// The hash of a request; `None` if no policy found anything. A cookie that had to be made up is put on the
/// stream for the response.
pub fn hash(policies: &[HashPolicy], stream: &mut Stream, request: &RequestHead) -> Option<u64> {
    let mut hash: Option<u64> = None;
    for policy in policies {
        let part = part(&policy.source, stream, request);
        if let Some(part) = part {
            // Rotating keeps the order of the policies significant.
            hash = Some(hash.map_or(0, |hash| hash.rotate_left(1)) ^ part);
        }
        if policy.terminal && hash.is_some() {
            break;
        }
    }
    hash
}

fn part(source: &HashSource, stream: &mut Stream, request: &RequestHead) -> Option<u64> {
    match source {
        HashSource::Header(name, rewrite) => header_hash(name, rewrite.as_ref(), request),
        HashSource::SourceIp => {
            let ip = stream.info.remote.ip().to_canonical().to_string();
            Some(xxh64(ip.as_bytes(), 0))
        }
        HashSource::Query(name) => {
            let value = query_parameter(request.path.query()?, name)?;
            Some(xxh64(value.as_bytes(), 0))
        }
        HashSource::Cookie {
            name,
            ttl,
            path,
            attributes,
        } => {
            if let Some(value) = cookie(request, name) {
                return Some(xxh64(value.as_bytes(), 0));
            }
            let ttl = (*ttl)?;
            let connection = &stream.info.connection;
            let value = made_up(connection.remote, connection.local);
            let mut set = format!("{name}=\"{value}\"");
            if !ttl.is_zero() {
                set += &format!("; Max-Age={}", ttl.as_secs());
            }
            if !path.is_empty() {
                set += &format!("; Path={path}");
            }
            for (name, value) in attributes {
                set += &format!("; {name}");
                if !value.is_empty() {
                    set += &format!("={value}");
                }
            }
            set += "; HttpOnly";
            stream.set_cookie = HeaderValue::from_maybe_shared(Bytes::from(set)).ok();
            Some(xxh64(value.as_bytes(), 0))
        }
    }
}

fn header_hash(
    name: &HeaderKey,
    rewrite: Option<&crate::config::route::RegexRewrite>,
    request: &RequestHead,
) -> Option<u64> {
    let HeaderKey::Name(header) = name else {
        return request.header(name).map(|value| xxh64(&value, 0));
    };
    let mut values: Vec<&[u8]> = request
        .headers
        .get_all(header)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    match (values.as_slice(), rewrite) {
        ([], _) => None,
        ([one], None) => Some(xxh64(one, 0)),
        ([one], Some(rewrite)) => {
            let text = String::from_utf8_lossy(one);
            Some(xxh64(substitute(rewrite, &text).as_bytes(), 0))
        }
        (_, _) => {
            values.sort_unstable();
            Some(values.iter().fold(0, |seed, value| xxh64(value, seed)))
        }
    }
}

fn cookie<'a>(request: &'a RequestHead, name: &str) -> Option<&'a str> {
    let cookies = request.headers.get_all(COOKIE).iter();
    cookies
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .find_map(|pair| {
            let (key, value) = pair.trim().split_once('=')?;
            let value = value
                .strip_prefix('"')
                .and_then(|v| v.strip_suffix('"'))
                .unwrap_or(value);
            (key == name).then_some(value)
        })
}

/// A value that is the same for all requests of a connection.
fn made_up(remote: SocketAddr, local: SocketAddr) -> String {
    format!("{:016x}", xxh64(format!("{remote}{local}").as_bytes(), 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::Scheme;
    use http::{HeaderMap, Method, Version};

    fn request(cookies: &'static str) -> RequestHead {
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, HeaderValue::from_static(cookies));
        headers.append("x-two", HeaderValue::from_static("b"));
        headers.append("x-two", HeaderValue::from_static("a"));
        headers.append("x-one", HeaderValue::from_static("hello"));
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

    #[test]
    fn cookies_are_found() {
        let request = request("a=1; b=\"2\";c=");
        for (name, expected) in [
            ("a", Some("1")),
            ("b", Some("2")),
            ("c", Some("")),
            ("d", None),
        ] {
            assert_eq!(cookie(&request, name), expected, "{name}");
        }
    }

    #[test]
    fn headers_are_hashed_in_order_of_their_values() {
        let request = request("");
        let hash = |name: &str| header_hash(&name.parse().unwrap(), None, &request);
        assert_eq!(hash("x-one"), Some(xxh64(b"hello", 0)));
        assert_eq!(hash("x-two"), Some(xxh64(b"b", xxh64(b"a", 0))));
        assert_eq!(hash("x-none"), None);
    }
}
