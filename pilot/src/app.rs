//! The assembly: snapshots in, a service and debug pages out.

mod changed;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Instant;

use mesh_api::identity::SpiffeId;
use mesh_api::snapshot::Snapshot;
use mesh_runtime::metrics;
use mesh_runtime::pool::{Pool, Refused};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use xds::resource::Any;
use xds::type_url::ResourceType;

use crate::access::{self, Reviewer, Reviews, Timing};
use crate::ads::AdsService;
use crate::ads::connection::Shared;
use crate::ads::debounce::{Debounce, Debouncer};
use crate::ads::progress::Changes;
use crate::ads::refusals::Refusals;
use crate::ads::registry::Registry;
use crate::ads::threads::Threads;
use crate::caller::Caller;
use crate::debug::{self, page::Pages};
use crate::metrics::Metrics;
use crate::node::Node;
use crate::world::World;

/// How discovery runs.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// How changes are grouped.
    pub debounce: Debounce,
    /// How long answers about access to Secrets hold.
    pub access: Timing,
}

/// Discovery.
#[derive(Debug)]
pub struct Pilot {
    config: Config,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    worlds: watch::Sender<Arc<World>>,
    shared: Arc<Shared>,
    reviews: Reviews,
}

impl Pilot {
    /// Discovery for the snapshots that come over `snapshots`; `reviewer` decides who may read
    /// Secrets. Nothing happens before [`Pilot::run`] but serving the first snapshot.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn new(
        mut snapshots: watch::Receiver<Arc<Snapshot>>,
        reviewer: Arc<dyn Reviewer>,
        config: Config,
    ) -> io::Result<Self> {
        let (questions, reviews) = access::channel(reviewer, config.access);
        let first = snapshots.borrow_and_update().clone();
        let world = World::new(first);
        let shared = Shared {
            registry: Registry::default(),
            refusals: Refusals::default(),
            threads: Threads::start()?,
            metrics: Metrics::default(),
            changes: Changes::default(),
            questions,
            shutdown: CancellationToken::new(),
        };
        let (worlds, _) = watch::channel(Arc::new(world));
        Ok(Self {
            config,
            snapshots,
            worlds,
            shared: Arc::new(shared),
            reviews,
        })
    }

    /// The gRPC service. The listener in front of it must leave a
    /// [`crate::ads::authenticate::PeerIdentity`] in each request's extensions.
    pub fn ads_service(&self) -> AdsService {
        AdsService::new(Arc::clone(&self.shared), self.worlds.subscribe())
    }

    /// The pages under `/debug`. The listener in front of them must leave a
    /// [`crate::debug::scope::Scope`] in each request's extensions.
    pub fn debug_router(&self, pages: Pages) -> axum::Router {
        let shared = &self.shared;
        let (registry, refusals) = (shared.registry.clone(), shared.refusals.clone());
        debug::router(registry, refusals, self.worlds.subscribe(), pages)
    }

    /// Who is connected.
    pub fn registry(&self) -> &Registry {
        &self.shared.registry
    }

    /// Who was refused; other services behind the same listener add to it.
    pub fn refusals(&self) -> &Refusals {
        &self.shared.refusals
    }

    /// Registers all counters.
    pub fn register(&self, registry: &mut metrics::Registry) {
        self.shared.metrics.register(registry);
        self.shared.threads.register(registry);
        let work = self.worlds.borrow().work_collector();
        registry.register_collector(Box::new(work));
    }

    /// The threads that configuration for proxies is generated on.
    pub fn threads(&self) -> &Pool {
        self.shared.threads.streams()
    }

    /// Publishes a world for every snapshot and reviews access until `shutdown`, then ends all
    /// streams.
    ///
    /// # Errors
    /// When a world could not be made, which ends discovery.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Refused> {
        let Self {
            config,
            snapshots,
            worlds,
            shared,
            reviews,
        } = self;
        let _end_streams = shared.shutdown.clone().drop_guard();
        let publisher = Publisher {
            debounce: config.debounce,
            snapshots,
            worlds,
            shared,
        };
        tokio::select! {
            ended = publisher.run(shutdown) => ended,
            never = reviews.run() => match never {},
        }
    }
}

/// Makes worlds of snapshots.
struct Publisher {
    debounce: Debounce,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    worlds: watch::Sender<Arc<World>>,
    shared: Arc<Shared>,
}

impl Publisher {
    async fn run(mut self, shutdown: CancellationToken) -> Result<(), Refused> {
        let mut debouncer = Debouncer::new(self.debounce);
        loop {
            let changed = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                changed = self.snapshots.changed() => changed,
            };
            if changed.is_err() {
                // No one will publish again; what was published is still served.
                shutdown.cancelled().await;
                return Ok(());
            }
            let since = Instant::now();
            let mut due = debouncer.on_change(since);
            while due > Instant::now() {
                tokio::select! {
                    () = shutdown.cancelled() => return Ok(()),
                    () = tokio::time::sleep_until(due.into()) => break,
                    Ok(()) = self.snapshots.changed() => due = debouncer.on_change(Instant::now()),
                }
            }
            self.publish(since).await?;
            debouncer.on_acted(Instant::now());
        }
    }

    /// The first change was seen at `since`.
    async fn publish(&mut self, since: Instant) -> Result<(), Refused> {
        let snapshot = self.snapshots.borrow_and_update().clone();
        let before = self.worlds.borrow().clone();
        let (waited, began) = (since.elapsed(), Instant::now());
        let step = move || before.next(snapshot);
        let world = self.shared.threads.world(step).await?;
        self.shared
            .metrics
            .published(world.snapshot().services.len());
        let snapshot = world.snapshot();
        tracing::info!(
            version = snapshot.version,
            changed = %changed::Names(&snapshot.changes),
            proxies = self.shared.registry.len(),
            ?waited,
            made = ?began.elapsed(),
            "new configuration for proxies"
        );
        self.shared.changes.published(snapshot.version, since);
        self.worlds.send_replace(Arc::new(world));
        Ok(())
    }
}

/// Resources by type and name.
pub type Resources = BTreeMap<ResourceType, BTreeMap<String, Any>>;

/// All resources that a node gets from a snapshot, for tests and explanations. It is taken for what
/// it says, and may read no Secrets.
pub fn generate(snapshot: &Arc<Snapshot>, node: &Node) -> Resources {
    let world = World::new(Arc::clone(snapshot));
    let caller = Caller {
        node: Arc::new(node.clone()),
        identity: SpiffeId::new(
            snapshot.mesh.trust_domain.clone(),
            &node.namespace,
            &node.service_account,
        )
        .ok(),
        address: None,
    };
    let resources = world.resources(&caller, BTreeSet::new(), None);
    let of_type = |resource_type: ResourceType| {
        let layers = resources.layers(resource_type);
        let all = layers.into_iter().flatten();
        let body = |value: &bytes::Bytes| Any {
            type_url: resource_type.url().to_owned(),
            value: value.clone(),
        };
        all.map(|(name, resource)| (name.to_string(), body(resource.value())))
            .collect()
    };
    ResourceType::ALL
        .into_iter()
        .map(|resource_type| (resource_type, of_type(resource_type)))
        .filter(|(_, resources): &(_, BTreeMap<_, _>)| !resources.is_empty())
        .collect()
}
