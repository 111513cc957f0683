//! What workers count of one host.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Passive health of one host.
#[derive(Debug, Default)]
pub struct HostMonitor {
    pub(super) ejected: AtomicBool,
    pub(super) consecutive_5xx: AtomicU32,
    pub(super) consecutive_gateway_failure: AtomicU32,
    pub(super) consecutive_local_origin_failure: AtomicU32,
    pub(super) rates: [Rate; 2],
}

impl HostMonitor {
    /// True while the host is ejected.
    #[inline]
    pub fn ejected(&self) -> bool {
        self.ejected.load(Ordering::Relaxed)
    }
}

/// Requests since the last sweep.
#[derive(Debug, Default)]
pub(super) struct Rate {
    total: AtomicU32,
    success: AtomicU32,
}

impl Rate {
    pub(super) fn count(&self, success: bool) {
        self.total.fetch_add(1, Ordering::Relaxed);
        if success {
            self.success.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn take(&self) -> (u32, u32) {
        (
            self.total.swap(0, Ordering::Relaxed),
            self.success.swap(0, Ordering::Relaxed),
        )
    }
}

/// Writes only if there is something to clear: the line stays shared while all is well.
pub(super) fn clear(counter: &AtomicU32) {
    if counter.load(Ordering::Relaxed) != 0 {
        counter.store(0, Ordering::Relaxed);
    }
}
