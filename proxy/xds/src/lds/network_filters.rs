//! Network filters and transport sockets from protobuf.

use std::sync::Arc;

use xds::envoy::core::TransportSocket;
use xds::envoy::core::transport_socket::ConfigType as TransportConfig;
use xds::envoy::listener as proto;
use xds::envoy::listener::filter::ConfigType;
use xds::envoy::network::http_connection_manager::HttpConnectionManager;
use xds::envoy::network::rbac::Rbac;
use xds::envoy::network::tcp_proxy::TcpProxy;
use xds::envoy::raw_buffer::RawBuffer;
use xds::envoy::tls::DownstreamTlsContext;
use xds::pb::google::protobuf::Any;
use xds::prost::Name;

use super::super::context::ApplyContext;
use super::super::{any, hcm, istio, rbac, tcp_proxy};
use crate::config::error::{ConfigError, Within};
use crate::config::filter_chain::{NetworkFilter, Terminal};
use crate::config::tls::ServerTls;
use crate::tls;

/// The filters of a chain: those that look on, and the terminal one.
pub(super) fn translate(
    filters: &[proto::Filter],
    ctx: &mut ApplyContext<'_>,
) -> Result<(Vec<NetworkFilter>, Terminal), ConfigError> {
    let Some((last, before)) = filters.split_last() else {
        return Ok((Vec::new(), Terminal::Close));
    };
    let mut passing = Vec::new();
    for (index, filter) in before.iter().enumerate() {
        let path = format!("filters[{index}]");
        let config = typed_config(filter).within(&path)?;
        let filter = network_filter(config, ctx).within("typed_config");
        passing.push(filter.within(&path)?);
    }
    let path = format!("filters[{}]", before.len());
    let config = typed_config(last).within(&path)?;
    let terminal = terminal(config, ctx).within("typed_config").within(&path)?;
    Ok((passing, terminal))
}

/// TLS termination; `None` for plaintext.
pub(super) fn transport_socket(
    proto: Option<&TransportSocket>,
) -> Result<Option<Arc<ServerTls>>, ConfigError> {
    let Some(TransportConfig::TypedConfig(config)) = proto.and_then(|p| p.config_type.as_ref())
    else {
        return match proto {
            None => Ok(None),
            Some(_) => Err(ConfigError::new("typed_config", "is missing")),
        };
    };
    if config.type_url == RawBuffer::type_url() {
        return Ok(None);
    }
    if config.type_url == DownstreamTlsContext::type_url() {
        let context: DownstreamTlsContext = any::unpack(config).within("typed_config")?;
        let context = tls::server(&context).within("typed_config")?;
        return Ok(Some(Arc::new(context)));
    }
    Err(ConfigError::unsupported(
        "typed_config",
        format!("transport socket \"{}\"", config.type_url),
    ))
}

fn typed_config(filter: &proto::Filter) -> Result<&Any, ConfigError> {
    match &filter.config_type {
        Some(ConfigType::TypedConfig(config)) => Ok(config),
        Some(ConfigType::ConfigDiscovery(_)) => {
            Err(ConfigError::unsupported("config_discovery", "this field"))
        }
        None => Err(ConfigError::new("typed_config", "is missing")),
    }
}

fn network_filter(config: &Any, ctx: &mut ApplyContext<'_>) -> Result<NetworkFilter, ConfigError> {
    if config.type_url == Rbac::type_url() {
        let config: Rbac = any::unpack(config)?;
        return Ok(NetworkFilter::Rbac(Arc::new(rbac::network(&config)?)));
    }
    if istio::is_typed_struct(config) {
        let stats = istio::stats_config(config, ctx).within("typed_config")?;
        return Ok(NetworkFilter::IstioStats(Arc::new(stats)));
    }

    Err(ConfigError::unsupported(
        "",
        format!("network filter \"{}\"", config.type_url),
    ))
}

fn terminal(config: &Any, ctx: &mut ApplyContext<'_>) -> Result<Terminal, ConfigError> {
    if config.type_url == HttpConnectionManager::type_url() {
        let config: HttpConnectionManager = any::unpack(config)?;
        let manager = hcm::connection_manager(&config, ctx)?;
        return Ok(Terminal::Http(Arc::new(manager)));
    }
    if config.type_url == TcpProxy::type_url() {
        let config: TcpProxy = any::unpack(config)?;
        return Ok(Terminal::Tcp(Arc::new(tcp_proxy::tcp_proxy(&config, ctx)?)));
    }
    Err(ConfigError::unsupported(
        "",
        format!("terminal network filter \"{}\"", config.type_url),
    ))
}
