//! What the admin pages and readiness want to know of the xDS client.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use xds::type_url::ResourceType;

/// A version that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The version.
    pub version: Arc<str>,
    /// Why, as in the NACK.
    pub reason: String,
}

/// Shared by the client, which writes, and the admin pages, which read.
#[derive(Debug)]
pub struct XdsStatus {
    rejections: Mutex<BTreeMap<(ResourceType, Arc<str>), Rejection>>,
    warming: Mutex<Vec<Arc<str>>>,
    connected: AtomicBool,
    initialized: watch::Sender<bool>,
    counts: Mutex<BTreeMap<ResourceType, UpdateCounts>>,
    connects: AtomicU64,
}

/// Updates of one resource type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UpdateCounts {
    /// Responses accepted as a whole.
    pub success: u64,
    /// Responses with a refused resource.
    pub rejected: u64,
}

impl Default for XdsStatus {
    fn default() -> Self {
        Self {
            rejections: Mutex::default(),
            warming: Mutex::default(),
            connected: AtomicBool::new(false),
            initialized: watch::Sender::new(false),
            counts: Mutex::default(),
            connects: AtomicU64::new(0),
        }
    }
}

impl XdsStatus {
    /// Resources whose last version was refused, with the reason.
    pub fn rejections(&self) -> BTreeMap<(ResourceType, Arc<str>), Rejection> {
        lock(&self.rejections).clone()
    }

    /// Names of resources that wait for what they depend on.
    pub fn warming(&self) -> Vec<Arc<str>> {
        lock(&self.warming).clone()
    }

    /// Whether there is a stream to the control plane.
    pub fn connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// Turns true when clusters and listeners have arrived once and are in force: the proxy is ready.
    pub fn initialized(&self) -> watch::Receiver<bool> {
        self.initialized.subscribe()
    }

    /// Updates by resource type.
    pub fn counts(&self) -> BTreeMap<ResourceType, UpdateCounts> {
        lock(&self.counts).clone()
    }

    /// Streams begun.
    pub fn connects(&self) -> u64 {
        self.connects.load(Ordering::Relaxed)
    }

    pub(super) fn set_connected(&self, connected: bool) {
        self.connected.store(connected, Ordering::Relaxed);
        if connected {
            self.connects.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn set_initialized(&self) {
        self.initialized
            .send_if_modified(|initialized| !std::mem::replace(initialized, true));
    }

    pub(super) fn set_warming(&self, names: Vec<Arc<str>>) {
        *lock(&self.warming) = names;
    }

    pub(super) fn count_update(&self, resource_type: ResourceType, rejected: bool) {
        let mut counts = lock(&self.counts);
        let counts = counts.entry(resource_type).or_default();
        match rejected {
            true => counts.rejected += 1,
            false => counts.success += 1,
        }
    }

    pub(super) fn accepted(&self, resource_type: ResourceType, name: &Arc<str>) {
        lock(&self.rejections).remove(&(resource_type, name.clone()));
    }

    pub(super) fn rejected(&self, resource_type: ResourceType, name: &Arc<str>, why: Rejection) {
        lock(&self.rejections).insert((resource_type, name.clone()), why);
    }

    pub(super) fn forget(&self, resource_type: ResourceType, name: &str) {
        lock(&self.rejections).remove(&(resource_type, name.into()));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
