//! Who: sources and conditions about clients.

use std::sync::Arc;

use ipnet::IpNet;
use mesh_api::authz::{AuthzString, Condition, ConditionKey, Source, Values};
use xds::envoy::matcher::{
    ListMatcher, MetadataMatcher, StringMatcher, ValueMatcher, list_matcher, metadata_matcher,
    value_matcher,
};
use xds::envoy::rbac::{
    Principal, SourcedMetadata,
    principal::{Authenticated, Identifier, Set},
};
use xds::envoy::route::{HeaderMatcher, header_matcher::HeaderMatchSpecifier};

use super::Reading;
use crate::wire;

/// Where the token filter leaves the verified token.
const JWT_FILTER: &str = "envoy.filters.http.jwt_authn";
/// The key that it leaves the payload under.
const JWT_PAYLOAD: &str = "payload";

/// Everyone.
pub(super) fn any() -> Principal {
    principal(Identifier::Any(true))
}

/// All fields of a source; `None` if the rule falls.
pub(super) fn source(source: &Source, reading: Reading<'_>) -> Option<Vec<Principal>> {
    let identities = |text: &AuthzString| identity(text, reading);
    let mut all = field(&source.principals, identities);
    all.extend(field(&source.namespaces, namespace));
    all.extend(field(&source.service_accounts, |(namespace, name)| {
        account(namespace, name)
    }));
    all.extend(field(&source.ip_blocks, |net| direct_ip(*net)));
    all.extend(field(&source.remote_ip_blocks, |net| remote_ip(*net)));
    if !source.request_principals.is_empty() {
        all.extend(if reading.http {
            field(&source.request_principals, request_principal)
        } else {
            reading.without_http()?
        });
    }
    Some(all)
}

/// A condition about the client; `None` if the rule falls.
pub(super) fn condition(condition: &Condition, reading: Reading<'_>) -> Option<Vec<Principal>> {
    let values = &condition.values;
    let text = |value: &Arc<str>| AuthzString::parse(value);
    let needs_http = matches!(
        condition.key,
        ConditionKey::RequestHeader(_)
            | ConditionKey::RequestPrincipal
            | ConditionKey::RequestAudiences
            | ConditionKey::RequestPresenter
            | ConditionKey::RequestClaim(_)
    );
    if needs_http && !reading.http {
        return reading.without_http();
    }
    Some(match &condition.key {
        ConditionKey::RequestHeader(name) => field(values, |value| header(name, &text(value))),
        ConditionKey::SourceIp => field(values, |value| ip(value, direct_ip)),
        ConditionKey::RemoteIp => field(values, |value| ip(value, remote_ip)),
        ConditionKey::SourceNamespace => field(values, |value| namespace(&text(value))),
        ConditionKey::SourcePrincipal => field(values, |value| identity(&text(value), reading)),
        ConditionKey::SourceServiceAccount => field(values, |value| match value.split_once('/') {
            Some((namespace, name)) => account(namespace, name),
            None => nobody(),
        }),
        ConditionKey::RequestPrincipal => field(values, |value| request_principal(&text(value))),
        ConditionKey::RequestAudiences => {
            field(values, |value| claim(&["aud".into()], &text(value)))
        }
        ConditionKey::RequestPresenter => {
            field(values, |value| claim(&["azp".into()], &text(value)))
        }
        ConditionKey::RequestClaim(path) => field(values, |value| claim(path, &text(value))),
        ConditionKey::DestinationIp
        | ConditionKey::DestinationPort
        | ConditionKey::ConnectionSni => Vec::new(),
    })
}

/// One of `any` and none of `none`.
fn field<T>(values: &Values<T>, one: impl Fn(&T) -> Principal) -> Vec<Principal> {
    let mut all = Vec::new();
    if !values.any.is_empty() {
        all.push(either(values.any.iter().map(&one).collect()));
    }
    if !values.none.is_empty() {
        all.push(not(either(values.none.iter().map(&one).collect())));
    }
    all
}

/// A peer certificate's identity. A principal of the own trust domain is also one of its aliases.
fn identity(text: &AuthzString, reading: Reading<'_>) -> Principal {
    let certificate = |name: StringMatcher| {
        principal(Identifier::Authenticated(Authenticated {
            principal_name: Some(name),
        }))
    };
    let under = |text: &str, build: fn(&str) -> StringMatcher| {
        let (domain, rest) = text.split_once('/').unwrap_or((text, ""));
        let known =
            reading.trust_domains.iter().any(|own| own == domain) || domain == "cluster.local";
        let names = if known && text.contains('/') {
            reading
                .trust_domains
                .iter()
                .map(|own| format!("spiffe://{own}/{rest}"))
                .collect()
        } else {
            vec![format!("spiffe://{text}")]
        };
        either(names.iter().map(|name| certificate(build(name))).collect())
    };
    match text {
        AuthzString::Exact(text) => under(text, wire::exact),
        AuthzString::Prefix(text) => under(text, wire::prefix),
        AuthzString::Suffix(text) => certificate(wire::suffix(text)),
        AuthzString::Present => certificate(wire::regex(".+")),
    }
}

