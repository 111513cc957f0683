//! Filter `CORS`. Source: Istio `createCorsFilter`.

use std::time::Duration;

use mesh_api::regex::escape;
use mesh_api::route::cors::CorsPolicy;
use mesh_api::route::matcher::StringMatch;

use crate::crd::gateway_api as wire;
use crate::manifest::path::FieldPath;
use crate::normalize::{Fault, Scope, shared};

/// Every origin that is one: scheme, host and perhaps a port.
const ANY_ORIGIN: &str = r"[a-zA-Z][a-zA-Z0-9+.-]*://[^/\s?#]+";

pub(super) fn cors(
    wire: &wire::Cors,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
) -> Result<CorsPolicy, Fault> {
    let list = path.field("allowOrigins");
    let origins = wire.allow_origins.iter().enumerate();
    let origins = origins.map(|(index, text)| origin(text, &list.index(index), scope));
    let max_age = wire.max_age.filter(|seconds| *seconds > 0);
    Ok(CorsPolicy {
        allow_origins: origins.collect::<Result<_, _>>()?,
        allow_methods: shared(&wire.allow_methods),
        allow_headers: shared(&wire.allow_headers),
        expose_headers: shared(&wire.expose_headers),
        max_age: max_age.map(|seconds| Duration::from_secs(seconds.into())),
        allow_credentials: wire.allow_credentials.filter(|allowed| *allowed),
        forward_unmatched_preflights: false,
    })
}

/// A `*` stands for any text; alone it stands for every origin.
fn origin(text: &str, path: &FieldPath<'_>, scope: &Scope<'_>) -> Result<StringMatch, Fault> {
    if text == "*" {
        return Ok(StringMatch::Regex(ANY_ORIGIN.into()));
    }
    Ok(match text.split_once('*') {
        None => StringMatch::Exact(text.into()),
        Some((prefix, "")) => StringMatch::Prefix(prefix.into()),
        Some(_) => {
            let parts: Vec<String> = text.split('*').map(escape).collect();
            StringMatch::Regex(scope.composed(&parts.join(".*"), path)?)
        }
    })
}
