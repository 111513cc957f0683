//! RBAC rules of the HTTP and the network filter (`envoy.config.rbac.v3`).

use ipnet::IpNet;
use xds::envoy::core::CidrRange;
use xds::envoy::http::rbac as http_rbac;
use xds::envoy::matcher::{PathMatcher, path_matcher};
use xds::envoy::network::rbac as network_rbac;
use xds::envoy::rbac as wire;

use super::matchers::{self, refuse};
use crate::config::error::{ConfigError, Within};
use crate::config::matcher::StringMatcher;
use crate::config::matcher::metadata::MetadataMatcher;
use crate::config::rbac::{Action, Permission, Policies, Policy, Principal, Rbac};

/// `envoy.extensions.filters.http.rbac.v3.RBAC`.
pub fn http(proto: &http_rbac::Rbac) -> Result<Rbac, ConfigError> {
    refuse(proto.matcher.is_some(), "matcher")?;
    refuse(proto.shadow_matcher.is_some(), "shadow_matcher")?;
    Ok(Rbac {
        stat_prefix: proto.rules_stat_prefix.as_str().into(),
        rules: rules(proto.rules.as_ref()).within("rules")?,
        shadow_rules: rules(proto.shadow_rules.as_ref()).within("shadow_rules")?,
    })
}

/// `envoy.extensions.filters.network.rbac.v3.RBAC`.
pub fn network(proto: &network_rbac::Rbac) -> Result<Rbac, ConfigError> {
    refuse(proto.matcher.is_some(), "matcher")?;
    refuse(proto.shadow_matcher.is_some(), "shadow_matcher")?;
    refuse(proto.delay_deny.is_some(), "delay_deny")?;
    refuse(proto.enforcement_type != 0, "enforcement_type")?;
    Ok(Rbac {
        // Envoy's prefixes end in a dot, the names of scopes do not.
        stat_prefix: proto.stat_prefix.trim_end_matches('.').into(),
        rules: rules(proto.rules.as_ref()).within("rules")?,
        shadow_rules: rules(proto.shadow_rules.as_ref()).within("shadow_rules")?,
    })
}

fn rules(proto: Option<&wire::Rbac>) -> Result<Option<Policies>, ConfigError> {
    let Some(proto) = proto else {
        return Ok(None);
    };
    refuse(
        proto.audit_logging_options.is_some(),
        "audit_logging_options",
    )?;
    let action = match proto.action() {
        wire::rbac::Action::Allow => Action::Allow,
        wire::rbac::Action::Deny => Action::Deny,
        wire::rbac::Action::Log => Action::Log,
    };
    // Envoy evaluates in the order of the names.
    let mut named: Vec<_> = proto.policies.iter().collect();
    named.sort_by_key(|(name, _)| name.as_str());
    let policies = named
        .into_iter()
        .map(|(name, proto)| policy(name, proto).within(format_args!("policies[{name:?}]")));
    Ok(Some(Policies {
        action,
        policies: policies.collect::<Result<_, _>>()?,
    }))
}

fn policy(name: &str, proto: &wire::Policy) -> Result<Policy, ConfigError> {
    refuse(proto.condition.is_some(), "condition")?;
    refuse(proto.checked_condition.is_some(), "checked_condition")?;
    Ok(Policy {
        name: name.into(),
        permissions: list(&proto.permissions, "permissions", permission)?,
        principals: list(&proto.principals, "principals", principal)?,
    })
}

fn list<W, M>(
    protos: &[W],
    field: &str,
    translate: impl Fn(&W) -> Result<M, ConfigError>,
) -> Result<Vec<M>, ConfigError> {
    let items = protos.iter().enumerate();
    items
        .map(|(n, proto)| translate(proto).within(format_args!("{field}[{n}]")))
        .collect()
}

#[allow(deprecated, reason = "control planes still send `metadata`")]
fn permission(proto: &wire::Permission) -> Result<Permission, ConfigError> {
    use wire::permission::Rule;
    let rule = proto.rule.as_ref();
    Ok(
        match rule.ok_or_else(|| ConfigError::new("rule", "missing"))? {
            Rule::AndRules(set) => {
                Permission::All(list(&set.rules, "and_rules.rules", permission)?)
            }
            Rule::OrRules(set) => Permission::Or(list(&set.rules, "or_rules.rules", permission)?),
            Rule::NotRule(not) => Permission::Not(Box::new(permission(not).within("not_rule")?)),
            Rule::Any(any) => Permission::Any(*any),
            Rule::Header(proto) => Permission::Header(matchers::header(proto).within("header")?),
            Rule::UrlPath(proto) => Permission::UrlPath(path(proto).within("url_path")?),
            Rule::DestinationIp(proto) => {
                Permission::DestinationIp(cidr(proto).within("destination_ip")?)
            }
            Rule::DestinationPort(port) => {
                Permission::DestinationPort(*port..port.saturating_add(1))
            }
            Rule::DestinationPortRange(range) => {
                let port = |value: i32| {
                    let valid = u32::try_from(value).ok().filter(|port| *port <= 65536);
                    valid.ok_or_else(|| {
                        ConfigError::new("destination_port_range", format!("not a port: {value}"))
                    })
                };
                Permission::DestinationPort(port(range.start)?..port(range.end)?)
            }
            Rule::RequestedServerName(proto) => Permission::RequestedServerName(
                matchers::string(proto).within("requested_server_name")?,
            ),
            Rule::Metadata(proto) => {
                Permission::Metadata(matchers::metadata(proto).within("metadata")?)
            }
            Rule::SourcedMetadata(proto) => {
                Permission::Metadata(sourced(proto).within("sourced_metadata")?)
            }
            Rule::Matcher(_) => return Err(ConfigError::unsupported("matcher", "an extension")),
            Rule::UriTemplate(_) => {
                return Err(ConfigError::unsupported("uri_template", "a path template"));
            }
        },
    )
}

