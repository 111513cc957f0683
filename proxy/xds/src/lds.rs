//! LDS: listeners and filter chains from protobuf.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use xds::envoy::core::CidrRange;
use xds::envoy::core::TrafficDirection;
use xds::envoy::listener as proto;
use xds::envoy::listener::filter_chain_match::ConnectionSourceType;
use xds::prost::Message;

use super::any;
use super::context::ApplyContext;
use crate::config::cluster::TcpKeepalive;
use crate::config::error::{ConfigError, Within};
use crate::config::filter_chain::{FilterChain, FilterChainMatch, SourceType, Transport};
use crate::config::listener::{BindOptions, Direction, Listener};
use crate::config::match_chain::overlapping;

mod listener_filters;
mod network_filters;

/// Envoy's default `listener_filters_timeout`.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(15);

/// Envoy's default is the system's, which is `net.core.somaxconn` everywhere.
const BACKLOG: u32 = 4096;

/// Translates a listener. Filter chains that are the same as in the last good version keep their `Arc`, by which workers
/// tell that their connections may stay.
pub fn listener(
    proto: &proto::Listener,
    ctx: &mut ApplyContext<'_>,
) -> Result<Listener, ConfigError> {
    refuse_unsupported(proto)?;
    let address = any::socket_address(proto.address.as_ref()).within("address")?;
    let mut additional_addresses = Vec::new();
    for (index, additional) in proto.additional_addresses.iter().enumerate() {
        let path = format!("additional_addresses[{index}].address");
        additional_addresses.push(any::socket_address(additional.address.as_ref()).within(path)?);
    }
    let known = KnownChains::of(ctx.previous_listener.as_deref());
    let mut filter_chains = Vec::new();
    for (index, chain) in proto.filter_chains.iter().enumerate() {
        let path = format!("filter_chains[{index}]");
        filter_chains.push(known.get_or_translate(chain, ctx).within(path)?);
    }
    let default_filter_chain = match &proto.default_filter_chain {
        Some(chain) => {
            let chain = known
                .get_or_translate(chain, ctx)
                .within("default_filter_chain")?;
            Some(chain)
        }
        None => None,
    };
    if filter_chains.is_empty() && default_filter_chain.is_none() {
        return Err(ConfigError::new("filter_chains", "no filter chain"));
    }
    refuse_overlaps(&filter_chains)?;
    let use_original_dst = any::bool_or(proto.use_original_dst.as_ref(), false);
    let listener_filters = listener_filters::translate(&proto.listener_filters, use_original_dst)?;
    Ok(Listener {
        name: proto.name.as_str().into(),
        stat_name: match proto.stat_prefix.as_str() {
            "" => address.to_string().replace(':', "_").into(),
            prefix => prefix.into(),
        },
        address,
        additional_addresses,
        bind_to_port: binds(proto),
        bind: BindOptions {
            transparent: any::bool_or(proto.transparent.as_ref(), false),
            freebind: any::bool_or(proto.freebind.as_ref(), false),
            backlog: any::u32_or(proto.tcp_backlog_size.as_ref(), BACKLOG),
        },
        use_original_dst,
        direction: direction(proto.traffic_direction()),
        listener_filters,
        listener_filters_timeout: any::timeout_or(
            "listener_filters_timeout",
            proto.listener_filters_timeout.as_ref(),
            Some(TIMEOUT_DEFAULT),
        )?,
        continue_on_listener_filters_timeout: proto.continue_on_listener_filters_timeout,
        filter_chains,
        default_filter_chain,
        buffer_limit_bytes: any::buffer_limit(proto.per_connection_buffer_limit_bytes.as_ref()),
        access_logs: super::access_log::access_logs(&proto.access_log)?,
        tcp_keepalive: proto.tcp_keepalive.as_ref().map(keepalive),
        source: ctx.source.clone(),
    })
}

/// The chains of the last good version, by their protobuf.
struct KnownChains {
    chains: HashMap<Vec<u8>, Vec<(proto::FilterChain, Arc<FilterChain>)>>,
}

