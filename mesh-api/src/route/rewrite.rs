//! Changes before forwarding.

use std::sync::Arc;

/// `HTTPRewrite`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewrite {
    /// The path.
    pub path: Option<PathRewrite>,
    /// The authority.
    pub authority: Option<Arc<str>>,
}

/// `uri` or `uriRegexRewrite`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathRewrite {
    /// Replaces what the match covered: the prefix, or the whole path.
    Uri(Arc<str>),
    /// Replaces by expression.
    Regex {
        /// RE2.
        pattern: Arc<str>,
        /// With `\1`.
        substitution: Arc<str>,
    },
}
