//! The Envoy bootstrap (`envoy.config.bootstrap.v3.Bootstrap`), from YAML or JSON.
//!
//! The file is decoded strictly, as Envoy does: a field that the API does not have is an error with its place.
//! A field that has an effect which we cannot give is an error as well; settings of Envoy's own machinery
//! (watchdogs, runtime keys, statistics) are named in a warning.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use thiserror::Error;
use xds::envoy::bootstrap::Bootstrap;
use xds::envoy::core::api_config_source::ApiType;
use xds::envoy::core::grpc_service::TargetSpecifier;
use xds::envoy::core::{ApiConfigSource, HeaderValue};
use xds::json::{Json, JsonError};

use crate::config::error::{ConfigError, Within};
use proxy_xds::any;

/// Why a bootstrap cannot be used.
#[derive(Debug, Error)]
pub enum BootstrapError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is neither YAML nor JSON.
    #[error("{0}")]
    Yaml(#[from] serde_saphyr::Error),
    /// The file is not a bootstrap.
    #[error("{0}")]
    Decode(#[from] JsonError),
    /// The bootstrap asks for something that cannot be done.
    #[error("{0}")]
    Config(#[from] ConfigError),
}

/// Reads a bootstrap file.
pub fn read(path: &Path) -> Result<Bootstrap, BootstrapError> {
    let text = std::fs::read_to_string(path).map_err(|source| BootstrapError::Read {
        path: path.to_owned(),
        source,
    })?;
    parse(&text)
}

/// A bootstrap from text. JSON is YAML as well.
pub fn parse(text: &str) -> Result<Bootstrap, BootstrapError> {
    let value: serde_json::Value = serde_saphyr::from_str(text)?;
    let bootstrap: Bootstrap = Json::load().decode(&value)?;
    check(&bootstrap)?;
    Ok(bootstrap)
}

/// Where the control plane is.
#[derive(Debug, Clone, PartialEq)]
pub struct Ads {
    /// The cluster to reach it by.
    pub cluster: String,
    /// Metadata of the stream.
    pub initial_metadata: Vec<HeaderValue>,
}

/// `dynamic_resources.ads_config`; `None` if everything is static.
pub fn ads(bootstrap: &Bootstrap) -> Result<Option<Ads>, ConfigError> {
    let Some(dynamic) = &bootstrap.dynamic_resources else {
        return Ok(None);
    };
    match &dynamic.ads_config {
        Some(source) => ads_source(source)
            .map(Some)
            .within("dynamic_resources.ads_config"),
        None if dynamic.lds_config.is_some() || dynamic.cds_config.is_some() => Err(
            ConfigError::unsupported("dynamic_resources", "discovery other than by ads_config"),
        ),
        None => Ok(None),
    }
}

fn ads_source(source: &ApiConfigSource) -> Result<Ads, ConfigError> {
    match source.api_type() {
        ApiType::DeltaGrpc | ApiType::AggregatedDeltaGrpc => {}
        ApiType::Grpc | ApiType::AggregatedGrpc => {
            tracing::warn!("ads_config asks for state of the world; the delta variant is used");
        }
        other => return Err(ConfigError::unsupported("api_type", other.as_str_name())),
    }
    let service = source.grpc_services.first();
    let service = service.ok_or_else(|| ConfigError::new("grpc_services", "is empty"))?;
    match &service.target_specifier {
        Some(TargetSpecifier::EnvoyGrpc(grpc)) => Ok(Ads {
            cluster: grpc.cluster_name.clone(),
            initial_metadata: service.initial_metadata.clone(),
        }),
        _ => Err(ConfigError::unsupported(
            "grpc_services[0]",
            "a target other than envoy_grpc",
        )),
    }
}

/// The address of the admin pages, if there are any.
pub fn admin_address(bootstrap: &Bootstrap) -> Result<Option<SocketAddr>, ConfigError> {
    let admin = bootstrap.admin.as_ref();
    let address = admin.and_then(|admin| admin.address.as_ref());
    address
        .map(|address| any::socket_address(Some(address)).within("admin.address"))
        .transpose()
}

fn check(bootstrap: &Bootstrap) -> Result<(), ConfigError> {
    ads(bootstrap)?;
    admin_address(bootstrap)?;
    #[allow(deprecated)]
    let tracing = bootstrap.tracing.is_some();
    let refused = [
        (bootstrap.hds_config.is_some(), "hds_config"),
        (!bootstrap.stats_sinks.is_empty(), "stats_sinks"),
        (tracing, "tracing"),
        (
            bootstrap.default_config_source.is_some() || !bootstrap.config_sources.is_empty(),
            "config_sources",
        ),
        (
            !bootstrap.certificate_provider_instances.is_empty(),
            "certificate_provider_instances",
        ),
        (
            bootstrap.xds_delegate_extension.is_some(),
            "xds_delegate_extension",
        ),
        (!bootstrap.header_prefix.is_empty(), "header_prefix"),
    ];
    if let Some((_, field)) = refused.iter().find(|(set, _)| *set) {
        return Err(ConfigError::unsupported(*field, "this field"));
    }
    let noted = [
        (bootstrap.cluster_manager.is_some(), "cluster_manager"),
        (bootstrap.layered_runtime.is_some(), "layered_runtime"),
        (bootstrap.overload_manager.is_some(), "overload_manager"),
        (bootstrap.stats_config.is_some(), "stats_config"),
        (bootstrap.watchdogs.is_some(), "watchdogs"),
        (
            bootstrap.typed_dns_resolver_config.is_some(),
            "typed_dns_resolver_config",
        ),
        (
            !bootstrap.bootstrap_extensions.is_empty(),
            "bootstrap_extensions",
        ),
    ];
    for (_, field) in noted.iter().filter(|(set, _)| *set) {
        tracing::warn!(field, "the bootstrap sets a field that has no effect here");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOTSTRAP: &str = r#"
node: { id: test, cluster: tests }
admin: { address: { socket_address: { address: 127.0.0.1, port_value: 15000 } } }
dynamic_resources:
  ads_config:
    api_type: DELTA_GRPC
    transport_api_version: V3
    grpc_services: [{ envoy_grpc: { cluster_name: xds-grpc } }]
static_resources:
  clusters:
  - name: xds-grpc
    connect_timeout: 1s
    type: STATIC
"#;

    #[test]
    fn yaml_is_read_completely() {
        let bootstrap = parse(BOOTSTRAP).unwrap();
        assert_eq!(bootstrap.node.as_ref().unwrap().id, "test");
        assert_eq!(
            admin_address(&bootstrap).unwrap(),
            Some("127.0.0.1:15000".parse().unwrap())
        );
        assert_eq!(
            ads(&bootstrap).unwrap(),
            Some(Ads {
                cluster: "xds-grpc".into(),
                initial_metadata: Vec::new()
            })
        );
    }

    #[test]
    fn a_misspelt_field_is_an_error_with_its_place() {
        let text = BOOTSTRAP.replace("connect_timeout", "conect_timeout");
        assert_eq!(
            parse(&text).unwrap_err().to_string(),
            "static_resources.clusters[0]: unrecognized field name 'conect_timeout'"
        );
    }

    #[test]
    fn what_cannot_be_done_is_refused() {
        let text = format!("{BOOTSTRAP}\nstats_sinks: [{{ name: envoy.stat_sinks.statsd }}]\n");
        assert_eq!(
            parse(&text).unwrap_err().to_string(),
            "stats_sinks: this field is not supported"
        );
    }
}