#[allow(deprecated, reason = "control planes still send `source_ip`")]
fn principal(proto: &wire::Principal) -> Result<Principal, ConfigError> {
    use wire::principal::Identifier;
    let identifier = proto.identifier.as_ref();
    Ok(
        match identifier.ok_or_else(|| ConfigError::new("identifier", "missing"))? {
            Identifier::AndIds(set) => Principal::All(list(&set.ids, "and_ids.ids", principal)?),
            Identifier::OrIds(set) => Principal::Or(list(&set.ids, "or_ids.ids", principal)?),
            Identifier::NotId(not) => Principal::Not(Box::new(principal(not).within("not_id")?)),
            Identifier::Any(any) => Principal::Any(*any),
            Identifier::Authenticated(proto) => {
                let name = proto.principal_name.as_ref().map(matchers::string);
                Principal::Authenticated(name.transpose().within("authenticated.principal_name")?)
            }
            Identifier::SourceIp(proto) => Principal::SourceIp(cidr(proto).within("source_ip")?),
            Identifier::DirectRemoteIp(proto) => {
                Principal::DirectRemoteIp(cidr(proto).within("direct_remote_ip")?)
            }
            Identifier::RemoteIp(proto) => Principal::RemoteIp(cidr(proto).within("remote_ip")?),
            Identifier::Header(proto) => {
                Principal::Header(matchers::header(proto).within("header")?)
            }
            Identifier::UrlPath(proto) => Principal::UrlPath(path(proto).within("url_path")?),
            Identifier::Metadata(proto) => {
                Principal::Metadata(matchers::metadata(proto).within("metadata")?)
            }
            Identifier::SourcedMetadata(proto) => {
                Principal::Metadata(sourced(proto).within("sourced_metadata")?)
            }
            Identifier::FilterState(_) => {
                return Err(ConfigError::unsupported("filter_state", "filter state"));
            }
            Identifier::Custom(_) => {
                return Err(ConfigError::unsupported("custom", "an extension"));
            }
        },
    )
}

fn sourced(proto: &wire::SourcedMetadata) -> Result<MetadataMatcher, ConfigError> {
    if proto.metadata_source() != wire::MetadataSource::Dynamic {
        let what = "metadata of the route";
        return Err(ConfigError::unsupported("metadata_source", what));
    }
    let matcher = proto.metadata_matcher.as_ref();
    let matcher = matcher.ok_or_else(|| ConfigError::new("metadata_matcher", "missing"))?;
    matchers::metadata(matcher).within("metadata_matcher")
}

fn path(proto: &PathMatcher) -> Result<StringMatcher, ConfigError> {
    match &proto.rule {
        Some(path_matcher::Rule::Path(proto)) => matchers::string(proto).within("path"),
        None => Err(ConfigError::new("path", "missing")),
    }
}

/// `CidrRange`.
pub fn cidr(proto: &CidrRange) -> Result<IpNet, ConfigError> {
    let invalid = || {
        let text = &proto.address_prefix;
        ConfigError::new(
            "address_prefix",
            format!("not an address range: \"{text}\""),
        )
    };
    let address = proto.address_prefix.parse().map_err(|_| invalid())?;
    let len = proto.prefix_len.as_ref().map_or(0, |len| len.value);
    let len = u8::try_from(len).map_err(|_| invalid())?;
    Ok(IpNet::new(address, len).map_err(|_| invalid())?.trunc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_in_the_order_of_their_names() {
        let any = wire::Policy {
            permissions: vec![wire::Permission {
                rule: Some(wire::permission::Rule::Any(true)),
            }],
            ..wire::Policy::default()
        };
        let proto = wire::Rbac {
            policies: ["b", "a", "c"]
                .map(|name| (name.to_owned(), any.clone()))
                .into(),
            ..wire::Rbac::default()
        };
        let policies = rules(Some(&proto)).unwrap().unwrap().policies;
        let names: Vec<&str> = policies.iter().map(|policy| &*policy.name).collect();
        assert_eq!(names, ["a", "b", "c"]);
    }

    #[test]
    fn what_is_not_understood_is_named() {
        let policy = wire::Policy {
            principals: vec![wire::Principal { identifier: None }],
            ..wire::Policy::default()
        };
        let proto = wire::Rbac {
            policies: [("p".to_owned(), policy)].into(),
            ..wire::Rbac::default()
        };
        assert_eq!(
            rules(Some(&proto)).unwrap_err().to_string(),
            "policies[\"p\"].principals[0].identifier: missing"
        );
    }

    #[test]
    fn ranges_are_truncated() {
        let proto = CidrRange {
            address_prefix: "10.1.2.3".into(),
            prefix_len: Some(xds::pb::google::protobuf::UInt32Value { value: 8 }),
        };
        assert_eq!(cidr(&proto).unwrap().to_string(), "10.0.0.0/8");
    }
}
