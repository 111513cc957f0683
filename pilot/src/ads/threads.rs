//! The threads that configuration is generated on.
//!
//! What a mesh's users write and what proxies ask for decide how long generation takes, so it never
//! runs on a worker of the async runtime, which serves everything else.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::thread::available_parallelism;

use mesh_runtime::metrics::Registry;
use mesh_runtime::pool::{Pool, Refused};
use tonic::Status;

/// Streams that wait for a thread. Each waits once at most, and the listener has fewer connections.
const QUEUE_MAX: usize = 20_000;

/// Worlds are made one after the other.
const WORLDS_WAITING_MAX: usize = 1;

/// Threads for streams, and one for worlds.
#[derive(Clone, Debug)]
pub struct Threads {
    streams: Pool,
    worlds: Pool,
}

impl Threads {
    /// Starts as many threads for streams as there are processors: more of them at once would only
    /// add memory.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start() -> io::Result<Self> {
        let processors = available_parallelism().map_or(1, usize::from);
        Ok(Self {
            streams: Pool::new("push", processors, QUEUE_MAX)?,
            worlds: Pool::new("world", 1, WORLDS_WAITING_MAX)?,
        })
    }

    /// The threads for streams.
    pub fn streams(&self) -> &Pool {
        &self.streams
    }

    /// Registers everything under `weft_discovery_`.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("weft_discovery");
        self.streams.register(registry);
    }

    /// Does the work of a caller's stream.
    pub(super) async fn push<T: Send + 'static>(
        &self,
        caller: Option<IpAddr>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Status> {
        let caller = caller.unwrap_or(Ipv4Addr::UNSPECIFIED.into());
        let done = self.streams.finish(caller, work).await;
        done.map_err(|refused| match refused {
            Refused::Full | Refused::Late => Status::resource_exhausted(refused.to_string()),
            Refused::Panicked => Status::internal(refused.to_string()),
        })
    }

    /// Makes a world.
    pub(crate) async fn world<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refused> {
        self.worlds.finish(Ipv4Addr::UNSPECIFIED.into(), work).await
    }
}
