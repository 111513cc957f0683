//! `HttpConnectionManager` to [`HttpConnectionManager`](crate::config::http::HttpConnectionManager).

use std::time::Duration;

use http::HeaderValue;
use xds::envoy::core::{Http1ProtocolOptions, Http2ProtocolOptions, HttpProtocolOptions};
use xds::envoy::network::http_connection_manager as wire;
use xds::envoy::network::http_connection_manager::http_connection_manager as parts;

use super::access_log::access_logs;
use super::any::{bool_or, timeout_or, u32_or};
use super::context::ApplyContext;
use super::headers::value;
use super::http_filters::filters;
use super::matchers::refuse;
use super::rbac::cidr;
use super::rds::route_config;
use crate::config::error::{ConfigError, Within};
use crate::config::http::{
    Codec, EdgeOptions, EscapedSlashes, ForwardClientCert, ForwardClientCertMode, Http10,
    HttpConnectionManager, HttpLimits, PathNormalization, RequestIdOptions, RouteSource,
    ServerHeader, ServerHeaderMode, StripHostPort,
};

/// Envoy's `max_request_headers_kb`.
const MAX_HEADERS_KB: u32 = 60;
/// Envoy's `max_headers_count`.
const MAX_HEADERS_COUNT: u32 = 100;
/// Envoy's idle timeout of connections.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);
/// Envoy's idle timeout of streams.
const STREAM_IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// Envoy's drain timeout.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(5000);
/// Envoy's `delayed_close_timeout`.
const DELAYED_CLOSE_TIMEOUT: Duration = Duration::from_millis(1000);
/// HTTP/2 limits where nothing is said: what keeps a fast peer busy without holding much per stream.
const MAX_CONCURRENT_STREAMS: u32 = 1024;
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// Translates a connection manager.
pub fn connection_manager(
    proto: &wire::HttpConnectionManager,
    context: &mut ApplyContext<'_>,
) -> Result<HttpConnectionManager, ConfigError> {
    refuse_unsupported(proto)?;
    let (filters, router) = filters(&proto.http_filters, context)?;
    let http1 = proto.http_protocol_options.as_ref();
    Ok(HttpConnectionManager {
        stat_prefix: proto.stat_prefix.as_str().into(),
        codec: codec(proto)?,
        routes: routes(proto, context)?,
        filters,
        router,
        access_logs: access_logs(&proto.access_log)?,
        server_header: server_header(proto)?,
        edge: edge(proto)?,
        forwarded_client_cert: forwarded_client_cert(proto)?,
        path_normalization: PathNormalization {
            normalize: bool_or(proto.normalize_path.as_ref(), false),
            merge_slashes: proto.merge_slashes,
            escaped_slashes: escaped_slashes(proto),
        },
        request_id: RequestIdOptions {
            generate: bool_or(proto.generate_request_id.as_ref(), true),
            preserve_external: proto.preserve_external_request_id,
            set_in_response: proto.always_set_request_id_in_response,
        },
        limits: limits(proto)?,
        upgrades: upgrades(proto)?,
        via: match proto.via.as_str() {
            "" => None,
            via => Some(value(via).within("via")?),
        },
        preserve_header_case: preserve_header_case(http1)?,
        http10: http10(http1)?,
        http1_trailers: http1.is_some_and(|http1| http1.enable_trailers),
        strip_host_port: match &proto.strip_port_mode {
            Some(parts::StripPortMode::StripAnyHostPort(true)) => StripHostPort::Any,
            _ if proto.strip_matching_host_port => StripHostPort::Matching,
            _ => StripHostPort::Keep,
        },
        strip_trailing_host_dot: proto.strip_trailing_host_dot,
    })
}

/// Fields that change what a client sees and are not implemented.
fn refuse_unsupported(proto: &wire::HttpConnectionManager) -> Result<(), ConfigError> {
    let refusals = [
        (proto.local_reply_config.is_some(), "local_reply_config"),
        (proto.proxy_status_config.is_some(), "proxy_status_config"),
        (
            proto.path_normalization_options.is_some(),
            "path_normalization_options",
        ),
        (
            proto.scheme_header_transformation.is_some(),
            "scheme_header_transformation",
        ),
        (
            proto.forward_client_cert_matcher.is_some(),
            "forward_client_cert_matcher",
        ),
        (proto.forward_proto_config.is_some(), "forward_proto_config"),
        (proto.append_x_forwarded_port, "append_x_forwarded_port"),
        (
            !proto.original_ip_detection_extensions.is_empty(),
            "original_ip_detection_extensions",
        ),
        (
            !proto.early_header_mutation_extensions.is_empty(),
            "early_header_mutation_extensions",
        ),
        (
            proto.http3_protocol_options.is_some(),
            "http3_protocol_options",
        ),
        (
            bool_or(proto.add_user_agent.as_ref(), false),
            "add_user_agent",
        ),
        (
            proto.represent_ipv4_remote_address_as_ipv4_mapped_ipv6,
            "represent_ipv4_remote_address_as_ipv4_mapped_ipv6",
        ),
    ];
    for (set, field) in refusals {
        refuse(set, field)?;
    }
    let provider = proto
        .tracing
        .as_ref()
        .and_then(|tracing| tracing.provider.as_ref());
    refuse(provider.is_some(), "tracing.provider")
}

