//! Assembly: builds every part, binds every listener, runs until told to stop, drains.
//!
//! [`Meshd::start`] returns once all sockets are bound, so a test can start one on port 0 and ask where it
//! listens. Order matters in two places only: configuration comes before the authority, because it names the
//! trust domain, and metrics are registered before the endpoint that shows them is built.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::middleware;
use citadel::ca_service::CaService;
use injector::webhook::{Settings, Webhook};
use mesh_api::snapshot::Snapshot;
use mesh_runtime::admin::{self, Admin};
use mesh_runtime::build_info;
use mesh_runtime::drain;
use mesh_runtime::log::LogHandle;
use mesh_runtime::metrics::Registry;
use mesh_runtime::pool::{Pool, Refused};
use mesh_runtime::readiness::Readiness;
use mesh_runtime::reviews::Reviews;
use mesh_runtime::task::{Failure, Tasks};
use pilot::Pilot;
use pilot::debug::page::Pages;
use pilot::debug::scope::whole_mesh;
use tokio::sync::watch;
use tonic::service::Routes;

use crate::args::{Args, Component};
use crate::authority::{self, Authority};
use crate::cluster::{Cluster, injector_values};
use crate::configuration::{self, Configuration, Diagnostics};
use crate::injection;
use crate::publish_root;
use crate::secret_access;
use crate::server::access::{self, Access};
use crate::server::{Limits, Security, Server, peer};

/// How long requests in flight may take when the process ends. Discovery streams are ended at once; what is
/// left are reviews and signings, which take milliseconds.
const DRAIN_DEADLINE: Duration = Duration::from_secs(5);

/// An API server has a few connections to a webhook, and bodies are read at once or refused.
const WEBHOOK_LIMITS: Limits = Limits {
    connections: 512,
    windows: (1024 * 1024, 256 * 1024),
};

/// Runs the control plane until `shutdown` resolves or an essential part fails.
pub async fn run(
    args: Args,
    log: LogHandle,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    tokio::pin!(shutdown);
    // A start may wait for the API server for long.
    let meshd = tokio::select! {
        started = Meshd::start(args, log) => started?,
        () = &mut shutdown => return Ok(()),
    };
    meshd.run(shutdown).await
}

/// Where everything listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Discovery and signing over TLS.
    pub xds: SocketAddr,
    /// The same in plaintext.
    pub plaintext: SocketAddr,
    /// Metrics, readiness, debugging.
    pub http: SocketAddr,
    /// Webhooks.
    pub webhook: SocketAddr,
}

/// A running control plane.
pub struct Meshd {
    addresses: Addresses,
    reviews: Reviews,
    generation: Pool,
    tasks: Tasks,
    readiness: Readiness,
    /// Ends the lead of this replica.
    election: drain::Signal,
    drain: drain::Signal,
    shutdown_delay: Duration,
}

