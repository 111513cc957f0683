//! `RouteMatch`.

use mesh_api::regex::Regex;
use xds::envoy::route as wire;
use xds::envoy::route::route_match::PathSpecifier;

use crate::any::bool_or;
use crate::config::error::{ConfigError, Within};
use crate::config::matcher::StringMatcher;
use crate::config::route::{PathMatch, RouteMatch};
use crate::matchers::{self, headers, invalid_regex, query, refuse, runtime_fraction};

/// What a request must look like.
pub(super) fn route_match(proto: &wire::RouteMatch) -> Result<RouteMatch, ConfigError> {
    let metadata = proto.dynamic_metadata.iter().enumerate();
    let metadata = metadata
        .map(|(n, proto)| matchers::metadata(proto).within(format_args!("dynamic_metadata[{n}]")));
    refuse(!proto.filter_state.is_empty(), "filter_state")?;
    refuse(!proto.cookies.is_empty(), "cookies")?;
    let tls = proto.tls_context.as_ref();
    Ok(RouteMatch {
        path: path(proto)?,
        headers: headers(&proto.headers)?,
        query: query(&proto.query_parameters)?,
        metadata: metadata.collect::<Result<_, _>>()?,
        grpc: proto.grpc.is_some(),
        fraction: proto.runtime_fraction.as_ref().and_then(runtime_fraction),
        client_certificate_presented: tls.and_then(|tls| Some(tls.presented.as_ref()?.value)),
        client_certificate_validated: tls.and_then(|tls| Some(tls.validated.as_ref()?.value)),
    })
}

fn path(proto: &wire::RouteMatch) -> Result<PathMatch, ConfigError> {
    let ignore_case = !bool_or(proto.case_sensitive.as_ref(), true);
    let text = |value: &str| Box::<str>::from(value);
    Ok(match &proto.path_specifier {
        Some(PathSpecifier::Prefix(prefix)) => {
            PathMatch::Prefix(StringMatcher::prefix(prefix, ignore_case), text(prefix))
        }
        Some(PathSpecifier::Path(path)) => {
            PathMatch::Exact(StringMatcher::exact(path, ignore_case), text(path))
        }
        Some(PathSpecifier::SafeRegex(proto)) => PathMatch::Regex(
            Regex::full_match(&proto.regex)
                .map_err(|error| invalid_regex(&proto.regex, &error))
                .within("safe_regex")?,
        ),
        Some(PathSpecifier::PathSeparatedPrefix(prefix)) => {
            PathMatch::Segments(StringMatcher::prefix(prefix, ignore_case), text(prefix))
        }
        Some(PathSpecifier::ConnectMatcher(_)) => PathMatch::Connect,
        Some(PathSpecifier::PathMatchPolicy(_)) => {
            return Err(ConfigError::unsupported(
                "path_match_policy",
                "an extension",
            ));
        }
        None => return Err(ConfigError::new("path_specifier", "missing")),
    })
}
