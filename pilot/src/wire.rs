//! Shorthands for the shapes that recur in Envoy's messages.

use std::time::Duration;

use ipnet::IpNet;
use xds::envoy::{accesslog, core, listener, matcher, types};
use xds::pb::google::protobuf::{self, Any, BoolValue, UInt32Value};
use xds::prost::{Message, Name};
use xds::resource::pack;

/// A duration.
pub(crate) fn duration(value: Duration) -> protobuf::Duration {
    protobuf::Duration {
        seconds: i64::try_from(value.as_secs()).unwrap_or(i64::MAX),
        nanos: value.subsec_nanos().cast_signed(),
    }
}

/// A wrapped number.
pub(crate) fn number(value: u32) -> UInt32Value {
    UInt32Value { value }
}

/// A wrapped boolean.
pub(crate) fn boolean(value: bool) -> BoolValue {
    BoolValue { value }
}

/// A TCP socket address.
pub(crate) fn address(ip: impl ToString, port: u16) -> core::Address {
    let socket = core::SocketAddress {
        address: ip.to_string(),
        port_specifier: Some(core::socket_address::PortSpecifier::PortValue(port.into())),
        ..Default::default()
    };
    core::Address {
        address: Some(core::address::Address::SocketAddress(socket)),
    }
}

/// A Unix socket address.
pub(crate) fn unix_address(path: &str) -> core::Address {
    let pipe = core::Pipe {
        path: path.to_owned(),
        mode: 0,
    };
    core::Address {
        address: Some(core::address::Address::Pipe(pipe)),
    }
}

/// A network.
pub(crate) fn cidr(net: IpNet) -> core::CidrRange {
    core::CidrRange {
        address_prefix: net.network().to_string(),
        prefix_len: Some(number(net.prefix_len().into())),
    }
}

/// "Ask the management server that you got this from."
pub(crate) fn ads() -> core::ConfigSource {
    core::ConfigSource {
        resource_api_version: core::ApiVersion::V3.into(),
        initial_fetch_timeout: Some(duration(Duration::ZERO)),
        config_source_specifier: Some(core::config_source::ConfigSourceSpecifier::Ads(
            core::AggregatedConfigSource {},
        )),
        ..Default::default()
    }
}

/// A network filter.
pub(crate) fn network_filter<M: Message + Name>(name: &str, config: &M) -> listener::Filter {
    packed_network_filter(name, pack(config))
}

/// A network filter whose configuration is packed already.
pub(crate) fn packed_network_filter(name: &str, config: Any) -> listener::Filter {
    listener::Filter {
        name: name.to_owned(),
        config_type: Some(listener::filter::ConfigType::TypedConfig(config)),
    }
}

/// A transport socket.
pub(crate) fn transport_socket<M: Message + Name>(name: &str, config: &M) -> core::TransportSocket {
    core::TransportSocket {
        name: name.to_owned(),
        config_type: Some(core::transport_socket::ConfigType::TypedConfig(pack(
            config,
        ))),
    }
}

/// An access logger.
pub(crate) fn access_logger<M: Message + Name>(
    name: &str,
    config: &M,
    filter: Option<accesslog::AccessLogFilter>,
) -> accesslog::AccessLog {
    accesslog::AccessLog {
        name: name.to_owned(),
        filter,
        config_type: Some(accesslog::access_log::ConfigType::TypedConfig(pack(config))),
    }
}

/// A string that must be equal.
pub(crate) fn exact(text: &str) -> matcher::StringMatcher {
    string_matcher(matcher::string_matcher::MatchPattern::Exact(
        text.to_owned(),
    ))
}

/// A string that must begin so.
pub(crate) fn prefix(text: &str) -> matcher::StringMatcher {
    string_matcher(matcher::string_matcher::MatchPattern::Prefix(
        text.to_owned(),
    ))
}

/// A string that must end so.
pub(crate) fn suffix(text: &str) -> matcher::StringMatcher {
    string_matcher(matcher::string_matcher::MatchPattern::Suffix(
        text.to_owned(),
    ))
}

/// A string that must match a whole regular expression.
pub(crate) fn regex(pattern: &str) -> matcher::StringMatcher {
    string_matcher(matcher::string_matcher::MatchPattern::SafeRegex(
        regex_matcher(pattern),
    ))
}

/// A regular expression in the default engine.
pub(crate) fn regex_matcher(pattern: &str) -> matcher::RegexMatcher {
    matcher::RegexMatcher {
        regex: pattern.to_owned(),
        ..Default::default()
    }
}

fn string_matcher(pattern: matcher::string_matcher::MatchPattern) -> matcher::StringMatcher {
    matcher::StringMatcher {
        match_pattern: Some(pattern),
        ignore_case: false,
    }
}

/// A string that must match a pattern, whatever the case of its letters.
pub(crate) fn ignore_case(matcher: matcher::StringMatcher) -> matcher::StringMatcher {
    matcher::StringMatcher {
        ignore_case: true,
        ..matcher
    }
}

/// A percentage.
pub(crate) fn percent(value: f64) -> types::Percent {
    types::Percent { value }
}

/// Millionths, the finest fraction that Envoy knows.
pub(crate) fn millionths(numerator: u32) -> types::FractionalPercent {
    types::FractionalPercent {
        numerator,
        denominator: types::fractional_percent::DenominatorType::Million.into(),
    }
}

/// Always.
pub(crate) fn hundred_percent() -> types::FractionalPercent {
    types::FractionalPercent {
        numerator: 100,
        denominator: types::fractional_percent::DenominatorType::Hundred.into(),
    }
}

/// The content of a file of the proxy.
pub(crate) fn file(path: &str) -> core::DataSource {
    core::DataSource {
        specifier: Some(core::data_source::Specifier::Filename(path.to_owned())),
        ..Default::default()
    }
}
