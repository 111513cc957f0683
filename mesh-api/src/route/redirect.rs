//! Answers that the proxy gives itself.

use std::sync::Arc;

use bytes::Bytes;

/// `HTTPRedirect`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// New path.
    pub path: Option<RedirectPath>,
    /// New authority.
    pub authority: Option<Arc<str>>,
    /// New port.
    pub port: Option<RedirectPort>,
    /// New scheme.
    pub scheme: Option<Scheme>,
    /// 301, 302, 303, 307 or 308.
    pub code: u16,
}

/// `uri` or `prefixRewrite`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedirectPath {
    /// The whole path.
    Full(Arc<str>),
    /// Only what the match's prefix covered.
    Prefix(Arc<str>),
}

/// `port` or `derivePort`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedirectPort {
    /// This port.
    Number(u16),
    /// 80 or 443 by scheme.
    ProtocolDefault,
    /// The port of the request.
    Request,
}

/// `http` or `https`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Plain.
    Http,
    /// TLS.
    Https,
}

/// `HTTPDirectResponse`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectResponse {
    /// 200 to 599.
    pub status: u16,
    /// The body.
    pub body: Option<Bytes>,
}
