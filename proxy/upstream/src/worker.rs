//! What the tasks of one worker share.
//!
//! Everything here is `!Send` on purpose. Workers share nothing but what is published, which they read through a
//! cache, so that a request costs no write to memory that another worker reads.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::Upstreams;
use crate::runtime::{Runtime, RuntimeHandle};
use crate::telemetry::WorkerTelemetry;

/// What is in force, as one worker sees it. Cloning the `Rc` touches no shared memory; the inner `Arc` is
/// cloned once per worker and publication.
pub type View = Rc<Arc<Runtime>>;

/// What the tasks of one worker share.
#[derive(Debug)]
pub struct Worker {
    /// 0-based number of the worker.
    pub index: usize,
    /// Balancers and connection pools by cluster slot.
    pub upstreams: Upstreams,
    /// Counters and log buffers of this worker.
    pub telemetry: WorkerTelemetry,
    /// Header bytes of requests that wait for their response.
    pub header_bytes: HeaderBytes,
    cache: RefCell<arc_swap::Cache<Arc<ArcSwap<Runtime>>, Arc<Runtime>>>,
    view: RefCell<View>,
}

impl Worker {
    /// A worker over the published configuration.
    pub fn new(index: usize, runtime: &RuntimeHandle, telemetry: WorkerTelemetry) -> Rc<Self> {
        Rc::new(Self {
            index,
            upstreams: Upstreams::default(),
            telemetry,
            header_bytes: HeaderBytes::default(),
            cache: RefCell::new(runtime.cache()),
            view: RefCell::new(Rc::new(runtime.load())),
        })
    }

    /// What is in force. A request calls this once and keeps the view to its end.
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

/// Bytes that are held, with the most that may be.
#[derive(Debug, Default)]
pub struct HeaderBytes(Cell<usize>);

impl HeaderBytes {
    /// The bytes held now.
    pub fn held(&self) -> usize {
        self.0.get()
    }

    /// True if as many more do not exceed `max`.
    pub fn fits(&self, bytes: usize, max: usize) -> bool {
        self.held().saturating_add(bytes) <= max
    }

    /// Holds as many more.
    pub fn take(&self, bytes: usize) {
        self.0.set(self.held() + bytes);
    }

    /// Holds as many less.
    pub fn give_back(&self, bytes: usize) {
        self.0.set(self.held() - bytes);
    }
}
