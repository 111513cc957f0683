//! The part of a worker that accepts connections.

use std::ops::Deref;
use std::rc::Rc;

use crate::set::ListenerSet;
use crate::upstream::worker::Worker;

/// A worker with its listeners. Reads as the worker otherwise.
#[derive(Debug)]
pub struct ListeningWorker {
    /// What requests and connections share.
    pub worker: Rc<Worker>,
    /// Accept loops and drains.
    pub listeners: ListenerSet,
}

impl ListeningWorker {
    /// A worker that does not listen yet.
    pub fn new(worker: Rc<Worker>) -> Rc<Self> {
        Rc::new(Self {
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
