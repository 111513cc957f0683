//! What an HTTP request must look like.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::GatewayRef;
use crate::labels::Labels;

/// `StringMatch`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum StringMatch {
    /// The whole text.
    Exact(Arc<str>),
    /// Its beginning.
    Prefix(Arc<str>),
    /// The whole text against an RE2 expression, already checked.
    Regex(Arc<str>),
    /// There, whatever its value (`{}` or regex `*`); only for headers and query parameters.
    Present,
}

/// `HTTPMatchRequest`: everything that is given must match.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HttpMatch {
    /// `name`; empty if it has none.
    pub name: Arc<str>,
    /// Path without query.
    pub uri: Option<StringMatch>,
    /// Exact and prefix of `uri` without case.
    pub ignore_uri_case: bool,
    /// `:scheme`.
    pub scheme: Option<StringMatch>,
    /// `:method`.
    pub method: Option<StringMatch>,
    /// `:authority`.
    pub authority: Option<StringMatch>,
    /// Headers, lower case.
    pub headers: BTreeMap<Arc<str>, StringMatch>,
    /// Headers that must not match; a missing one does not match.
    pub without_headers: BTreeMap<Arc<str>, StringMatch>,
    /// Query parameters.
    pub query_params: BTreeMap<Arc<str>, StringMatch>,
    /// Service port.
    pub port: Option<u16>,
    /// Labels of the client, decided when the configuration is made.
    pub source_labels: Labels,
    /// Namespace of the client, likewise.
    pub source_namespace: Option<Arc<str>>,
    /// Overrides the object's gateways; empty: not.
    pub gateways: Vec<GatewayRef>,
    /// `statPrefix`.
    pub stat_prefix: Option<Arc<str>>,
}

impl HttpMatch {
    /// True if every request matches that reaches the rule at all (Istio's catch-all).
    pub fn is_catch_all(&self) -> bool {
        let uri = match &self.uri {
            None => true,
            Some(StringMatch::Prefix(prefix)) => &**prefix == "/",
            Some(StringMatch::Regex(regex)) => &**regex == ".*",
            Some(_) => false,
        };
        uri && self.scheme.is_none()
            && self.method.is_none()
            && self.authority.is_none()
            && self.headers.is_empty()
            && self.without_headers.is_empty()
            && self.query_params.is_empty()
    }
}