impl Meshd {
    /// Builds and binds everything. Returns when all listeners accept.
    pub async fn start(args: Args, log: LogHandle) -> anyhow::Result<Self> {
        let mut registry = Registry::default();
        build_info::register(&mut registry, "pilot");
        let (signal, drain) = drain::channel();
        let tasks = Tasks::new();
        let readiness = Readiness::new();
        let starting = readiness.guard("start");

        let (election, candidates) = drain::channel();
        let cluster = match args.cluster.kubernetes {
            true => Some(Cluster::connect(&args.cluster, &tasks, &candidates).await?),
            false => None,
        };
        let configuration =
            configuration::start(&args, cluster.as_ref(), &mut registry, &tasks, &drain).await?;
        let Configuration {
            snapshots,
            diagnostics,
        } = configuration;
        let authority =
            open_authority(&args, cluster.as_ref(), &snapshots, &mut registry, &tasks).await?;
        publish_roots(&args, cluster.as_ref(), &authority, &tasks)?;
        let settings =
            injection_settings(&args, cluster.as_ref(), &authority, &snapshots, &tasks).await?;
        let reviews = Reviews::start(&mut registry).context("threads for reviews")?;
        let router = webhook_router(&args, &snapshots, settings, &reviews, &mut registry);
        let tls = Security::Tls(authority.webhook_tls.clone());
        let webhook = bind(args.webhook_address, tls, router).await?;
        let webhook = webhook.with_limits(WEBHOOK_LIMITS);
        let (reviewer, access) = secret_access::reviewer(cluster.as_ref(), &snapshots);
        let config = pilot::Config {
            access,
            ..pilot::Config::default()
        };
        let pilot = Pilot::new(snapshots, reviewer, config).context("threads for discovery")?;
        pilot.register(&mut registry);
        let (xds, plaintext) = xds_servers(&args, &authority, &pilot).await?;
        let admin = Admin {
            readiness: readiness.clone(),
            registry: Arc::new(registry),
        };
        let access = Access {
            authenticator: authority.authenticator.clone(),
            namespace: args.cluster.namespace.as_str().into(),
        };
        let debug = debug_pages(&pilot, diagnostics, log, access);
        let http = admin::router(admin).merge(debug);
        let http = bind(args.http_address, Security::Plaintext, http).await?;

        let addresses = Addresses {
            xds: xds.local_addr()?,
            plaintext: plaintext.local_addr()?,
            http: http.local_addr()?,
            webhook: webhook.local_addr()?,
        };
        let generation = pilot.threads().clone();
        tasks.spawn("pilot", run_pilot(pilot, drain.clone()));
        tasks.spawn("xds", xds.run(drain.clone()));
        tasks.spawn("xds-plaintext", plaintext.run(drain.clone()));
        tasks.spawn("webhook", webhook.run(drain.clone()));
        tasks.spawn("http", http.run(drain));
        drop(starting);
        tracing::info!(
            ?addresses,
            version = build_info::VERSION,
            "meshd is running"
        );
        Ok(Self {
            addresses,
            reviews,
            generation,
            tasks,
            readiness,
            election,
            drain: signal,
            shutdown_delay: args.shutdown_delay(),
        })
    }

    /// Where everything listens.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// The threads that the webhooks' reviews are made on.
    pub fn reviews(&self) -> &Reviews {
        &self.reviews
    }

    /// The threads that configuration for proxies is generated on.
    pub fn generation(&self) -> &Pool {
        &self.generation
    }

    /// Runs until `shutdown` resolves or an essential part fails; drains in both cases.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
        let failure: Option<Failure> = tokio::select! {
            () = shutdown => None,
            failure = self.tasks.failure() => Some(failure),
        };
        let _stopping = self.readiness.guard("stopping");
        let candidates = self.election.drain(DRAIN_DEADLINE);
        if failure.is_none() {
            // Not ready any more, but still serving: who comes until everybody knows is not turned away.
            tokio::join!(candidates, tokio::time::sleep(self.shutdown_delay));
        } else {
            candidates.await;
        }
        let outcome = self.drain.drain(DRAIN_DEADLINE).await;
        tracing::info!(?outcome, "drained");
        self.tasks.stop().await;
        match failure {
            None => Ok(()),
            Some(failure) => Err(failure.into()),
        }
    }
}

async fn open_authority(
    args: &Args,
    cluster: Option<&Cluster>,
    snapshots: &watch::Receiver<Arc<Snapshot>>,
    registry: &mut Registry,
    tasks: &Tasks,
) -> anyhow::Result<Authority> {
    let configured = snapshots.borrow().mesh.trust_domain.clone();
    let trust_domain = args.trust_domain.clone().unwrap_or(configured);
    authority::open(args, cluster, trust_domain, registry, tasks)
        .await
        .context("certificate authority")
}

fn publish_roots(
    args: &Args,
    cluster: Option<&Cluster>,
    authority: &Authority,
    tasks: &Tasks,
) -> anyhow::Result<()> {
    if let Some(cluster) = cluster {
        cluster.write_roots(&authority.ca.trust_bundles(), tasks);
    }
    let Some(directory) = &args.publish_root else {
        return Ok(());
    };
    let bundles = authority.ca.trust_bundles();
    std::fs::create_dir_all(directory)
        .with_context(|| format!("cannot make \"{}\"", directory.display()))?;
    publish_root::write(directory, &authority.ca.trust_bundle())?;
    tasks.spawn(
        "publish-root",
        publish_root::follow(directory.clone(), bundles),
    );
    Ok(())
}

