//! Filter `CORS`. Source: Istio `createCorsFilter`.

use std::sync::Arc;
use std::time::Duration;

use mesh_api::route::cors::CorsPolicy;
use mesh_api::route::matcher::StringMatch;

use crate::crd::gateway_api as wire;
use crate::normalize::shared;

/// Every origin that is one: scheme, host and perhaps a port.
const ANY_ORIGIN: &str = r"[a-zA-Z][a-zA-Z0-9+.-]*://[^/\s?#]+";

pub(super) fn cors(wire: &wire::Cors) -> CorsPolicy {
    let max_age = wire.max_age.filter(|seconds| *seconds > 0);
    CorsPolicy {
        allow_origins: wire.allow_origins.iter().map(|text| origin(text)).collect(),
        allow_methods: shared(&wire.allow_methods),
        allow_headers: shared(&wire.allow_headers),
        expose_headers: shared(&wire.expose_headers),
        max_age: max_age.map(|seconds| Duration::from_secs(seconds.into())),
        allow_credentials: wire.allow_credentials.filter(|allowed| *allowed),
        forward_unmatched_preflights: false,
    }
}

/// A `*` stands for any text; alone it stands for every origin.
fn origin(text: &str) -> StringMatch {
    if text == "*" {
        return StringMatch::Regex(ANY_ORIGIN.into());
    }
    match text.split_once('*') {
        None => StringMatch::Exact(text.into()),
        Some((prefix, "")) => StringMatch::Prefix(prefix.into()),
        Some(_) => {
            let parts: Vec<String> = text.split('*').map(regex::escape).collect();
            StringMatch::Regex(Arc::from(parts.join(".*")))
        }
    }
}