fn namespace(text: &AuthzString) -> Principal {
    let pattern = match text {
        AuthzString::Exact(text) => regex::escape(text),
        AuthzString::Prefix(text) => format!("{}[^/]*", regex::escape(text)),
        AuthzString::Suffix(text) => format!("[^/]*{}", regex::escape(text)),
        AuthzString::Present => "[^/]+".to_owned(),
    };
    principal(Identifier::Authenticated(Authenticated {
        principal_name: Some(wire::regex(&format!("spiffe://[^/]+/ns/{pattern}/sa/.+"))),
    }))
}

fn account(namespace: &str, name: &str) -> Principal {
    principal(Identifier::Authenticated(Authenticated {
        principal_name: Some(wire::suffix(&format!("/ns/{namespace}/sa/{name}"))),
    }))
}

fn direct_ip(net: IpNet) -> Principal {
    principal(Identifier::DirectRemoteIp(wire::cidr(net)))
}

fn remote_ip(net: IpNet) -> Principal {
    principal(Identifier::RemoteIp(wire::cidr(net)))
}

fn ip(text: &str, build: fn(IpNet) -> Principal) -> Principal {
    let net = text
        .parse()
        .or_else(|_| text.parse().map(|ip: std::net::IpAddr| IpNet::from(ip)));
    net.map_or_else(|_| nobody(), build)
}

/// `iss/sub`: the issuer may hold slashes, so the last one divides.
fn request_principal(text: &AuthzString) -> Principal {
    let issuer = |value: StringMatcher| payload(&["iss".into()], value);
    let subject = |value: StringMatcher| payload(&["sub".into()], value);
    match text {
        AuthzString::Present => both(issuer(wire::regex(".+")), subject(wire::regex(".+"))),
        AuthzString::Exact(text) => match text.rsplit_once('/') {
            Some((iss, sub)) => both(issuer(wire::exact(iss)), subject(wire::exact(sub))),
            None => nobody(),
        },
        AuthzString::Prefix(text) => match text.rsplit_once('/') {
            Some((iss, "")) => both(issuer(wire::exact(iss)), subject(wire::regex(".+"))),
            Some((iss, sub)) => both(issuer(wire::exact(iss)), subject(wire::prefix(sub))),
            None => both(issuer(wire::prefix(text)), subject(wire::regex(".+"))),
        },
        AuthzString::Suffix(text) => match text.rsplit_once('/') {
            Some((iss, sub)) => both(issuer(wire::suffix(iss)), subject(wire::exact(sub))),
            None => both(issuer(wire::regex(".+")), subject(wire::suffix(text))),
        },
    }
}

/// A claim: a string, or a list that has the string.
fn claim(path: &[Arc<str>], text: &AuthzString) -> Principal {
    payload_value(path, string(text))
}

fn payload(path: &[Arc<str>], value: StringMatcher) -> Principal {
    payload_value(path, value)
}

fn payload_value(path: &[Arc<str>], value: StringMatcher) -> Principal {
    let segment = |key: &str| metadata_matcher::PathSegment {
        segment: Some(metadata_matcher::path_segment::Segment::Key(key.to_owned())),
    };
    let matcher = |pattern| MetadataMatcher {
        filter: JWT_FILTER.to_owned(),
        path: std::iter::once(JWT_PAYLOAD)
            .chain(path.iter().map(|p| &**p))
            .map(segment)
            .collect(),
        value: Some(ValueMatcher {
            match_pattern: Some(pattern),
        }),
        ..Default::default()
    };
    let one = value_matcher::MatchPattern::StringMatch(value.clone());
    let member = ValueMatcher {
        match_pattern: Some(value_matcher::MatchPattern::StringMatch(value)),
    };
    let list = value_matcher::MatchPattern::ListMatch(Box::new(ListMatcher {
        match_pattern: Some(list_matcher::MatchPattern::OneOf(Box::new(member))),
    }));
    either(vec![metadata(matcher(one)), metadata(matcher(list))])
}

fn metadata(matcher: MetadataMatcher) -> Principal {
    principal(Identifier::SourcedMetadata(SourcedMetadata {
        metadata_matcher: Some(matcher),
        ..Default::default()
    }))
}

fn header(name: &str, value: &AuthzString) -> Principal {
    let specifier = match value {
        AuthzString::Present => HeaderMatchSpecifier::PresentMatch(true),
        value => HeaderMatchSpecifier::StringMatch(string(value)),
    };
    principal(Identifier::Header(HeaderMatcher {
        name: name.to_owned(),
        header_match_specifier: Some(specifier),
        ..Default::default()
    }))
}

/// Istio's string forms.
pub(super) fn string(text: &AuthzString) -> StringMatcher {
    match text {
        AuthzString::Exact(text) => wire::exact(text),
        AuthzString::Prefix(text) => wire::prefix(text),
        AuthzString::Suffix(text) => wire::suffix(text),
        AuthzString::Present => wire::regex(".+"),
    }
}

fn both(a: Principal, b: Principal) -> Principal {
    principal(Identifier::AndIds(Set { ids: vec![a, b] }))
}

fn either(mut ids: Vec<Principal>) -> Principal {
    match ids.len() {
        1 => ids.remove(0),
        _ => principal(Identifier::OrIds(Set { ids })),
    }
}

fn not(id: Principal) -> Principal {
    principal(Identifier::NotId(Box::new(id)))
}

/// What cannot be read matches no one.
fn nobody() -> Principal {
    not(any())
}

fn principal(identifier: Identifier) -> Principal {
    Principal {
        identifier: Some(identifier),
    }
}
