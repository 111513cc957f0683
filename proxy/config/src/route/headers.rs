//! Header operations as executed: `request_headers_to_add` and its siblings of one level.

use http::header::{HeaderName, HeaderValue};

use crate::format::Format;

/// The operations of one level: route configuration, virtual host, route or weighted cluster.
#[derive(Debug, Default)]
pub struct HeaderOps {
    /// On the request.
    pub request: HeaderEdits,
    /// On the response.
    pub response: HeaderEdits,
}

impl HeaderOps {
    /// True if nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.request.is_empty() && self.response.is_empty()
    }
}

/// Removals, then additions.
#[derive(Debug, Default)]
pub struct HeaderEdits {
    /// Names to remove.
    pub remove: Vec<HeaderName>,
    /// What to add, in order.
    pub add: Vec<HeaderAdd>,
    /// Some value mentions the request's headers.
    pub reads_request: bool,
}

impl HeaderEdits {
    /// True if nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.add.is_empty()
    }
}

/// `HeaderValueOption`.
#[derive(Debug)]
pub struct HeaderAdd {
    /// Which header; `:authority` is `host`.
    pub name: HeaderTarget,
    /// Its value.
    pub value: AddValue,
    /// What to do if it is there already.
    pub action: AppendAction,
    /// Add it even if the value comes out empty.
    pub keep_empty: bool,
}

/// What an addition may write to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderTarget {
    /// A header, or `:authority` (as `host`).
    Name(HeaderName),
    /// `:path`.
    Path,
    /// `:method`.
    Method,
}

/// A value: fixed, or put together for each request.
#[derive(Debug)]
pub enum AddValue {
    /// Always the same.
    Fixed(HeaderValue),
    /// With `%OPERATORS%`.
    Format(Format),
}

/// `HeaderAppendAction`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AppendAction {
    /// A further value.
    #[default]
    AppendIfExistsOrAdd,
    /// Only if there is none.
    AddIfAbsent,
    /// Instead of any there.
    OverwriteIfExistsOrAdd,
    /// Only instead of one there.
    OverwriteIfExists,
}
