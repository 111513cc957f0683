//! What: operations and conditions about destinations.

use ipnet::IpNet;
use mesh_api::authz::{AuthzPath, AuthzString, Condition, ConditionKey, Operation, Values};
use xds::envoy::matcher::{
    PathMatcher, RegexMatcher, StringMatcher, path_matcher, string_matcher::MatchPattern,
};
use xds::envoy::rbac::{
    Permission,
    permission::{Rule, Set},
};
use xds::envoy::route::{HeaderMatcher, header_matcher::HeaderMatchSpecifier};

use super::{Reading, principal};
use crate::wire;

/// Everything.
pub(super) fn any() -> Permission {
    permission(Rule::Any(true))
}

/// Whether a condition is about the destination.
pub(super) fn is_about(key: &ConditionKey) -> bool {
    matches!(
        key,
        ConditionKey::DestinationIp | ConditionKey::DestinationPort | ConditionKey::ConnectionSni
    )
}

/// All fields of an operation; `None` if the rule falls.
pub(super) fn operation(operation: &Operation, reading: Reading<'_>) -> Option<Vec<Permission>> {
    let mut all = field(&operation.ports, |port| {
        permission(Rule::DestinationPort((*port).into()))
    });
    if operation.needs_http() {
        all.extend(if reading.http {
            let hosts = field(&operation.hosts, |host| {
                header(":authority", wire::ignore_case(principal::string(host)))
            });
            let methods = field(&operation.methods, |method| {
                header(":method", principal::string(method))
            });
            [hosts, methods, field(&operation.paths, path)].concat()
        } else {
            reading.without_http()?
        });
    }
    Some(all)
}

/// A condition about the destination; `None` if it cannot be read.
pub(super) fn condition(condition: &Condition) -> Option<Vec<Permission>> {
    let values = &condition.values;
    Some(match &condition.key {
        ConditionKey::DestinationIp => field(values, |value| destination_ip(value)),
        ConditionKey::DestinationPort => field(values, |value| destination_port(value)),
        ConditionKey::ConnectionSni => field(values, |value| {
            permission(Rule::RequestedServerName(principal::string(
                &AuthzString::parse(value),
            )))
        }),
        _ => return None,
    })
}

fn path(path: &AuthzPath) -> Permission {
    let matcher = match path {
        AuthzPath::Template(text) => StringMatcher {
            match_pattern: Some(MatchPattern::SafeRegex(RegexMatcher {
                regex: template_regex(text),
                ..Default::default()
            })),
            ..Default::default()
        },
        AuthzPath::Text(text) => principal::string(text),
    };
    permission(Rule::UrlPath(PathMatcher {
        rule: Some(path_matcher::Rule::Path(matcher)),
    }))
}

/// A template as an expression for the whole path: `{*}` is one segment that is not
/// empty, `{**}` the rest.
///
/// Differs from Istio, which sends Envoy's URI templates; those know fewer characters
/// in a segment.
fn template_regex(template: &str) -> String {
    let segments = template.split('/').map(|segment| match segment {
        "{*}" => "[^/]+".to_owned(),
        "{**}" => ".*".to_owned(),
        literal => escaped(literal),
    });
    segments.collect::<Vec<_>>().join("/")
}

/// Text that an expression matches literally.
fn escaped(text: &str) -> String {
    let mut regex = String::with_capacity(text.len());
    for character in text.chars() {
        if r"\.+*?()|[]{}^$".contains(character) {
            regex.push('\\');
        }
        regex.push(character);
    }
    regex
}

fn destination_ip(text: &str) -> Permission {
    let net = text
        .parse()
        .or_else(|_| text.parse().map(|ip: std::net::IpAddr| IpNet::from(ip)));
    net.map_or_else(
        |_| nothing(),
        |net: IpNet| permission(Rule::DestinationIp(wire::cidr(net))),
    )
}

fn destination_port(text: &str) -> Permission {
    let port = text.parse::<u16>();
    port.map_or_else(
        |_| nothing(),
        |port| permission(Rule::DestinationPort(port.into())),
    )
}

fn header(name: &str, value: StringMatcher) -> Permission {
    permission(Rule::Header(HeaderMatcher {
        name: name.to_owned(),
        header_match_specifier: Some(HeaderMatchSpecifier::StringMatch(value)),
        ..Default::default()
    }))
}

/// One of `any` and none of `none`.
fn field<T>(values: &Values<T>, one: impl Fn(&T) -> Permission) -> Vec<Permission> {
    let mut all = Vec::new();
    if !values.any.is_empty() {
        all.push(either(values.any.iter().map(&one).collect()));
    }
    if !values.none.is_empty() {
        all.push(not(either(values.none.iter().map(&one).collect())));
    }
    all
}

fn either(mut rules: Vec<Permission>) -> Permission {
    match rules.len() {
        1 => rules.remove(0),
        _ => permission(Rule::OrRules(Set { rules })),
    }
}

fn not(rule: Permission) -> Permission {
    permission(Rule::NotRule(Box::new(rule)))
}

/// What cannot be read matches nothing.
fn nothing() -> Permission {
    not(any())
}

fn permission(rule: Rule) -> Permission {
    Permission { rule: Some(rule) }
}

#[cfg(test)]
mod tests {
    use super::template_regex;

    #[test]
    fn templates_are_expressions_for_the_whole_path() {
        for (template, regex) in [
            ("/users/{*}/files", "/users/[^/]+/files"),
            ("/a.b+(c)/{*}/{**}", r"/a\.b\+\(c\)/[^/]+/.*"),
            ("/{**}", "/.*"),
        ] {
            assert_eq!(template_regex(template), regex);
        }
    }
}
