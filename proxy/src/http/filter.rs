//! The HTTP filter: one trait, called in the order of the connection manager's `http_filters`.
//!
//! Calls are synchronous; a filter that must wait (a delay, an external decision) returns a boxed future in
//! [`Step::Wait`]. The common case therefore allocates nothing and crosses no `await`.

use std::fmt::Debug;

/// One configured HTTP filter, shared by all requests of its connection manager.
///
/// Per-request state lives in the stream that is passed in.
pub trait Filter: Debug + Send + Sync {
    /// The filter's name as in `http_filters`, by which routes override it (`typed_per_filter_config`).
    fn name(&self) -> &str;
}
