//! The HTTP connection manager: settings that all of the mesh's HTTP chains share, and those in
//! which a sidecar's two sides and a gateway differ.

use std::time::Duration;

use xds::envoy::network::http_connection_manager as hcm;
use xds::envoy::{accesslog, core, listener, route};
use xds::resource::pack;

use hcm::http_connection_manager::{
    CodecType, ForwardClientCertDetails, InternalAddressConfig, PathWithEscapedSlashesAction,
    RouteSpecifier, ServerHeaderTransformation, SetCurrentClientCertDetails, UpgradeConfig,
};

use crate::wire;

/// Where a chain stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Position {
    /// A sidecar, towards its application.
    SidecarInbound,
    /// A sidecar, away from its application.
    SidecarOutbound,
    /// A gateway.
    Gateway,
}

/// How paths are normalised before anything matches them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum PathNormalization {
    /// Not at all.
    None,
    /// RFC 3986 and backslashes.
    #[default]
    Base,
    /// And repeated slashes.
    MergeSlashes,
    /// And escaped slashes.
    DecodeAndMergeSlashes,
}

/// Where the routes come from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Routes {
    /// By name, over RDS.
    Named(String),
    /// In place.
    Inline(Box<route::RouteConfiguration>),
}

/// What a chain's manager depends on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Options {
    /// Where the chain stands.
    pub(crate) position: Position,
    /// The name in statistics.
    pub(crate) stat_prefix: String,
    /// The routes.
    pub(crate) routes: Routes,
    /// The HTTP filters before the router.
    pub(crate) filters: Vec<hcm::HttpFilter>,
    /// Path normalisation.
    pub(crate) normalization: PathNormalization,
    /// The access logs.
    pub(crate) access_logs: Vec<accesslog::AccessLog>,
    /// Whether HTTP/1.0 is accepted.
    pub(crate) http10: bool,
    /// How many proxies in front of a gateway are trusted to tell the client's address.
    pub(crate) trusted_hops: u32,
}

impl Options {
    /// The filter.
    pub(crate) fn build(self) -> listener::Filter {
        wire::network_filter(
            "envoy.filters.network.http_connection_manager",
            &self.manager(),
        )
    }

    fn manager(self) -> hcm::HttpConnectionManager {
        let mut manager = hcm::HttpConnectionManager {
            codec_type: CodecType::Auto.into(),
            stat_prefix: self.stat_prefix,
            access_log: self.access_logs,
            stream_idle_timeout: Some(wire::duration(Duration::ZERO)),
            upgrade_configs: vec![UpgradeConfig {
                upgrade_type: "websocket".to_owned(),
                ..Default::default()
            }],
            http_filters: self.filters,
            // Differs from Istio, which leaves trailers out: what a client or a server says last would be lost.
            http_protocol_options: Some(core::Http1ProtocolOptions {
                accept_http_10: self.http10,
                enable_trailers: true,
                ..Default::default()
            }),
            ..Default::default()
        };
        manager.route_specifier = Some(match self.routes {
            Routes::Named(name) => RouteSpecifier::Rds(hcm::Rds {
                config_source: Some(wire::ads()),
                route_config_name: name,
            }),
            Routes::Inline(config) => RouteSpecifier::RouteConfig(*config),
        });
        normalize_paths(&mut manager, self.normalization);
        stand_at(&mut manager, self.position, self.trusted_hops);
        manager
    }
}

fn normalize_paths(manager: &mut hcm::HttpConnectionManager, normalization: PathNormalization) {
    use PathNormalization::{DecodeAndMergeSlashes, MergeSlashes, None};
    manager.normalize_path = Some(wire::boolean(normalization != None));
    manager.merge_slashes = matches!(normalization, MergeSlashes | DecodeAndMergeSlashes);
    manager.path_with_escaped_slashes_action = match normalization {
        DecodeAndMergeSlashes => PathWithEscapedSlashesAction::UnescapeAndForward,
        _ => PathWithEscapedSlashesAction::KeepUnchanged,
    }
    .into();
}

/// Whom to believe, and what to say about oneself.
fn stand_at(manager: &mut hcm::HttpConnectionManager, position: Position, trusted_hops: u32) {
    manager.use_remote_address = Some(wire::boolean(position == Position::Gateway));
    match position {
        Position::SidecarInbound => {
            manager.server_name = "istio-envoy".to_owned();
            manager.forward_client_cert_details = ForwardClientCertDetails::AppendForward.into();
            manager.set_current_client_cert_details = Some(SetCurrentClientCertDetails {
                subject: Some(wire::boolean(true)),
                dns: true,
                uri: true,
                ..Default::default()
            });
        }
        Position::SidecarOutbound => {
            // The answer of the server's sidecar stays as it is.
            manager.server_header_transformation = ServerHeaderTransformation::PassThrough.into();
        }
        Position::Gateway => {
            manager.server_name = "istio-envoy".to_owned();
            manager.xff_num_trusted_hops = trusted_hops;
            manager.forward_client_cert_details = ForwardClientCertDetails::SanitizeSet.into();
            manager.set_current_client_cert_details = Some(SetCurrentClientCertDetails {
                subject: Some(wire::boolean(true)),
                cert: true,
                dns: true,
                uri: true,
                ..Default::default()
            });
            // No address is internal: clients of a gateway may not set the mesh's own headers.
            manager.internal_address_config = Some(InternalAddressConfig::default());
        }
    }
}

/// An HTTP filter.
pub(crate) fn http_filter<M>(name: &str, config: &M) -> hcm::HttpFilter
where
    M: xds::prost::Message + xds::prost::Name,
{
    hcm::HttpFilter {
        name: name.to_owned(),
        config_type: Some(hcm::http_filter::ConfigType::TypedConfig(pack(config))),
        ..Default::default()
    }
}
