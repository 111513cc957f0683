//! `http[].corsPolicy`: which requests of scripts of other origins are allowed.

use mesh_api::route::cors::CorsPolicy;
use mesh_api::route::matcher::StringMatch;

use super::string_match::{self, WireStringMatch};
use crate::decode::jsonpb::{GoDuration, wire_enum};
use crate::decode::suggest::did_you_mean;
use crate::kinds::findings::Findings;
use crate::kinds::rules::{self, shared};
use crate::kinds::wire::wire;
use crate::manifest::path::FieldPath;

const METHODS: [&str; 10] = [
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE", "*",
];

wire! {
    WireCors {
        /// Deprecated: use allowOrigins.
        allow_origin: Vec<String>,
        /// Origins that are allowed.
        allow_origins: Vec<WireStringMatch>,
        /// Methods that are allowed (Access-Control-Allow-Methods); "*" is any.
        allow_methods: Vec<String>,
        /// Request headers that are allowed (Access-Control-Allow-Headers); "*" is any.
        allow_headers: Vec<String>,
        /// Response headers that scripts can read (Access-Control-Expose-Headers); "*" is any.
        expose_headers: Vec<String>,
        /// How long browsers may cache a preflight response (Access-Control-Max-Age), in whole seconds. By default
        /// the header is not sent.
        max_age: Option<GoDuration>,
        /// True to allow credentials such as cookies (Access-Control-Allow-Credentials). By default the header is
        /// not sent.
        allow_credentials: Option<bool>,
        /// FORWARD (default) forwards preflight requests of other origins to the service. IGNORE responds to them
        /// without allowing the origin.
        unmatched_preflights: UnmatchedPreflights,
    }
}

wire_enum!(
    UnmatchedPreflights {
        #[default]
        Unspecified = "UNSPECIFIED" / 0,
        Forward = "FORWARD" / 1,
        Ignore = "IGNORE" / 2,
    }
);

pub(super) fn read(
    wire: &WireCors,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> CorsPolicy {
    let allow_origins = origins(wire, path, findings);
    for (index, method) in wire.allow_methods.iter().enumerate() {
        if !METHODS.contains(&method.as_str()) {
            let at = path.field("allowMethods");
            findings
                .error(&at.index(index), format!("\"{method}\" is not a method"))
                .suggest_with(|| did_you_mean(method, &METHODS));
        }
    }
    header_names(&wire.allow_headers, &path.field("allowHeaders"), findings);
    header_names(&wire.expose_headers, &path.field("exposeHeaders"), findings);
    if wire.max_age.is_some_and(|age| age.0.subsec_nanos() != 0) {
        findings.error(&path.field("maxAge"), "the age must be whole seconds");
    }
    CorsPolicy {
        allow_origins,
        allow_methods: shared(&wire.allow_methods),
        allow_headers: shared(&wire.allow_headers),
        expose_headers: shared(&wire.expose_headers),
        max_age: wire.max_age.map(|age| age.0),
        allow_credentials: wire.allow_credentials,
        forward_unmatched_preflights: wire.unmatched_preflights != UnmatchedPreflights::Ignore,
    }
}

fn origins(wire: &WireCors, path: &FieldPath<'_>, findings: &mut Findings<'_>) -> Vec<StringMatch> {
    if !wire.allow_origin.is_empty() {
        findings.deprecated(&path.field("allowOrigin"), "allowOrigins");
    }
    let list = path.field("allowOrigins");
    let origins = wire.allow_origins.iter().enumerate();
    let origins: Vec<StringMatch> = origins
        .map(|(index, origin)| string_match::read(origin, false, &list.index(index), findings))
        .collect();
    if !origins.is_empty() {
        return origins;
    }
    let deprecated = wire.allow_origin.iter();
    deprecated
        .map(|origin| match origin.as_str() {
            "*" => StringMatch::Regex(".*".into()),
            origin => StringMatch::Exact(origin.into()),
        })
        .collect()
}

fn header_names(names: &[String], path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    for (index, name) in names.iter().enumerate().filter(|(_, name)| *name != "*") {
        if !rules::is_header_name(name) {
            let message = format!("\"{name}\" is not a header name");
            findings.error(&path.index(index), message);
        }
    }
}
