//! One worker: a thread with its own runtime, listeners, upstream pools and counters.
//!
//! Everything here is `!Send` on purpose. Workers share nothing but the published configuration, which they
//! read through a cache, so that a request costs no write to memory that another worker reads.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::config::{Config, ConfigHandle};
use crate::upstream::Upstreams;

/// The configuration as one worker sees it. Cloning the `Rc` touches no shared memory; the inner `Arc` is
/// cloned once per worker and publication.
pub type View = Rc<Arc<Config>>;

/// What the tasks of one worker share.
#[derive(Debug)]
pub struct Worker {
    /// 0-based number of the worker.
    pub index: usize,
    /// Balancers and connection pools by cluster slot.
    pub upstreams: Upstreams,
    /// Counters and log buffers of this worker.
    pub telemetry: crate::telemetry::WorkerTelemetry,
    cache: RefCell<arc_swap::Cache<Arc<ArcSwap<Config>>, Arc<Config>>>,
    view: RefCell<View>,
}

impl Worker {
    /// A worker over the published configuration.
    pub fn new(
        index: usize,
        config: &ConfigHandle,
        telemetry: crate::telemetry::WorkerTelemetry,
    ) -> Rc<Self> {
        Rc::new(Self {
            index,
            upstreams: Upstreams::default(),
            telemetry,
            cache: RefCell::new(config.cache()),
            view: RefCell::new(Rc::new(config.load())),
        })
    }

    /// The configuration in force. A request calls this once and keeps the view to its end.
    pub fn view(&self) -> View {
        let mut cache = self.cache.borrow_mut();
        let current = cache.load();
        let mut view = self.view.borrow_mut();
        if !Arc::ptr_eq(current, &view) {
            *view = Rc::new(current.clone());
        }
        view.clone()
    }
}
