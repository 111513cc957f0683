//! Listener filters from protobuf.

use xds::envoy::listener as proto;
use xds::envoy::listener::listener_filter_chain_match_predicate::Rule;
use xds::envoy::listener_filter::{http_inspector, original_dst, proxy_protocol, tls_inspector};
use xds::prost::Name;

use crate::any;
use crate::config::error::{ConfigError, Within};
use crate::config::listener::{ListenerFilter, ListenerFilterKind, Predicate};

/// The filters in order. `use_original_dst` implies `original_dst` behind them, as in Envoy.
pub(super) fn translate(
    filters: &[proto::ListenerFilter],
    use_original_dst: bool,
) -> Result<Vec<ListenerFilter>, ConfigError> {
    let mut translated = Vec::with_capacity(filters.len() + 1);
    for (index, filter) in filters.iter().enumerate() {
        let path = format_args!("listener_filters[{index}]");
        translated.push(listener_filter(filter).within(path)?);
    }
    let restores = |filter: &ListenerFilter| filter.kind == ListenerFilterKind::OriginalDst;
    if use_original_dst && !translated.iter().any(restores) {
        translated.push(ListenerFilter {
            kind: ListenerFilterKind::OriginalDst,
            disabled: None,
        });
    }
    Ok(translated)
}

fn listener_filter(proto: &proto::ListenerFilter) -> Result<ListenerFilter, ConfigError> {
    let config = match &proto.config_type {
        Some(proto::listener_filter::ConfigType::TypedConfig(config)) => config,
        Some(proto::listener_filter::ConfigType::ConfigDiscovery(_)) => {
            return Err(ConfigError::unsupported("config_discovery", "this field"));
        }
        None => return Err(ConfigError::new("typed_config", "is missing")),
    };
    let kind = kind(config).within("typed_config")?;
    let disabled = proto.filter_disabled.as_ref();
    Ok(ListenerFilter {
        kind,
        disabled: disabled
            .map(predicate)
            .transpose()
            .within("filter_disabled")?,
    })
}

fn kind(config: &xds::pb::google::protobuf::Any) -> Result<ListenerFilterKind, ConfigError> {
    let url = config.type_url.as_str();
    if url == original_dst::OriginalDst::type_url() {
        return Ok(ListenerFilterKind::OriginalDst);
    }
    if url == http_inspector::HttpInspector::type_url() {
        return Ok(ListenerFilterKind::HttpInspector);
    }
    if url == tls_inspector::TlsInspector::type_url() {
        // Fingerprints are only read by access log operators that are refused where they stand.
        return Ok(ListenerFilterKind::TlsInspector);
    }
    if url == proxy_protocol::ProxyProtocol::type_url() {
        let config: proxy_protocol::ProxyProtocol = any::unpack(config)?;
        if !config.rules.is_empty() {
            return Err(ConfigError::unsupported("rules", "storing TLVs"));
        }
        if !config.disallowed_versions.is_empty() {
            return Err(ConfigError::unsupported(
                "disallowed_versions",
                "this field",
            ));
        }
        return Ok(ListenerFilterKind::ProxyProtocol {
            optional: config.allow_requests_without_proxy_protocol,
        });
    }
    Err(ConfigError::unsupported(
        "",
        format!("listener filter \"{url}\""),
    ))
}

fn predicate(proto: &proto::ListenerFilterChainMatchPredicate) -> Result<Predicate, ConfigError> {
    let all = |set: &proto::listener_filter_chain_match_predicate::MatchSet| {
        set.rules
            .iter()
            .map(predicate)
            .collect::<Result<Vec<_>, _>>()
    };
    match &proto.rule {
        Some(Rule::AnyMatch(any)) => Ok(Predicate::Any(*any)),
        Some(Rule::OrMatch(set)) => Ok(Predicate::Or(all(set)?)),
        Some(Rule::AndMatch(set)) => Ok(Predicate::And(all(set)?)),
        Some(Rule::NotMatch(inner)) => Ok(Predicate::Not(Box::new(predicate(inner)?))),
        Some(Rule::DestinationPortRange(range)) => {
            let bound = |value: i32| u32::try_from(value).unwrap_or(0);
            Ok(Predicate::DestinationPort(
                bound(range.start)..bound(range.end),
            ))
        }
        None => Err(ConfigError::new("rule", "is missing")),
    }
}
