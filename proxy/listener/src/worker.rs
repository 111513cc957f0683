//! The part of a worker that accepts connections.

use std::ops::Deref;
use std::rc::Rc;

use crate::http::filter::registry::Registry;
use crate::http::worker::HttpWorker;
use crate::set::ListenerSet;
use crate::upstream::worker::Worker;

/// A worker with its listeners and filters. Reads as the worker otherwise.
#[derive(Debug)]
pub struct ListeningWorker {
    /// What requests and connections share.
    pub worker: Rc<Worker>,
    /// The same with HTTP filters.
    pub http: Rc<HttpWorker>,
    /// Accept loops and drains.
    pub listeners: ListenerSet,
}

impl ListeningWorker {
    /// A worker that does not listen yet, whose HTTP filters come from a registry.
    pub fn new(worker: Rc<Worker>, filters: Registry) -> Rc<Self> {
        Rc::new(Self {
            http: HttpWorker::new(worker.clone(), filters),
            worker,
            listeners: ListenerSet::default(),
        })
    }
}

impl Deref for ListeningWorker {
    type Target = Worker;

    fn deref(&self) -> &Worker {
        &self.worker
    }
}
