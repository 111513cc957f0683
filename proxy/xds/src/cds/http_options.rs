//! The HTTP protocol of a cluster: `envoy.extensions.upstreams.http.v3.HttpProtocolOptions`, or the fields of
//! the cluster that came before it.

#![allow(deprecated, reason = "control planes still send the older fields")]

use std::time::Duration;

use xds::envoy::cluster as proto;
use xds::envoy::cluster::cluster::ClusterProtocolSelection;
use xds::envoy::core::http1_protocol_options::header_key_format::HeaderFormat;
use xds::envoy::core::{Http1ProtocolOptions, Http2ProtocolOptions};
use xds::envoy::upstream_http::HttpProtocolOptions;
use xds::envoy::upstream_http::http_protocol_options::UpstreamProtocolOptions;
use xds::envoy::upstream_http::http_protocol_options::explicit_http_config::ProtocolConfig;

use crate::any::{duration_or, timeout_or, u32_or, unpack};
use crate::config::cluster::{
    HeaderCase, Http1Options, Http2Options, HttpOptions, UpstreamProtocol,
};
use crate::config::error::{ConfigError, Within};
use crate::context::ApplyContext;
use crate::http_filters::upstream_filters;

const EXTENSION: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);
const HEADERS_KB: u32 = 60;
const HEADERS_COUNT: u32 = 100;
const STREAMS_MAX: u32 = 2_147_483_647;
/// Envoy's defaults grew to 256 MiB and shrank again; these hold a fast stream over a long path, and keep hyper's
/// budget for small frames, half of the connection's window, out of the way of gRPC.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;

pub(super) fn http_options(
    proto: &proto::Cluster,
    context: &ApplyContext<'_>,
) -> Result<HttpOptions, ConfigError> {
    let options = extension(proto)?;
    let filters = upstream_filters(&options.http_filters, context).within(EXTENSION)?;
    let refused = [
        ("outlier_detection", options.outlier_detection.is_some()),
        (
            "header_validation_config",
            options.header_validation_config.is_some(),
        ),
        (
            "request_mirror_policies",
            !options.request_mirror_policies.is_empty(),
        ),
        ("hash_policy", !options.hash_policy.is_empty()),
        ("retry_policy", options.retry_policy.is_some()),
    ];
    if let Some((field, _)) = refused.into_iter().find(|(_, present)| *present) {
        return Err(ConfigError::unsupported(field, "this option of a cluster").within(EXTENSION));
    }
    let (protocol, http1, http2) = protocol(proto, &options)?;
    let common = options.common_http_protocol_options.unwrap_or_default();
    if common.max_stream_duration.is_some() {
        // The route's `max_stream_duration` does the same for both sides.
        return Err(ConfigError::unsupported(
            "common_http_protocol_options.max_stream_duration",
            "a limit of the upstream stream alone",
        ));
    }
    let upstream = options.upstream_http_protocol_options.unwrap_or_default();
    if !matches!(
        upstream.override_auto_sni_header.as_str(),
        "" | ":authority" | "host"
    ) {
        let what = "SNI from another header";
        return Err(ConfigError::unsupported("override_auto_sni_header", what));
    }
    let max_requests = common
        .max_requests_per_connection
        .as_ref()
        .or(proto.max_requests_per_connection.as_ref());
    let headers_bytes = u32_or(common.max_response_headers_kb.as_ref(), HEADERS_KB) * 1024;
    let headers_count = u32_or(common.max_headers_count.as_ref(), HEADERS_COUNT);
    Ok(HttpOptions {
        protocol,
        http1: http1_options(&http1, headers_bytes, headers_count)?,
        http2: http2_options(&http2, headers_bytes)?,
        idle_timeout: timeout_or(
            "idle_timeout",
            common.idle_timeout.as_ref(),
            Some(IDLE_TIMEOUT),
        )?,
        max_connection_duration: timeout_or(
            "max_connection_duration",
            common.max_connection_duration.as_ref(),
            None,
        )?,
        max_requests_per_connection: max_requests.map(|max| max.value).filter(|max| *max > 0),
        filters,
        auto_sni: upstream.auto_sni,
    })
}

/// Whether the server's certificate must be for the request's host (`auto_san_validation`).
pub(super) fn auto_san_validation(proto: &proto::Cluster) -> Result<bool, ConfigError> {
    let upstream = extension(proto)?
        .upstream_http_protocol_options
        .unwrap_or_default();
    if upstream.auto_san_validation && !upstream.auto_sni {
        let message = "auto_san_validation needs auto_sni";
        return Err(ConfigError::new("upstream_http_protocol_options", message));
    }
    Ok(upstream.auto_san_validation)
}

