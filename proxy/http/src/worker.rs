//! The part of a worker that serves HTTP.

use std::ops::Deref;
use std::rc::Rc;

use crate::filter::chain::WorkerChains;
use crate::filter::registry::Registry;
use crate::upstream::worker::Worker;

/// A worker with its HTTP filters. Reads as the worker otherwise.
#[derive(Debug)]
pub struct HttpWorker {
    /// What requests and connections share.
    pub worker: Rc<Worker>,
    /// HTTP filters, built from the configuration that is used.
    pub filters: WorkerChains,
}

impl HttpWorker {
    /// A worker whose filters come from a registry.
    pub fn new(worker: Rc<Worker>, filters: Registry) -> Rc<Self> {
        Rc::new(Self {
            worker,
            filters: WorkerChains::new(filters),
        })
    }
}

impl Deref for HttpWorker {
    type Target = Worker;

    fn deref(&self) -> &Worker {
        &self.worker
    }
}