impl KnownChains {
    fn of(previous: Option<&Listener>) -> Self {
        let mut chains: HashMap<Vec<u8>, Vec<_>> = HashMap::new();
        if let Some(listener) = previous
            && let Ok(proto) = proto::Listener::decode(listener.source.bytes.clone())
        {
            let built = listener
                .filter_chains
                .iter()
                .chain(&listener.default_filter_chain);
            let protos = proto
                .filter_chains
                .into_iter()
                .chain(proto.default_filter_chain);
            for (proto, built) in protos.zip(built) {
                let key = Self::key(&proto);
                chains.entry(key).or_default().push((proto, built.clone()));
            }
        }
        Self { chains }
    }

    /// Narrows the search only; whether chains are equal is decided by comparing them.
    fn key(chain: &proto::FilterChain) -> Vec<u8> {
        let mut key = chain.name.clone().into_bytes();
        if let Some(matches) = &chain.filter_chain_match {
            matches
                .encode(&mut key)
                .expect("a vector takes any number of bytes");
        }
        key
    }

    fn get_or_translate(
        &self,
        chain: &proto::FilterChain,
        ctx: &mut ApplyContext<'_>,
    ) -> Result<Arc<FilterChain>, ConfigError> {
        let candidates = self.chains.get(&Self::key(chain)).into_iter().flatten();
        for (proto, built) in candidates {
            if proto == chain {
                return Ok(built.clone());
            }
        }
        Ok(Arc::new(filter_chain(chain, ctx)?))
    }
}

fn filter_chain(
    proto: &proto::FilterChain,
    ctx: &mut ApplyContext<'_>,
) -> Result<FilterChain, ConfigError> {
    #[allow(deprecated)]
    if any::bool_or(proto.use_proxy_proto.as_ref(), false) {
        return Err(ConfigError::unsupported(
            "use_proxy_proto",
            "this field (use the listener filter)",
        ));
    }
    let matches = proto.filter_chain_match.as_ref();
    let matches = matches
        .map(chain_match)
        .transpose()
        .within("filter_chain_match")?;
    let (filters, terminal) = network_filters::translate(&proto.filters, ctx)?;
    Ok(FilterChain {
        name: proto.name.as_str().into(),
        matches: matches.unwrap_or_default(),
        tls: network_filters::transport_socket(proto.transport_socket.as_ref())
            .within("transport_socket")?,
        handshake_timeout: any::timeout_or(
            "transport_socket_connect_timeout",
            proto.transport_socket_connect_timeout.as_ref(),
            None,
        )?,
        filters,
        terminal,
    })
}

fn chain_match(proto: &proto::FilterChainMatch) -> Result<FilterChainMatch, ConfigError> {
    if !proto.address_suffix.is_empty() || proto.suffix_len.is_some() {
        return Err(ConfigError::unsupported("address_suffix", "this field"));
    }
    let port = |field: &str, port: u32| {
        u16::try_from(port).map_err(|_| ConfigError::new(field, format!("{port} is not a port")))
    };
    let destination_port = proto.destination_port.as_ref();
    Ok(FilterChainMatch {
        destination_port: destination_port
            .map(|wrapped| port("destination_port", wrapped.value))
            .transpose()?,
        destination_prefixes: prefixes(&proto.prefix_ranges).within("prefix_ranges")?,
        server_names: server_names(&proto.server_names).within("server_names")?,
        transport: match proto.transport_protocol.as_str() {
            "" => None,
            "raw_buffer" => Some(Transport::RawBuffer),
            "tls" => Some(Transport::Tls),
            other => {
                return Err(ConfigError::unsupported(
                    "transport_protocol",
                    format!("\"{other}\""),
                ));
            }
        },
        application_protocols: proto
            .application_protocols
            .iter()
            .map(|protocol| protocol.as_str().into())
            .collect(),
        direct_source_prefixes: prefixes(&proto.direct_source_prefix_ranges)
            .within("direct_source_prefix_ranges")?,
        source_type: match proto.source_type() {
            ConnectionSourceType::Any => SourceType::Any,
            ConnectionSourceType::SameIpOrLoopback => SourceType::SameIpOrLoopback,
            ConnectionSourceType::External => SourceType::External,
        },
        source_prefixes: prefixes(&proto.source_prefix_ranges).within("source_prefix_ranges")?,
        source_ports: proto
            .source_ports
            .iter()
            .map(|&value| port("source_ports", value))
            .collect::<Result<_, _>>()?,
    })
}

