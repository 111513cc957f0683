//! Filters in their order, built per worker from configuration when it is first used.
//!
//! Configuration is plain data. A worker keeps the chain of a connection manager or cluster for as long as that
//! version of it lives, so that a request finds its filters without a look-up.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;
use std::sync::{Arc, Weak};

use super::Filter;
use super::registry::{Build, Registry};
use crate::config::cluster::Cluster;
use crate::config::filter::FilterSpec;
use crate::config::http::HttpConnectionManager;
use crate::config::route::overrides::FilterOverrides;
use crate::telemetry::WorkerTelemetry;

/// Filters in their order.
#[derive(Debug, Default)]
pub struct FilterChain {
    links: Vec<Link>,
    enabled: u64,
}

/// A filter in its place.
#[derive(Debug)]
pub struct Link {
    /// The filter.
    pub filter: Rc<dyn Filter>,
    /// Its name, by which routes configure it.
    pub name: Arc<str>,
    disabled: bool,
}

impl FilterChain {
    /// Builds the filters of a list.
    fn build(specs: &[FilterSpec], build: &Build<'_>) -> Rc<Self> {
        let links: Vec<Link> = specs
            .iter()
            .map(|spec| Link {
                filter: build.filter(spec),
                name: spec.name.clone(),
                disabled: spec.disabled,
            })
            .collect();
        let mut chain = Self { links, enabled: 0 };
        chain.enabled = chain.mask(|link| !link.disabled);
        Rc::new(chain)
    }

    /// The positions of the filters, whose number translation bounds.
    #[inline]
    pub fn positions(&self) -> Range<u8> {
        0..self.links.len() as u8
    }

    /// The filter at a position.
    #[inline]
    pub fn link(&self, position: u8) -> &Link {
        &self.links[position as usize]
    }

    /// A bit for each filter that works where no route is known.
    #[inline]
    pub fn enabled_by_default(&self) -> u64 {
        self.enabled
    }

    /// A bit for each filter that works for a route.
    pub fn enabled_for(&self, route: &FilterOverrides) -> u64 {
        if route.is_empty() {
            return self.enabled;
        }
        self.mask(|link| match route.get(&link.name) {
            Some(said) => !said.disabled,
            None => !link.disabled,
        })
    }

    fn mask(&self, works: impl Fn(&Link) -> bool) -> u64 {
        let links = self.links.iter().enumerate();
        links
            .filter(|(_, link)| works(link))
            .fold(0, |mask, (position, _)| mask | 1 << position)
    }
}

/// The chains of one worker.
#[derive(Debug, Default)]
pub struct WorkerChains {
    registry: Registry,
    managers: Built<HttpConnectionManager>,
    clusters: Built<Cluster>,
}

/// Chains by the configuration that they were built from.
type Built<T> = RefCell<HashMap<usize, (Weak<T>, Rc<FilterChain>)>>;

impl WorkerChains {
    /// The chains of a worker whose filters come from this registry.
    pub fn new(registry: Registry) -> Self {
        Self {
            registry,
            ..Self::default()
        }
    }

    /// The chain of a connection manager.
    pub fn of_manager(
        &self,
        hcm: &Arc<HttpConnectionManager>,
        telemetry: &WorkerTelemetry,
    ) -> Rc<FilterChain> {
        let build = Build::new(&self.registry, telemetry, &hcm.stat_prefix);
        find(&self.managers, hcm, &hcm.filters, &build)
    }

    /// The chain of a cluster, if it has one.
    #[inline]
    pub fn of_cluster(
        &self,
        cluster: &Arc<Cluster>,
        telemetry: &WorkerTelemetry,
    ) -> Option<Rc<FilterChain>> {
        let specs = &cluster.http.filters;
        if specs.is_empty() {
            return None;
        }
        let build = Build::new(&self.registry, telemetry, &cluster.stat_name);
        Some(find(&self.clusters, cluster, specs, &build))
    }
}

/// The chain of an owner; chains of owners that are gone are forgotten when a new one is built.
fn find<T>(
    built: &Built<T>,
    owner: &Arc<T>,
    specs: &[FilterSpec],
    build: &Build<'_>,
) -> Rc<FilterChain> {
    // The weak reference keeps the address from meaning another owner.
    let address = Arc::as_ptr(owner) as usize;
    let mut built = built.borrow_mut();
    if let Some((_, chain)) = built.get(&address) {
        return chain.clone();
    }
    built.retain(|_, (owner, _)| owner.strong_count() > 0);
    let chain = FilterChain::build(specs, build);
    built.insert(address, (Arc::downgrade(owner), chain.clone()));
    chain
}
