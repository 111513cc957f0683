//! A cluster: every kind that galley reads, watched through the API server.
//!
//! One task follows each kind and sends what it sees; [`Cluster`] keeps the newest
//! version of every object and says what changed. An object goes through the same
//! decoding as a file's, so a bad one is a finding of its own and never an error of
//! the watch. While the API server is away the last state stays; when it is back,
//! the lists are compared and only differences go on.
//!
//! ServiceAccounts are not watched: a workload's identity stands in its pod.

mod cluster;
mod definitions;
mod follow;
mod item;
mod keep;
mod pace;
mod received;
mod watched;

pub(crate) use self::cluster::{Change, Cluster, Seen};
pub(crate) use self::item::Observed;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::{self, JoinHandle};

use ::kube::Client;
use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::definitions::Definitions;
use self::follow::Follower;
use crate::kind::Kind;

/// Changes that wait for the pipeline: enough for a burst of endpoints; a first list
/// that is longer is read as fast as the pipeline takes it.
const CHANGES_MAX: usize = 4096;

/// Threads that decode what the API server sends.
const THREADS: usize = 2;
const THREAD_NAME: &str = "galley-watch";

/// What is read from the cluster.
#[derive(Debug, Clone)]
pub struct KubeOptions {
    /// The control plane's namespace, which is the mesh's root namespace too.
    pub namespace: String,
    /// The control plane's revision; configuration that is labelled for another one
    /// (`istio.io/rev`) is left out.
    pub revision: String,
    /// Name of the ConfigMap with the mesh configuration (`istio`, `istio-REVISION`).
    pub mesh_config_map: String,
}

impl Default for KubeOptions {
    fn default() -> Self {
        Self {
            namespace: "istio-system".to_owned(),
            revision: "default".to_owned(),
            mesh_config_map: "istio".to_owned(),
        }
    }
}

/// A cluster as a source of objects.
#[derive(Clone)]
pub struct KubeSource {
    client: Client,
    options: KubeOptions,
}

impl fmt::Debug for KubeSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KubeSource")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl KubeSource {
    /// The cluster that `client` talks to.
    pub fn new(client: Client, options: KubeOptions) -> Self {
        Self { client, options }
    }

    /// What is read.
    pub fn options(&self) -> &KubeOptions {
        &self.options
    }

    /// The channel between [`run`](Self::run) and the pipeline.
    pub(crate) fn channel() -> (mpsc::Sender<Change>, mpsc::Receiver<Change>) {
        mpsc::channel(CHANGES_MAX)
    }

    /// Follows all kinds on threads of its own until `shutdown` is cancelled or nobody listens any more. A list of
    /// thousands of objects is decoded in one go, which would hold an async worker that others wait for.
    pub(crate) fn start(
        self,
        changes: mpsc::Sender<Change>,
        shutdown: CancellationToken,
    ) -> io::Result<JoinHandle<()>> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name(THREAD_NAME)
            .enable_all()
            .build()?;
        let thread = thread::Builder::new().name(THREAD_NAME.to_owned());
        thread.spawn(move || runtime.block_on(self.run(changes, shutdown)))
    }

    async fn run(self, changes: mpsc::Sender<Change>, shutdown: CancellationToken) {
        let mut tasks = JoinSet::new();
        let definitions = Definitions::default();
        let follower = Follower {
            client: self.client.clone(),
            options: Arc::new(self.options),
            definitions: definitions.subscribe(),
            streaming: Arc::new(AtomicBool::new(true)),
            changes,
        };
        tasks.spawn(definitions.follow(self.client));
        for kind in Kind::watched() {
            tasks.spawn(follower.clone().follow(kind));
        }
        let closed = follower.changes.clone();
        drop(follower);
        let ended = shutdown.run_until_cancelled(async {
            tokio::select! {
                ended = tasks.join_next() => ended,
                () = closed.closed() => None,
            }
        });
        let ended = ended.await;
        if let Some(Some(Err(error))) = ended
            && error.is_panic()
        {
            std::panic::resume_unwind(error.into_panic());
        }
    }
}
