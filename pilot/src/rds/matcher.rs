//! What a request must look like.

use mesh_api::route::matcher::{HttpMatch, StringMatch};
use xds::envoy::matcher::StringMatcher;
use xds::envoy::route::{
    HeaderMatcher, QueryParameterMatcher, RouteMatch, header_matcher::HeaderMatchSpecifier,
    query_parameter_matcher::QueryParameterMatchSpecifier, route_match::PathSpecifier,
};

use crate::wire;

/// A match of every request.
pub(super) fn everything() -> RouteMatch {
    RouteMatch {
        path_specifier: Some(PathSpecifier::Prefix("/".to_owned())),
        ..Default::default()
    }
}

/// A match as the rule says.
pub(super) fn route_match(rule: &HttpMatch) -> RouteMatch {
    let pseudo_headers = [
        (":scheme", &rule.scheme),
        (":method", &rule.method),
        (":authority", &rule.authority),
    ];
    let pseudo_headers = pseudo_headers
        .into_iter()
        .filter_map(|(name, value)| Some(header(name, value.as_ref()?)));
    let headers = rule.headers.iter().map(|(name, value)| header(name, value));
    let without = rule
        .without_headers
        .iter()
        .map(|(name, value)| inverted(header(name, value)));
    RouteMatch {
        path_specifier: Some(path(rule.uri.as_ref())),
        case_sensitive: rule.ignore_uri_case.then(|| wire::boolean(false)),
        headers: headers.chain(without).chain(pseudo_headers).collect(),
        query_parameters: rule
            .query_params
            .iter()
            .map(|(name, v)| query_parameter(name, v))
            .collect(),
        ..Default::default()
    }
}

fn path(uri: Option<&StringMatch>) -> PathSpecifier {
    match uri {
        None | Some(StringMatch::Present) => PathSpecifier::Prefix("/".to_owned()),
        Some(StringMatch::Exact(path)) => PathSpecifier::Path(path.to_string()),
        Some(StringMatch::Prefix(prefix)) => PathSpecifier::Prefix(prefix.to_string()),
        Some(StringMatch::Regex(regex)) => PathSpecifier::SafeRegex(wire::regex_matcher(regex)),
    }
}

fn header(name: &str, value: &StringMatch) -> HeaderMatcher {
    let specifier = string(value).map_or(
        HeaderMatchSpecifier::PresentMatch(true),
        HeaderMatchSpecifier::StringMatch,
    );
    HeaderMatcher {
        name: name.to_owned(),
        header_match_specifier: Some(specifier),
        ..Default::default()
    }
}

/// A missing header has no forbidden value, so it passes.
fn inverted(header: HeaderMatcher) -> HeaderMatcher {
    let present = header.header_match_specifier == Some(HeaderMatchSpecifier::PresentMatch(true));
    HeaderMatcher {
        invert_match: true,
        treat_missing_header_as_empty: !present,
        ..header
    }
}

fn query_parameter(name: &str, value: &StringMatch) -> QueryParameterMatcher {
    let specifier = string(value).map_or(
        QueryParameterMatchSpecifier::PresentMatch(true),
        QueryParameterMatchSpecifier::StringMatch,
    );
    QueryParameterMatcher {
        name: name.to_owned(),
        query_parameter_match_specifier: Some(specifier),
    }
}

/// A string matcher; `None` if only presence counts.
pub(super) fn string(value: &StringMatch) -> Option<StringMatcher> {
    Some(match value {
        StringMatch::Exact(text) => wire::exact(text),
        StringMatch::Prefix(text) => wire::prefix(text),
        StringMatch::Regex(pattern) => wire::regex(pattern),
        StringMatch::Present => return None,
    })
}
