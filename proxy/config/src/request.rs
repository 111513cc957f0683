//! The head of a request as rules see it: what matchers, policies and formats read.
//!
//! The head keeps `:authority` in the `host` header, whatever the protocol, so that HTTP/1 pays nothing for it.

use std::borrow::Cow;

use http::header::{AsHeaderName, HOST, HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Extensions, Method, Version};

/// `:scheme`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scheme {
    /// `http`.
    #[default]
    Http,
    /// `https`.
    Https,
}

impl Scheme {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// The head of a request.
#[derive(Debug)]
pub struct RequestHead {
    /// `:method`.
    pub method: Method,
    /// `:scheme`.
    pub scheme: Scheme,
    /// `:path`; `/` for a plain CONNECT.
    pub path: PathAndQuery,
    /// All other headers; `:authority` is `host` here.
    pub headers: HeaderMap,
    /// The protocol it came by.
    pub version: Version,
    /// What the HTTP library attached (upgrades, header case).
    pub extensions: Extensions,
    /// The type asked for by `upgrade` or `:protocol`, lower case.
    pub upgrade: Option<Box<str>>,
}

impl RequestHead {
    /// `:authority`; empty if there is none.
    pub fn authority(&self) -> &[u8] {
        self.headers.get(HOST).map_or(&[], HeaderValue::as_bytes)
    }

    /// The path without the query.
    pub fn path_only(&self) -> &str {
        self.path.path()
    }

    /// The values of a header, joined by commas if there are several; `None` if it is absent.
    pub fn header(&self, name: &HeaderKey) -> Option<Cow<'_, [u8]>> {
        match name {
            HeaderKey::Name(name) => joined(&self.headers, name),
            HeaderKey::Method => Some(self.method.as_str().as_bytes().into()),
            HeaderKey::Path => Some(self.path.as_str().as_bytes().into()),
            HeaderKey::Authority => joined(&self.headers, HOST),
            HeaderKey::Scheme => Some(self.scheme.as_str().as_bytes().into()),
            HeaderKey::Protocol => self.upgrade.as_deref().map(|u| u.as_bytes().into()),
            HeaderKey::Status => None,
        }
    }

    /// Takes the head, and leaves an empty one.
    pub fn take(&mut self) -> Self {
        let empty = Self {
            method: Method::GET,
            scheme: Scheme::Http,
            path: PathAndQuery::from_static("/"),
            headers: HeaderMap::new(),
            version: self.version,
            extensions: Extensions::new(),
            upgrade: None,
        };
        std::mem::replace(self, empty)
    }

    /// A copy, without what the HTTP library attached.
    pub fn copy(&self) -> Self {
        Self {
            method: self.method.clone(),
            scheme: self.scheme,
            path: self.path.clone(),
            headers: self.headers.clone(),
            version: self.version,
            extensions: Extensions::new(),
            upgrade: self.upgrade.clone(),
        }
    }

    /// True if `content-type` says gRPC (`application/grpc`, `application/grpc+...`).
    pub fn is_grpc(&self) -> bool {
        is_grpc_content_type(&self.headers)
    }
}

/// True if `content-type` is `application/grpc` or one of its subtypes.
pub fn is_grpc_content_type(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(http::header::CONTENT_TYPE) else {
        return false;
    };
    match value.as_bytes().strip_prefix(b"application/grpc") {
        Some(rest) => rest.is_empty() || rest[0] == b'+',
        None => false,
    }
}

/// The values of a header joined by commas; borrowed if there is only one.
pub fn joined(headers: &HeaderMap, name: impl AsHeaderName) -> Option<Cow<'_, [u8]>> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?.as_bytes();
    let Some(second) = values.next() else {
        return Some(first.into());
    };
    let mut all = first.to_vec();
    for value in std::iter::once(second).chain(values) {
        all.push(b',');
        all.extend_from_slice(value.as_bytes());
    }
    Some(all.into())
}

/// The name of a header or pseudo header, resolved when a resource is applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderKey {
    /// A header proper.
    Name(HeaderName),
    /// `:method`.
    Method,
    /// `:path`.
    Path,
    /// `:authority` and `host`.
    Authority,
    /// `:scheme`.
    Scheme,
    /// `:protocol`.
    Protocol,
    /// `:status`, on responses only.
    Status,
}

impl std::str::FromStr for HeaderKey {
    type Err = http::header::InvalidHeaderName;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let lower = name.to_ascii_lowercase();
        Ok(match lower.as_str() {
            ":method" => Self::Method,
            ":path" => Self::Path,
            ":authority" | "host" => Self::Authority,
            ":scheme" => Self::Scheme,
            ":protocol" => Self::Protocol,
            ":status" => Self::Status,
            _ => Self::Name(HeaderName::from_bytes(lower.as_bytes())?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_joined_by_commas() {
        let mut headers = HeaderMap::new();
        headers.append("x-a", HeaderValue::from_static("1"));
        assert_eq!(joined(&headers, "x-a").as_deref(), Some(&b"1"[..]));
        headers.append("x-a", HeaderValue::from_static("2"));
        assert_eq!(joined(&headers, "x-a").as_deref(), Some(&b"1,2"[..]));
        assert_eq!(joined(&headers, "x-b"), None);
    }

    #[test]
    fn grpc_is_told_by_content_type() {
        for (value, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc-web", false),
            ("application/json", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("content-type", HeaderValue::from_static(value));
            assert_eq!(is_grpc_content_type(&headers), expected, "{value}");
        }
    }
}
