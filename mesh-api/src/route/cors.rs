//! Cross-origin requests.

use std::sync::Arc;
use std::time::Duration;

use super::matcher::StringMatch;

/// `CorsPolicy`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorsPolicy {
    /// Accepted origins.
    pub allow_origins: Vec<StringMatch>,
    /// `Access-Control-Allow-Methods`.
    pub allow_methods: Vec<Arc<str>>,
    /// `Access-Control-Allow-Headers`.
    pub allow_headers: Vec<Arc<str>>,
    /// `Access-Control-Expose-Headers`.
    pub expose_headers: Vec<Arc<str>>,
    /// `Access-Control-Max-Age`, whole seconds.
    pub max_age: Option<Duration>,
    /// `Access-Control-Allow-Credentials`.
    pub allow_credentials: Option<bool>,
    /// Preflights of other origins go to the server (`FORWARD`, default) or are answered (`IGNORE`).
    pub forward_unmatched_preflights: bool,
}