fn codec(proto: &wire::HttpConnectionManager) -> Result<Codec, ConfigError> {
    match proto.codec_type() {
        parts::CodecType::Auto => Ok(Codec::Auto),
        parts::CodecType::Http1 => Ok(Codec::Http1),
        parts::CodecType::Http2 => Ok(Codec::Http2),
        parts::CodecType::Http3 => Err(ConfigError::unsupported("codec_type", "HTTP/3")),
    }
}

fn routes(
    proto: &wire::HttpConnectionManager,
    context: &mut ApplyContext<'_>,
) -> Result<RouteSource, ConfigError> {
    match &proto.route_specifier {
        Some(parts::RouteSpecifier::Rds(rds)) => Ok(RouteSource::Rds(
            context.names.route_table(&rds.route_config_name),
        )),
        Some(parts::RouteSpecifier::RouteConfig(proto)) => {
            let config = route_config(proto, context).within("route_config")?;
            Ok(RouteSource::Inline(config.into()))
        }
        Some(parts::RouteSpecifier::ScopedRoutes(_)) => {
            Err(ConfigError::unsupported("scoped_routes", "scoped routing"))
        }
        None => Err(ConfigError::new("route_specifier", "missing")),
    }
}

fn server_header(proto: &wire::HttpConnectionManager) -> Result<ServerHeader, ConfigError> {
    use parts::ServerHeaderTransformation;
    Ok(ServerHeader {
        name: match proto.server_name.as_str() {
            "" => HeaderValue::from_static("envoy"),
            name => value(name).within("server_name")?,
        },
        mode: match proto.server_header_transformation() {
            ServerHeaderTransformation::Overwrite => ServerHeaderMode::Overwrite,
            ServerHeaderTransformation::AppendIfAbsent => ServerHeaderMode::AppendIfAbsent,
            ServerHeaderTransformation::PassThrough => ServerHeaderMode::PassThrough,
        },
    })
}

fn edge(proto: &wire::HttpConnectionManager) -> Result<EdgeOptions, ConfigError> {
    let mut internal = Vec::new();
    if let Some(config) = &proto.internal_address_config {
        for (n, range) in config.cidr_ranges.iter().enumerate() {
            let field = format_args!("internal_address_config.cidr_ranges[{n}]").to_string();
            internal.push(cidr(range).within(field)?);
        }
    }
    Ok(EdgeOptions {
        use_remote_address: bool_or(proto.use_remote_address.as_ref(), false),
        xff_trusted_hops: proto.xff_num_trusted_hops,
        skip_xff_append: proto.skip_xff_append,
        internal,
    })
}

fn forwarded_client_cert(
    proto: &wire::HttpConnectionManager,
) -> Result<ForwardClientCert, ConfigError> {
    use parts::ForwardClientCertDetails;
    let mode = match proto.forward_client_cert_details() {
        ForwardClientCertDetails::Sanitize => ForwardClientCertMode::Sanitize,
        ForwardClientCertDetails::ForwardOnly => ForwardClientCertMode::ForwardOnly,
        ForwardClientCertDetails::AppendForward => ForwardClientCertMode::AppendForward,
        ForwardClientCertDetails::SanitizeSet => ForwardClientCertMode::SanitizeSet,
        ForwardClientCertDetails::AlwaysForwardOnly => ForwardClientCertMode::AlwaysForwardOnly,
    };
    let details = proto.set_current_client_cert_details.unwrap_or_default();
    let field = |name: &str| format!("set_current_client_cert_details.{name}");
    refuse(details.issuer, &field("issuer"))?;
    refuse(details.chain, &field("chain"))?;
    refuse(details.format != 0, &field("format"))?;
    Ok(ForwardClientCert {
        mode,
        subject: bool_or(details.subject.as_ref(), false),
        cert: details.cert,
        chain: false,
        dns: details.dns,
        uri: details.uri,
    })
}

fn escaped_slashes(proto: &wire::HttpConnectionManager) -> EscapedSlashes {
    use parts::PathWithEscapedSlashesAction as Wire;
    match proto.path_with_escaped_slashes_action() {
        Wire::ImplementationSpecificDefault | Wire::KeepUnchanged => EscapedSlashes::Keep,
        Wire::RejectRequest => EscapedSlashes::Reject,
        Wire::UnescapeAndRedirect => EscapedSlashes::UnescapeAndRedirect,
        Wire::UnescapeAndForward => EscapedSlashes::UnescapeAndForward,
    }
}