fn server_names(names: &[String]) -> Result<Vec<Box<str>>, ConfigError> {
    names
        .iter()
        .map(|name| {
            let name = name.to_ascii_lowercase();
            let rest = name.strip_prefix("*.").unwrap_or(&name);
            if rest.contains('*') {
                let message = format!("\"{name}\": only a leading \"*.\" may stand for names");
                return Err(ConfigError::new("", message));
            }
            Ok(name.into())
        })
        .collect()
}

pub(super) fn prefixes(ranges: &[CidrRange]) -> Result<Vec<IpNet>, ConfigError> {
    ranges
        .iter()
        .map(|range| {
            let bad = || {
                let prefix = any::u32_or(range.prefix_len.as_ref(), 0);
                ConfigError::new(
                    "",
                    format!("{}/{prefix} is not a network", range.address_prefix),
                )
            };
            let address = range.address_prefix.parse().map_err(|_| bad())?;
            let length = any::u32_or(range.prefix_len.as_ref(), 0);
            let length = u8::try_from(length).map_err(|_| bad())?;
            let net = IpNet::new(address, length).map_err(|_| bad())?;
            Ok(net.trunc())
        })
        .collect()
}

fn refuse_overlaps(chains: &[Arc<FilterChain>]) -> Result<(), ConfigError> {
    let matches: Vec<FilterChainMatch> = chains.iter().map(|chain| chain.matches.clone()).collect();
    match overlapping(&matches) {
        None => Ok(()),
        Some((earlier, later)) => Err(ConfigError::new(
            format!("filter_chains[{later}]"),
            format!("has the same match as filter_chains[{earlier}]"),
        )),
    }
}

fn binds(proto: &proto::Listener) -> bool {
    #[allow(deprecated)]
    let old = proto.deprecated_v1.as_ref().and_then(|v1| v1.bind_to_port);
    any::bool_or(proto.bind_to_port.as_ref().or(old.as_ref()), true)
}

fn direction(proto: TrafficDirection) -> Direction {
    match proto {
        TrafficDirection::Unspecified => Direction::Unspecified,
        TrafficDirection::Inbound => Direction::Inbound,
        TrafficDirection::Outbound => Direction::Outbound,
    }
}

fn keepalive(proto: &xds::envoy::core::TcpKeepalive) -> TcpKeepalive {
    let seconds =
        |wrapped: xds::pb::google::protobuf::UInt32Value| Duration::from_secs(wrapped.value.into());
    TcpKeepalive {
        probes: proto.keepalive_probes.map(|probes| probes.value),
        time: proto.keepalive_time.map(seconds),
        interval: proto.keepalive_interval.map(seconds),
    }
}

fn refuse_unsupported(proto: &proto::Listener) -> Result<(), ConfigError> {
    let socket_options = proto
        .additional_addresses
        .iter()
        .any(|additional| additional.socket_options.is_some());
    let unsupported = [
        (proto.filter_chain_matcher.is_some(), "filter_chain_matcher"),
        (proto.fcds_config.is_some(), "fcds_config"),
        (proto.udp_listener_config.is_some(), "udp_listener_config"),
        (proto.api_listener.is_some(), "api_listener"),
        (proto.listener_specifier.is_some(), "internal_listener"),
        (proto.enable_mptcp, "enable_mptcp"),
        (
            !proto.socket_options.is_empty() || socket_options,
            "socket_options",
        ),
        (
            any::u32_or(proto.tcp_fast_open_queue_length.as_ref(), 0) > 0,
            "tcp_fast_open_queue_length",
        ),
    ];
    match unsupported.iter().find(|(set, _)| *set) {
        Some((_, field)) => Err(ConfigError::unsupported(*field, "this field")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
