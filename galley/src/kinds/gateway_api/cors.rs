//! Filter `CORS`. Source: Istio `createCorsFilter`.

use std::time::Duration;

use mesh_api::regex::escape;
use mesh_api::route::cors::CorsPolicy;
use mesh_api::route::matcher::StringMatch;

use crate::kinds::findings::Findings;
use crate::kinds::rules::{self, each, shared};
use crate::kinds::wire::wire;
use crate::manifest::path::FieldPath;

/// Every origin that is one: scheme, host and perhaps a port.
const ANY_ORIGIN: &str = r"[a-zA-Z][a-zA-Z0-9+.-]*://[^/\s?#]+";

wire! {
    WireCors {
        allow_origins: Vec<String>,
        allow_credentials: Option<bool>,
        allow_methods: Vec<String>,
        allow_headers: Vec<String>,
        expose_headers: Vec<String>,
        max_age: Option<u32>,
    }
}

pub(super) fn read(
    wire: &WireCors,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<CorsPolicy> {
    let list = path.field("allowOrigins");
    let origins = each(
        &wire.allow_origins,
        &list,
        findings,
        |text, at, findings| origin(text, at, findings),
    );
    let max_age = wire.max_age.filter(|seconds| *seconds > 0);
    Some(CorsPolicy {
        allow_origins: origins?,
        allow_methods: shared(&wire.allow_methods),
        allow_headers: shared(&wire.allow_headers),
        expose_headers: shared(&wire.expose_headers),
        max_age: max_age.map(|seconds| Duration::from_secs(seconds.into())),
        allow_credentials: wire.allow_credentials.filter(|allowed| *allowed),
        forward_unmatched_preflights: false,
    })
}

/// A `*` stands for any text; alone it stands for every origin.
fn origin(text: &str, path: &FieldPath<'_>, findings: &mut Findings<'_>) -> Option<StringMatch> {
    if text == "*" {
        return Some(StringMatch::Regex(ANY_ORIGIN.into()));
    }
    Some(match text.split_once('*') {
        None => StringMatch::Exact(text.into()),
        Some((prefix, "")) => StringMatch::Prefix(prefix.into()),
        Some(_) => {
            let parts: Vec<String> = text.split('*').map(escape).collect();
            StringMatch::Regex(rules::composed_regex(&parts.join(".*"), path, findings)?)
        }
    })
}
