//! Small steps that every translation from protobuf takes: unpacking, durations, addresses, defaults.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use xds::envoy::core;
use xds::pb::google::protobuf as wire;
use xds::prost::{Message, Name};

use crate::config::error::ConfigError;

/// Unpacks an `Any` that must hold an `M`.
pub fn unpack<M: Message + Name + Default>(any: &wire::Any) -> Result<M, ConfigError> {
    if any.type_url != M::type_url() {
        let message = format!("expected \"{}\", found \"{}\"", M::type_url(), any.type_url);
        return Err(ConfigError::new("", message));
    }
    M::decode(any.value.as_slice())
        .map_err(|error| ConfigError::new("", format!("malformed \"{}\": {error}", any.type_url)))
}

/// `per_connection_buffer_limit_bytes`: Envoy's default is a MiB, zero is no limit.
pub fn buffer_limit(proto: Option<&wire::UInt32Value>) -> u32 {
    match u32_or(proto, 1 << 20) {
        0 => u32::MAX,
        limit => limit,
    }
}

/// A duration that must not be negative.
pub fn duration(proto: &wire::Duration) -> Result<Duration, ConfigError> {
    let invalid = || {
        ConfigError::new(
            "",
            format!("not a duration: {}s {}ns", proto.seconds, proto.nanos),
        )
    };
    let seconds = u64::try_from(proto.seconds).map_err(|_| invalid())?;
    let nanos = u32::try_from(proto.nanos).map_err(|_| invalid())?;
    if nanos >= 1_000_000_000 {
        return Err(invalid());
    }
    Ok(Duration::new(seconds, nanos))
}

/// The duration in a field, or a default.
pub fn duration_or(
    field: &str,
    proto: Option<&wire::Duration>,
    default: Duration,
) -> Result<Duration, ConfigError> {
    proto.map_or(Ok(default), |proto| {
        duration(proto).map_err(|error| error.within(field))
    })
}

/// A timeout where an absent field means `default` and zero means none.
pub fn timeout_or(
    field: &str,
    proto: Option<&wire::Duration>,
    default: Option<Duration>,
) -> Result<Option<Duration>, ConfigError> {
    let Some(proto) = proto else {
        return Ok(default);
    };
    let timeout = duration(proto).map_err(|error| error.within(field))?;
    Ok((!timeout.is_zero()).then_some(timeout))
}

/// A wrapped number, or a default.
pub fn u32_or(proto: Option<&wire::UInt32Value>, default: u32) -> u32 {
    proto.map_or(default, |wrapped| wrapped.value)
}

/// A wrapped boolean, or a default.
pub fn bool_or(proto: Option<&wire::BoolValue>, default: bool) -> bool {
    proto.map_or(default, |wrapped| wrapped.value)
}

/// An IP address and port; names, named ports and pipes are refused.
pub fn socket_address(proto: Option<&core::Address>) -> Result<SocketAddr, ConfigError> {
    use core::address::Address;
    match proto.and_then(|address| address.address.as_ref()) {
        Some(Address::SocketAddress(address)) => {
            let (host, port) = host_and_port(address)?;
            let ip: IpAddr = host.parse().map_err(|_| {
                ConfigError::new("address", format!("not an IP address: \"{host}\""))
            })?;
            Ok(SocketAddr::new(ip, port))
        }
        Some(Address::Pipe(_)) => Err(ConfigError::unsupported("pipe", "a Unix socket")),
        Some(Address::EnvoyInternalAddress(_)) => Err(ConfigError::unsupported(
            "envoy_internal_address",
            "an internal address",
        )),
        None => Err(ConfigError::new("", "no address")),
    }
}

/// The host, a name or an IP address, and the port of a TCP address.
pub fn host_and_port(address: &core::SocketAddress) -> Result<(&str, u16), ConfigError> {
    use core::socket_address::PortSpecifier;
    if address.protocol() == core::socket_address::Protocol::Udp {
        return Err(ConfigError::unsupported("protocol", "UDP"));
    }
    if !address.network_namespace_filepath.is_empty() {
        let field = "network_namespace_filepath";
        return Err(ConfigError::unsupported(field, "a network namespace"));
    }
    let port = match &address.port_specifier {
        Some(PortSpecifier::PortValue(port)) => *port,
        Some(PortSpecifier::NamedPort(_)) => {
            return Err(ConfigError::unsupported("named_port", "a named port"));
        }
        None => return Err(ConfigError::new("port_value", "no port")),
    };
    let port = u16::try_from(port)
        .map_err(|_| ConfigError::new("port_value", format!("not a port: {port}")))?;
    Ok((&address.address, port))
}

#[cfg(test)]
mod tests {
    use xds::envoy::cluster::Cluster;

    use super::*;

    #[test]
    fn unpacking_names_what_it_found() {
        let any = wire::Any {
            type_url: "type.googleapis.com/x.Y".into(),
            value: Vec::new(),
        };
        assert_eq!(
            unpack::<Cluster>(&any).unwrap_err().to_string(),
            "expected \"type.googleapis.com/envoy.config.cluster.v3.Cluster\", \
             found \"type.googleapis.com/x.Y\""
        );
    }

    #[test]
    fn durations_are_not_negative() {
        let proto = |seconds, nanos| wire::Duration { seconds, nanos };
        assert_eq!(
            duration(&proto(1, 500_000_000)),
            Ok(Duration::from_millis(1500))
        );
        assert!(duration(&proto(-1, 0)).is_err());
        assert!(duration(&proto(0, 1_000_000_000)).is_err());
        assert_eq!(
            timeout_or("t", Some(&proto(0, 0)), Some(Duration::MAX)),
            Ok(None)
        );
    }
}
