//! Which filter a configuration makes: a line for each type, by the full name of the message that configures it.
//!
//! The translation from protobuf has a line for each type too; a test of the composition holds the two together.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use http::StatusCode;

use super::{Filter, HeadContext, Step};
use super::{cors, fault, grpc_stats, istio_stats, peer_metadata, rbac};
use crate::config::filter::{FilterConfig, FilterData, FilterSpec};
use crate::local_reply::LocalReply;
use crate::stream::RequestHead;
use crate::telemetry::WorkerTelemetry;
use crate::telemetry::stream_info::ResponseFlags;

/// Makes the filter of a configuration; `None` if the data is of another type.
type BuiltIn = fn(&FilterConfig, &Build<'_>) -> Option<Rc<dyn Filter>>;

/// The filters of this proxy.
const BUILT_IN: &[(&str, BuiltIn)] = &[
    (cors::KIND, cors::build),
    (fault::KIND, fault::build),
    (grpc_stats::KIND, grpc_stats::build),
    (istio_stats::KIND, istio_stats::build),
    (peer_metadata::KIND, peer_metadata::build),
    (rbac::KIND, rbac::build),
];

/// Makes a filter that is not built in.
pub type Factory = Arc<dyn Fn(&FilterConfig) -> Rc<dyn Filter> + Send + Sync>;

/// All filters that can be configured.
#[derive(Clone, Default)]
pub struct Registry {
    further: Arc<[(Box<str>, Factory)]>,
    shared: Shared,
}

impl Registry {
    /// The filters of this proxy and further ones, which are configured by an `xds.type.v3.TypedStruct` of these
    /// types and read a [`Struct`](crate::config::metadata::Struct).
    pub fn with(further: impl IntoIterator<Item = (Box<str>, Factory)>) -> Self {
        Self {
            further: further.into_iter().collect(),
            shared: Shared::default(),
        }
    }

    /// The types of the further filters.
    pub fn further(&self) -> Arc<[Box<str>]> {
        self.further.iter().map(|(kind, _)| kind.clone()).collect()
    }

    /// The types of the filters that are built in.
    pub fn built_in() -> impl Iterator<Item = &'static str> {
        BUILT_IN.iter().map(|(kind, _)| *kind)
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.further().iter()).finish()
    }
}

/// What a filter is built with besides its configuration.
#[derive(Debug)]
pub struct Build<'a> {
    registry: &'a Registry,
    /// The counters of the worker.
    pub telemetry: &'a WorkerTelemetry,
    /// The name in statistics of the connection manager or cluster.
    pub stat_prefix: &'a Arc<str>,
}

impl<'a> Build<'a> {
    /// Builds filters of a registry.
    pub fn new(
        registry: &'a Registry,
        telemetry: &'a WorkerTelemetry,
        stat_prefix: &'a Arc<str>,
    ) -> Self {
        Self {
            registry,
            telemetry,
            stat_prefix,
        }
    }

    /// What all workers share for one configuration: limits that are promises about the process.
    pub fn shared<T: Default + Send + Sync + 'static>(&self, config: &FilterConfig) -> Arc<T> {
        self.registry.shared.get(config)
    }

    /// The filter in a place.
    pub fn filter(&self, spec: &FilterSpec) -> Rc<dyn Filter> {
        let kind = spec.config.kind();
        let built_in = BUILT_IN.iter().find(|(known, _)| *known == kind);
        if let Some(filter) = built_in.and_then(|(_, build)| build(&spec.config, self)) {
            return filter;
        }
        let mut further = self.registry.further.iter();
        match further.find(|(known, _)| **known == *kind) {
            Some((_, build)) => build(&spec.config),
            // Translation refuses such a configuration. Should it come by another way, nothing passes.
            None => Rc::new(Refusing),
        }
    }
}

/// Stands where a filter cannot be built.
#[derive(Debug)]
struct Refusing;

impl Filter for Refusing {
    fn request_head(&self, _: &mut HeadContext<'_>, _: &mut RequestHead) -> Step<RequestHead> {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        let flags = ResponseFlags::default();
        let reply = LocalReply::empty(status, "filter_not_available", flags);
        Step::Reply(Box::new(reply))
    }
}

/// What the workers' filters of one configuration share, for as long as the configuration lives.
#[derive(Debug, Clone, Default)]
struct Shared(Arc<Mutex<HashMap<usize, SharedEntry>>>);

type SharedEntry = (Weak<dyn FilterData>, Arc<dyn Any + Send + Sync>);

impl Shared {
    fn get<T: Default + Send + Sync + 'static>(&self, config: &FilterConfig) -> Arc<T> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|_, (config, _)| config.strong_count() > 0);
        let (_, shared) = entries
            .entry(config.identity())
            .or_insert_with(|| (config.downgrade(), Arc::<T>::default()));
        let shared = shared.clone().downcast();
        shared.unwrap_or_else(|_| Arc::default())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::config::filter::fault::FaultConfig;
    use crate::config::filter::peer_metadata::PeerMetadataConfig;
    use crate::config::filter::stats::StatsConfig;
    use crate::config::rbac::Rbac;

    /// True if a filter is built, and not what stands for one that cannot be.
    fn is_built(kind: &str, data: Arc<dyn FilterData>) -> bool {
        let (registry, telemetry) = (Registry::default(), WorkerTelemetry::default());
        let stat_prefix = "x".into();
        let build = Build::new(&registry, &telemetry, &stat_prefix);
        let filter = build.filter(&FilterSpec {
            name: "its-name".into(),
            config: FilterConfig::shared(kind, data),
            disabled: false,
        });
        format!("{filter:?}") != format!("{Refusing:?}")
    }

    #[test]
    fn every_filter_is_built_from_its_configuration_only() {
        let stats = StatsConfig {
            local: Arc::default(),
            host_header_fallback: true,
        };
        let configured: [(&str, Arc<dyn FilterData>); 4] = [
            (fault::KIND, Arc::new(FaultConfig::default())),
            (istio_stats::KIND, Arc::new(stats)),
            (peer_metadata::KIND, Arc::new(PeerMetadataConfig::default())),
            (rbac::KIND, Arc::new(Rbac::default())),
        ];
        for (kind, data) in configured {
            assert!(is_built(kind, data), "{kind}");
            assert!(!is_built(kind, Arc::new(())), "{kind}");
        }
        for kind in [cors::KIND, grpc_stats::KIND] {
            assert!(is_built(kind, Arc::new(())), "{kind}");
        }
        assert!(!is_built("x.Y", Arc::new(())));
    }

    #[test]
    fn what_is_shared_lives_as_long_as_its_configuration() {
        let shared = Shared::default();
        let config = FilterConfig::new("a", 1u32);
        shared.get::<AtomicU64>(&config).store(7, Ordering::Relaxed);
        let again = shared.get::<AtomicU64>(&config.clone());
        assert_eq!(again.load(Ordering::Relaxed), 7);
        let other = FilterConfig::new("a", 1u32);
        assert_eq!(shared.get::<AtomicU64>(&other).load(Ordering::Relaxed), 0);
        drop(config);
        shared.get::<AtomicU64>(&other);
        assert_eq!(shared.0.lock().unwrap().len(), 1);
    }
}