fn upgrades(proto: &wire::HttpConnectionManager) -> Result<Vec<Box<str>>, ConfigError> {
    let mut upgrades = Vec::new();
    for (n, config) in proto.upgrade_configs.iter().enumerate() {
        let filters = format!("upgrade_configs[{n}].filters");
        refuse(!config.filters.is_empty(), &filters)?;
        if bool_or(config.enabled.as_ref(), true) {
            upgrades.push(config.upgrade_type.to_ascii_lowercase().into());
        }
    }
    Ok(upgrades)
}

fn preserve_header_case(proto: Option<&Http1ProtocolOptions>) -> Result<bool, ConfigError> {
    use xds::envoy::core::http1_protocol_options::header_key_format::HeaderFormat;
    let format = proto.and_then(|proto| proto.header_key_format.as_ref());
    match format.and_then(|format| format.header_format.as_ref()) {
        None => Ok(false),
        Some(HeaderFormat::StatefulFormatter(formatter))
            if formatter.name == "preserve_case" || formatter.name.ends_with(".preserve_case") =>
        {
            Ok(true)
        }
        Some(_) => {
            let field = "http_protocol_options.header_key_format";
            Err(ConfigError::unsupported(
                field,
                "a format other than preserve_case",
            ))
        }
    }
}

fn http10(proto: Option<&Http1ProtocolOptions>) -> Result<Http10, ConfigError> {
    let Some(proto) = proto else {
        return Ok(Http10::default());
    };
    Ok(Http10 {
        accept: proto.accept_http_10,
        default_host: match proto.default_host_for_http_10.as_str() {
            "" => None,
            host => {
                let field = "http_protocol_options.default_host_for_http_10";
                Some(value(host).within(field)?)
            }
        },
    })
}

fn limits(proto: &wire::HttpConnectionManager) -> Result<HttpLimits, ConfigError> {
    let none = HttpProtocolOptions::default();
    let common = proto.common_http_protocol_options.as_ref().unwrap_or(&none);
    let field = |name: &str| format!("common_http_protocol_options.{name}");
    refuse(
        common.headers_with_underscores_action != 0,
        &field("headers_with_underscores_action"),
    )?;
    let request_timeout = timeout_or("request_timeout", proto.request_timeout.as_ref(), None)?;
    refuse(request_timeout.is_some(), "request_timeout")?;
    let none = Http2ProtocolOptions::default();
    let http2 = proto.http2_protocol_options.as_ref().unwrap_or(&none);
    Ok(HttpLimits {
        max_headers_bytes: u32_or(proto.max_request_headers_kb.as_ref(), MAX_HEADERS_KB) * 1024,
        max_headers_count: u32_or(common.max_headers_count.as_ref(), MAX_HEADERS_COUNT),
        idle_timeout: timeout_or(
            &field("idle_timeout"),
            common.idle_timeout.as_ref(),
            Some(IDLE_TIMEOUT),
        )?,
        stream_idle_timeout: timeout_or(
            "stream_idle_timeout",
            proto.stream_idle_timeout.as_ref(),
            Some(STREAM_IDLE_TIMEOUT),
        )?,
        request_headers_timeout: timeout_or(
            "request_headers_timeout",
            proto.request_headers_timeout.as_ref(),
            None,
        )?,
        max_stream_duration: timeout_or(
            &field("max_stream_duration"),
            common.max_stream_duration.as_ref(),
            None,
        )?,
        max_connection_duration: timeout_or(
            &field("max_connection_duration"),
            common.max_connection_duration.as_ref(),
            None,
        )?,
        drain_timeout: timeout_or(
            "drain_timeout",
            proto.drain_timeout.as_ref(),
            Some(DRAIN_TIMEOUT),
        )?
        .unwrap_or_default(),
        delayed_close_timeout: timeout_or(
            "delayed_close_timeout",
            proto.delayed_close_timeout.as_ref(),
            Some(DELAYED_CLOSE_TIMEOUT),
        )?
        .unwrap_or_default(),
        max_concurrent_streams: u32_or(
            http2.max_concurrent_streams.as_ref(),
            MAX_CONCURRENT_STREAMS,
        ),
        initial_stream_window: u32_or(
            http2.initial_stream_window_size.as_ref(),
            STREAM_WINDOW_BYTES,
        ),
        initial_connection_window: u32_or(
            http2.initial_connection_window_size.as_ref(),
            CONNECTION_WINDOW_BYTES,
        ),
        http2_keepalive: keepalive(http2)?,
        max_requests_per_connection: u32_or(common.max_requests_per_connection.as_ref(), 0),
    })
}

fn keepalive(proto: &Http2ProtocolOptions) -> Result<Option<(Duration, Duration)>, ConfigError> {
    let Some(proto) = &proto.connection_keepalive else {
        return Ok(None);
    };
    let field = |name: &str| format!("http2_protocol_options.connection_keepalive.{name}");
    let interval = timeout_or(&field("interval"), proto.interval.as_ref(), None)?;
    let timeout = timeout_or(&field("timeout"), proto.timeout.as_ref(), None)?;
    Ok(interval.zip(timeout))
}
