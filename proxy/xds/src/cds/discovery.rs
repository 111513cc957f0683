//! Where a cluster's endpoints come from.

#![allow(deprecated, reason = "control planes still send the older fields")]

use std::sync::Arc;
use std::time::Duration;

use xds::envoy::cluster as proto;
use xds::envoy::cluster::cluster::{
    ClusterDiscoveryType, DiscoveryType, DnsLookupFamily, LbConfig,
};
use xds::pb::envoy::extensions::network::dns_resolver::cares::v3::CaresDnsResolverConfig;

use crate::any::{duration_or, socket_address, unpack};
use crate::config::cluster::{Discovery, DnsFamily, DnsOptions, OriginalDstOptions};
use crate::config::error::{ConfigError, Within};

const DNS_REFRESH_RATE: Duration = Duration::from_secs(5);
const CLEANUP_INTERVAL: Duration = Duration::from_secs(5);

pub(super) fn discovery(proto: &proto::Cluster) -> Result<Discovery, ConfigError> {
    let kind = match &proto.cluster_discovery_type {
        None => DiscoveryType::Static,
        Some(ClusterDiscoveryType::Type(kind)) => DiscoveryType::try_from(*kind)
            .map_err(|_| ConfigError::new("type", format!("no such type: {kind}")))?,
        Some(ClusterDiscoveryType::ClusterType(custom)) => {
            let what = format_args!("\"{}\"", custom.name);
            return Err(ConfigError::unsupported("cluster_type", what));
        }
    };
    Ok(match kind {
        DiscoveryType::Static => Discovery::Static,
        DiscoveryType::StrictDns => Discovery::StrictDns(dns_options(proto)?),
        DiscoveryType::LogicalDns => {
            one_endpoint(proto).within("load_assignment")?;
            Discovery::LogicalDns(dns_options(proto)?)
        }
        DiscoveryType::Eds => Discovery::Eds {
            service_name: service_name(proto)?,
        },
        DiscoveryType::OriginalDst => Discovery::OriginalDst(original_dst(proto)?),
    })
}

fn service_name(proto: &proto::Cluster) -> Result<Arc<str>, ConfigError> {
    use xds::envoy::core::config_source::ConfigSourceSpecifier as From;
    let Some(eds) = &proto.eds_cluster_config else {
        return Err(ConfigError::new(
            "eds_cluster_config",
            "an EDS cluster needs it",
        ));
    };
    let source = eds
        .eds_config
        .as_ref()
        .and_then(|source| source.config_source_specifier.as_ref());
    if !matches!(source, Some(From::Ads(_) | From::Self_(_))) {
        let what = "a source of endpoints other than ADS";
        return Err(ConfigError::unsupported(
            "eds_cluster_config.eds_config",
            what,
        ));
    }
    Ok(match eds.service_name.as_str() {
        "" => proto.name.as_str().into(),
        name => name.into(),
    })
}

fn dns_options(proto: &proto::Cluster) -> Result<DnsOptions, ConfigError> {
    let refresh_rate = duration_or(
        "dns_refresh_rate",
        proto.dns_refresh_rate.as_ref(),
        DNS_REFRESH_RATE,
    )?;
    if refresh_rate.is_zero() {
        return Err(ConfigError::new(
            "dns_refresh_rate",
            "must be more than zero",
        ));
    }
    let failure_refresh = match &proto.dns_failure_refresh_rate {
        None => (refresh_rate, refresh_rate),
        Some(rate) => {
            let base = duration_or("base_interval", rate.base_interval.as_ref(), refresh_rate);
            let base = base.within("dns_failure_refresh_rate")?;
            let max = duration_or("max_interval", rate.max_interval.as_ref(), base * 10);
            (base, max.within("dns_failure_refresh_rate")?)
        }
    };
    Ok(DnsOptions {
        refresh_rate,
        failure_refresh,
        respect_ttl: proto.respect_dns_ttl,
        jitter: duration_or("dns_jitter", proto.dns_jitter.as_ref(), Duration::ZERO)?,
        family: match proto.dns_lookup_family() {
            DnsLookupFamily::Auto => DnsFamily::Auto,
            DnsLookupFamily::V4Only => DnsFamily::V4Only,
            DnsLookupFamily::V6Only => DnsFamily::V6Only,
            DnsLookupFamily::V4Preferred => DnsFamily::V4Preferred,
            DnsLookupFamily::All => DnsFamily::All,
        },
        resolvers: resolvers(proto)?,
    })
}

/// Servers from any of the three generations of the setting. Settings of c-ares beside them tune its sockets
/// and have no counterpart here.
fn resolvers(proto: &proto::Cluster) -> Result<Vec<std::net::SocketAddr>, ConfigError> {
    let mut addresses = proto.dns_resolvers.clone();
    if let Some(config) = &proto.dns_resolution_config {
        addresses.extend(config.resolvers.iter().cloned());
    }
    let typed = proto.typed_dns_resolver_config.as_ref();
    if let Some(any) = typed.and_then(|typed| typed.typed_config.as_ref())
        && any.type_url.ends_with(".CaresDnsResolverConfig")
    {
        let cares: CaresDnsResolverConfig = unpack(any).within("typed_dns_resolver_config")?;
        addresses.extend(cares.resolvers);
    }
    addresses
        .iter()
        .map(|address| socket_address(Some(address)).within("dns_resolvers"))
        .collect()
}

fn one_endpoint(proto: &proto::Cluster) -> Result<(), ConfigError> {
    let localities = proto
        .load_assignment
        .iter()
        .flat_map(|assignment| &assignment.endpoints);
    match localities.map(|locality| locality.lb_endpoints.len()).sum() {
        1 => Ok(()),
        count => {
            let message = format!("a LOGICAL_DNS cluster has exactly one endpoint, found {count}");
            Err(ConfigError::new("endpoints", message))
        }
    }
}

fn original_dst(proto: &proto::Cluster) -> Result<OriginalDstOptions, ConfigError> {
    let mut options = OriginalDstOptions {
        port_override: None,
        cleanup_interval: duration_or(
            "cleanup_interval",
            proto.cleanup_interval.as_ref(),
            CLEANUP_INTERVAL,
        )?,
    };
    let Some(LbConfig::OriginalDstLbConfig(config)) = &proto.lb_config else {
        return Ok(options);
    };
    if config.use_http_header {
        let what = "the destination from a header";
        return Err(ConfigError::unsupported(
            "original_dst_lb_config.use_http_header",
            what,
        ));
    }
    if config.metadata_key.is_some() {
        let what = "the destination from metadata";
        return Err(ConfigError::unsupported(
            "original_dst_lb_config.metadata_key",
            what,
        ));
    }
    if let Some(port) = config.upstream_port_override {
        let port = u16::try_from(port.value).map_err(|_| {
            let field = "original_dst_lb_config.upstream_port_override";
            ConfigError::new(field, format!("not a port: {}", port.value))
        })?;
        options.port_override = Some(port);
    }
    Ok(options)
}
