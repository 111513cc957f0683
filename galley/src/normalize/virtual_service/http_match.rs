//! Match conditions of HTTP rules.

use std::collections::BTreeMap;
use std::sync::Arc;

use mesh_api::route::matcher::{HttpMatch, StringMatch};

use super::{gateways, port};
use crate::crd::virtual_service as wire;
use crate::manifest::path::FieldPath;
use crate::normalize::{Fault, Scope, labels, some};

pub(super) fn http_match(
    m: &wire::HttpMatch,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
) -> Result<HttpMatch, Fault> {
    Ok(HttpMatch {
        name: m.name.as_str().into(),
        uri: m.uri.as_ref().map(string_match),
        ignore_uri_case: m.ignore_uri_case,
        scheme: m.scheme.as_ref().map(string_match),
        method: m.method.as_ref().map(string_match),
        authority: m.authority.as_ref().map(string_match),
        headers: matchers(&m.headers),
        without_headers: matchers(&m.without_headers),
        query_params: matchers(&m.query_params),
        port: port(m.port, path, scope)?,
        source_labels: labels(&m.source_labels),
        source_namespace: some(&m.source_namespace),
        gateways: gateways(&m.gateways, scope),
        stat_prefix: some(&m.stat_prefix),
    })
}

/// `{}` and the regex `*` ask for presence only.
pub(super) fn string_match(matcher: &wire::StringMatch) -> StringMatch {
    if let Some(exact) = &matcher.exact {
        return StringMatch::Exact(exact.as_str().into());
    }
    if let Some(prefix) = &matcher.prefix {
        return StringMatch::Prefix(prefix.as_str().into());
    }
    match matcher.regex.as_deref() {
        None | Some("*") => StringMatch::Present,
        Some(regex) => StringMatch::Regex(regex.into()),
    }
}

fn matchers(map: &BTreeMap<String, wire::StringMatch>) -> BTreeMap<Arc<str>, StringMatch> {
    map.iter()
        .map(|(name, matcher)| (name.as_str().into(), string_match(matcher)))
        .collect()
}
