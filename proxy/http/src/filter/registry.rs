//! Which filters exist: from the message that configures one to the filter.

use std::any::Any;
use std::sync::Arc;

use super::Filter;
use super::cors::CorsFilter;
use super::fault::FaultFilter;
use super::grpc_stats::GrpcStatsFilter;
use super::istio_stats::IstioStats;
use super::peer_metadata::PeerMetadata;
use super::rbac::RbacFilter;
use crate::config::error::ConfigError;
use crate::config::filter::HttpFilter;

/// Builds a filter; `None` if the configuration is not of the filter's type.
type Factory = fn(&HttpFilter) -> Option<Arc<dyn Filter>>;

const FACTORIES: [(&str, Factory); 6] = [
    ("envoy.extensions.filters.http.cors.v3.Cors", |filter| {
        let name = (&*filter.name).into();
        Some(Arc::new(CorsFilter { name }))
    }),
    (
        "envoy.extensions.filters.http.fault.v3.HTTPFault",
        |filter| {
            let name = (&*filter.name).into();
            Some(Arc::new(FaultFilter::new(name, configured(filter)?)))
        },
    ),
    (
        "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig",
        |filter| {
            let name = (&*filter.name).into();
            Some(Arc::new(GrpcStatsFilter { name }))
        },
    ),
    ("envoy.extensions.filters.http.rbac.v3.RBAC", |filter| {
        let (name, config) = ((&*filter.name).into(), configured(filter)?);
        Some(Arc::new(RbacFilter { name, config }))
    }),
    ("io.istio.http.peer_metadata.Config", |filter| {
        Some(Arc::new(PeerMetadata::new(
            &filter.name,
            &*configured(filter)?,
        )))
    }),
    ("stats.PluginConfig", |filter| {
        Some(Arc::new(IstioStats::new(&filter.name, configured(filter)?)))
    }),
];

fn configured<T: Any + Send + Sync>(filter: &HttpFilter) -> Option<Arc<T>> {
    filter.config.get()
}

/// Builds a configured filter.
///
/// # Errors
/// When there is no such filter, or its configuration is of another type.
pub fn build(filter: &HttpFilter) -> Result<Arc<dyn Filter>, ConfigError> {
    let factory = FACTORIES.iter().find(|(kind, _)| *kind == &*filter.kind);
    let Some((_, factory)) = factory else {
        let what = format_args!("the HTTP filter \"{}\"", filter.kind);
        return Err(ConfigError::unsupported("typed_config", what));
    };
    factory(filter).ok_or_else(|| {
        let message = format!("not the configuration of \"{}\"", filter.kind);
        ConfigError::new("typed_config", message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::filter::FilterConfig;
    use crate::config::filter::fault::FaultConfig;
    use crate::config::filter::peer_metadata::PeerMetadataConfig;
    use crate::config::filter::stats::StatsConfig;
    use crate::config::rbac::Rbac;

    fn filter(kind: &str, config: FilterConfig) -> Result<String, String> {
        let built = build(&HttpFilter {
            name: "its-name".into(),
            kind: kind.into(),
            config,
            disabled: false,
        });
        let named = built.map(|filter| filter.name().to_owned());
        named.map_err(|error| error.to_string())
    }

    #[test]
    fn every_filter_is_built_from_its_configuration() {
        let stats = StatsConfig {
            local: Arc::default(),
            host_header_fallback: true,
        };
        let configs = [
            FilterConfig::default(),
            FilterConfig::new(FaultConfig::default()),
            FilterConfig::default(),
            FilterConfig::new(Rbac::default()),
            FilterConfig::new(PeerMetadataConfig::default()),
            FilterConfig::new(stats),
        ];
        assert_eq!(FACTORIES.len(), configs.len());
        for ((kind, _), config) in FACTORIES.iter().zip(configs) {
            assert_eq!(filter(kind, config), Ok("its-name".to_owned()), "{kind}");
        }
    }

    #[test]
    fn unknown_filters_and_foreign_configurations_are_refused() {
        assert_eq!(
            filter("x.Y", FilterConfig::default()),
            Err("typed_config: the HTTP filter \"x.Y\" is not supported".to_owned())
        );
        let kind = "envoy.extensions.filters.http.rbac.v3.RBAC";
        assert_eq!(
            filter(kind, FilterConfig::default()),
            Err(format!("typed_config: not the configuration of \"{kind}\""))
        );
    }
}