/// Where the injector's settings come from: the mesh configuration, and in a cluster a ConfigMap.
async fn injection_settings(
    args: &Args,
    cluster: Option<&Cluster>,
    authority: &Authority,
    snapshots: &watch::Receiver<Arc<Snapshot>>,
    tasks: &Tasks,
) -> anyhow::Result<Settings> {
    let trust_domain = authority.ca.trust_domain().to_string();
    let mesh = injection::settings(args, trust_domain, snapshots.clone());
    match cluster {
        Some(cluster) => {
            let values = injector_values::start(cluster, tasks).await;
            let values = values.context("the injector's ConfigMap")?;
            Ok(injection::in_cluster(
                mesh,
                cluster.native_sidecars(),
                values,
            ))
        }
        None => Ok(mesh),
    }
}

/// Webhooks, for the API server. Both make their reviews on the same threads.
fn webhook_router(
    args: &Args,
    snapshots: &watch::Receiver<Arc<Snapshot>>,
    settings: Settings,
    reviews: &Reviews,
    registry: &mut Registry,
) -> axum::Router {
    let mut router = axum::Router::new();
    if args.runs(Component::Injector) {
        let metrics = injector::metrics::Metrics::default();
        metrics.register(registry);
        router = router.merge(Webhook::new(settings, metrics).router(reviews.clone()));
    }
    if args.runs(Component::Galley) {
        let metrics = galley::webhook::Metrics::default();
        metrics.register(registry);
        let (snapshots, reviews) = (snapshots.clone(), reviews.clone());
        router = router.merge(galley::webhook::router(metrics, snapshots, reviews));
    }
    router
}

/// Discovery and signing, over TLS and in plaintext.
async fn xds_servers(
    args: &Args,
    authority: &Authority,
    pilot: &Pilot,
) -> anyhow::Result<(Server, Server)> {
    let mut services = Routes::default();
    if args.runs(Component::Citadel) {
        let service = CaService::new(authority.ca.clone(), authority.authenticator.clone());
        let signing = Routes::new(service.into_server()).into_axum_router();
        let noted = middleware::from_fn_with_state(pilot.refusals().clone(), peer::noted);
        services = signing.layer(noted).into();
    }
    if args.runs(Component::Pilot) {
        services = services.add_service(pilot.ads_service());
    }
    let router = services.into_axum_router();
    let authenticator = authority.authenticator.clone();
    let presented = middleware::from_fn_with_state(authenticator, peer::presented);
    let tls = Security::Tls(authority.xds_tls.clone());
    let xds = bind(args.xds_address, tls, router.clone().layer(presented)).await?;
    let trusted = router.layer(middleware::from_fn(peer::trusted));
    let plaintext = bind(args.plaintext_address, Security::Plaintext, trusted).await?;
    Ok((xds, plaintext))
}

/// What the HTTP port shows and changes beside metrics and readiness, for callers who may.
fn debug_pages(
    pilot: &Pilot,
    diagnostics: Diagnostics,
    log: LogHandle,
    access: Access,
) -> axum::Router {
    let pages = Pages::default();
    let of_the_mesh = configuration::debug_router(diagnostics, pages.clone())
        .merge(admin::logging_router(log))
        .route_layer(middleware::from_fn(whole_mesh));
    pilot
        .debug_router(pages)
        .merge(of_the_mesh)
        .route_layer(middleware::from_fn_with_state(access, access::scoped))
}

/// Ends with the drain, and ends all discovery streams then.
async fn run_pilot(pilot: Pilot, drain: drain::Watch) -> Result<(), Refused> {
    pilot.run(drain.token()).await
}

async fn bind(
    address: SocketAddr,
    security: Security,
    router: axum::Router,
) -> anyhow::Result<Server> {
    Server::bind(address, security, router)
        .await
        .with_context(|| format!("cannot listen on {address}"))
}