/// The extension, filled from the cluster's own fields where it is absent.
fn extension(proto: &proto::Cluster) -> Result<HttpProtocolOptions, ConfigError> {
    if let Some(any) = proto.typed_extension_protocol_options.get(EXTENSION) {
        return unpack(any)
            .within(EXTENSION)
            .within("typed_extension_protocol_options");
    }
    if let Some(other) = proto.typed_extension_protocol_options.keys().next() {
        let what = format_args!("\"{other}\"");
        return Err(ConfigError::unsupported(
            "typed_extension_protocol_options",
            what,
        ));
    }
    Ok(HttpProtocolOptions {
        common_http_protocol_options: proto.common_http_protocol_options,
        upstream_http_protocol_options: proto.upstream_http_protocol_options.clone(),
        ..Default::default()
    })
}

fn protocol(
    proto: &proto::Cluster,
    options: &HttpProtocolOptions,
) -> Result<(UpstreamProtocol, Http1ProtocolOptions, Http2ProtocolOptions), ConfigError> {
    let http3 = || ConfigError::unsupported("http3_protocol_options", "HTTP/3").within(EXTENSION);
    Ok(match &options.upstream_protocol_options {
        None => {
            let http1 = proto.http_protocol_options.clone().unwrap_or_default();
            let http2 = proto.http2_protocol_options.clone();
            let selection = match proto.protocol_selection() {
                ClusterProtocolSelection::UseDownstreamProtocol => UpstreamProtocol::Downstream,
                ClusterProtocolSelection::UseConfiguredProtocol if http2.is_some() => {
                    UpstreamProtocol::Http2
                }
                ClusterProtocolSelection::UseConfiguredProtocol => UpstreamProtocol::Http1,
            };
            (selection, http1, http2.unwrap_or_default())
        }
        Some(UpstreamProtocolOptions::ExplicitHttpConfig(explicit)) => {
            match explicit.protocol_config.clone() {
                None | Some(ProtocolConfig::HttpProtocolOptions(_)) => {
                    let http1 = match explicit.protocol_config.clone() {
                        Some(ProtocolConfig::HttpProtocolOptions(http1)) => http1,
                        _ => Http1ProtocolOptions::default(),
                    };
                    (
                        UpstreamProtocol::Http1,
                        http1,
                        Http2ProtocolOptions::default(),
                    )
                }
                Some(ProtocolConfig::Http2ProtocolOptions(http2)) => (
                    UpstreamProtocol::Http2,
                    Http1ProtocolOptions::default(),
                    http2,
                ),
                Some(ProtocolConfig::Http3ProtocolOptions(_)) => return Err(http3()),
            }
        }
        Some(UpstreamProtocolOptions::UseDownstreamProtocolConfig(config)) => (
            UpstreamProtocol::Downstream,
            config.http_protocol_options.clone().unwrap_or_default(),
            config.http2_protocol_options.clone().unwrap_or_default(),
        ),
        Some(UpstreamProtocolOptions::AutoConfig(config)) => {
            if config.http3_protocol_options.is_some() {
                return Err(http3());
            }
            (
                UpstreamProtocol::Auto,
                config.http_protocol_options.clone().unwrap_or_default(),
                config.http2_protocol_options.clone().unwrap_or_default(),
            )
        }
    })
}

fn http1_options(
    proto: &Http1ProtocolOptions,
    max_headers_bytes: u32,
    max_headers_count: u32,
) -> Result<Http1Options, ConfigError> {
    let format = proto
        .header_key_format
        .as_ref()
        .and_then(|format| format.header_format.as_ref());
    let header_case = match format {
        None => HeaderCase::Lower,
        Some(HeaderFormat::ProperCaseWords(_)) => HeaderCase::Title,
        Some(HeaderFormat::StatefulFormatter(formatter))
            if formatter.name.contains("preserve_case") =>
        {
            HeaderCase::Preserve
        }
        Some(HeaderFormat::StatefulFormatter(formatter)) => {
            let what = format_args!("\"{}\"", formatter.name);
            return Err(ConfigError::unsupported("header_key_format", what));
        }
    };
    Ok(Http1Options {
        header_case,
        max_headers_bytes,
        max_headers_count,
        trailers: proto.enable_trailers,
    })
}

fn http2_options(
    proto: &Http2ProtocolOptions,
    max_headers_bytes: u32,
) -> Result<Http2Options, ConfigError> {
    let keepalive = match &proto.connection_keepalive {
        Some(keepalive) if keepalive.interval.is_some() => {
            let interval = duration_or("interval", keepalive.interval.as_ref(), Duration::ZERO);
            let timeout = duration_or(
                "timeout",
                keepalive.timeout.as_ref(),
                Duration::from_secs(20),
            );
            let field = "http2_protocol_options.connection_keepalive";
            Some((interval.within(field)?, timeout.within(field)?))
        }
        _ => None,
    };
    Ok(Http2Options {
        max_concurrent_streams: u32_or(proto.max_concurrent_streams.as_ref(), STREAMS_MAX),
        stream_window: u32_or(proto.initial_stream_window_size.as_ref(), STREAM_WINDOW),
        connection_window: u32_or(
            proto.initial_connection_window_size.as_ref(),
            CONNECTION_WINDOW,
        ),
        keepalive,
        max_headers_bytes,
    })
}
