//! The data plane as a whole: static resources, xDS client, workers, admin pages.
//!
//! The same for a plain bootstrap, for the agent and for tests, which start it inside their process.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mesh_runtime::build_info;
use mesh_runtime::caller;
use mesh_runtime::log::LogHandle;
use mesh_runtime::readiness::Readiness;
use mesh_runtime::task::{Failure, Tasks};
use thiserror::Error;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tonic::metadata::{MetadataKey, MetadataMap, MetadataValue};
use xds::envoy::bootstrap::Bootstrap;
use xds::prost::Message;
use xds::type_url::ResourceType;

use super::ads_channel;
use crate::admin;
use crate::args;
use crate::bootstrap::{self, Ads};
use crate::config::error::ConfigError;
use crate::executor::{Executor, InForce};
use crate::http::filter::registry::Registry as Filters;
use crate::listener::balance::Balance;
use crate::listener::shared::Builder;
use crate::listener::socket::Sockets;
use crate::telemetry::log_sink::LogSinks;
use crate::telemetry::{Registry, WorkerTelemetry};
use crate::tls::secret_store::SecretStore;
use crate::upstream::resolve::DnsResolvers;
use crate::worker::{Seat, Stage};
use proxy_xds::apply::{Applier, Translators};
use proxy_xds::client::{AdsOptions, NameLookup, XdsClient};
use proxy_xds::context::Node;
use proxy_xds::lds;
use proxy_xds::rds;
use proxy_xds::status::XdsStatus;

/// What we call ourselves; the control plane decides by it what may be sent.
const USER_AGENT: &str = "weft";

/// Answers of resolvers that wait to be applied.
const ANSWERS_MAX: usize = 256;

/// How often a drain looks whether connections are left.
const DRAIN_POLL: Duration = Duration::from_millis(50);

/// Makes further metadata of a stream to the control plane, e.g. a token that changes.
pub type StreamMetadata = Arc<dyn Fn(&mut MetadataMap) + Send + Sync>;

/// How long an end in order may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainTimes {
    /// For how long new connections are still taken: until all others know that we end.
    pub accept: Duration,
    /// What is connected then is cut.
    pub limit: Duration,
}

/// A control plane that says nothing for this long may have lost the request: Envoy's `initial_fetch_timeout`.
const FIRST_RESPONSE_TIMEOUT: Duration = Duration::from_secs(15);

/// How to run.
#[derive(Clone)]
pub struct Options {
    /// Worker threads.
    pub workers: usize,
    /// How long connections of a removed filter chain may take to finish.
    pub drain_time: Duration,
    /// Changes the log filter (`/logging`).
    pub log: LogHandle,
    /// Counters of all workers.
    pub registry: Arc<Registry>,
    /// What is waited for; the data plane adds its own conditions.
    pub readiness: Readiness,
    /// Secrets, those of the agent among them.
    pub secrets: SecretStore,
    /// Further metadata of streams to the control plane.
    pub stream_metadata: Option<StreamMetadata>,
    /// A listener without which the proxy is not ready.
    pub required_listener: Option<Arc<str>>,
    /// The HTTP filters that can be configured.
    pub filters: Filters,
    /// Cancelled by `/quitquitquit`.
    pub quit: CancellationToken,
}

impl Options {
    /// From the command line.
    pub fn new(args: &args::DataPlane, log: LogHandle) -> Self {
        Self {
            workers: args.workers(),
            drain_time: args.drain_time(),
            log,
            registry: Arc::default(),
            readiness: Readiness::new(),
            secrets: SecretStore::new(),
            stream_metadata: None,
            required_listener: None,
            filters: Filters::default(),
            quit: CancellationToken::new(),
        }
    }
}

/// Why the data plane did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The bootstrap cannot be executed.
    #[error("bootstrap: {0}")]
    Config(#[from] ConfigError),
    /// A worker thread cannot be started.
    #[error("cannot start a worker: {0}")]
    Worker(std::io::Error),
    /// The admin address cannot be had.
    #[error("admin address {address}: {source}")]
    Admin {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

/// A running data plane.
#[derive(Debug)]
pub struct DataPlane {
    /// What is published to workers.
    pub in_force: InForce,
    /// Not ready until the first complete configuration is served.
    pub readiness: Readiness,
    /// State of the xDS client.
    pub status: Arc<XdsStatus>,
    /// Counters of all workers.
    pub registry: Arc<Registry>,
    balance: Arc<Balance>,
    stage: watch::Sender<Stage>,
    workers: Vec<JoinHandle<()>>,
    logs: LogSinks,
    tasks: Tasks,
    stop: CancellationToken,
}

impl DataPlane {
    /// Starts everything that a bootstrap describes.
    pub async fn start(bootstrap: Bootstrap, options: Options) -> Result<Self, StartError> {
        let in_force = InForce::default();
        let registry = options.registry.clone();
        let logs = LogSinks::new();
        let status = Arc::new(XdsStatus::default());
        let node = bootstrap.node.clone().unwrap_or_default();
        let builder = Builder {
            secrets: options.secrets.clone(),
            sockets: Sockets::new(options.workers),
            logs: logs.clone(),
        };
        let mut applier = Applier::new(
            Executor::new(in_force.clone(), builder),
            Arc::new(Node::from_proto(&node)),
            Translators {
                listener: lds::listener,
                route: rds::route_config,
            },
            status.clone(),
        )
        .knowing(options.filters.further());
        apply_static(&mut applier, &bootstrap)?;
        let ads = bootstrap::ads(&bootstrap)?;
        let ads = ads.map(|ads| ads_options(&ads, node, &mut applier, &in_force, &options));

        let (balance, mailboxes) = Balance::new(options.workers);
        let (stage, _) = watch::channel(Stage::Serving);
        let mut workers = Vec::with_capacity(options.workers);
        let mut followed = Vec::with_capacity(options.workers);
        for (index, mailbox) in mailboxes.into_iter().enumerate() {
            let (version, watch) = watch::channel(0);
            followed.push(watch);
            let seat = Seat {
                index,
                in_force: in_force.clone(),
                telemetry: WorkerTelemetry::new(&registry, &logs),
                filters: options.filters.clone(),
                balance: balance.clone(),
                mailbox,
                stage: stage.subscribe(),
                followed: version,
                drain_time: options.drain_time,
            };
            workers.push(seat.spawn().map_err(StartError::Worker)?);
        }

        let tasks = Tasks::new();
        let stop = CancellationToken::new();
        let readiness = options.readiness.clone();
        let waiting = readiness.guard("configuration");
        let (ready, ready_status) = (in_force.clone(), status.clone());
        tasks.spawn("readiness", async move {
            serving(&ready, &ready_status, followed).await;
            drop(waiting);
            Ok::<(), std::convert::Infallible>(())
        });
        let client = XdsClient::new(
            applier,
            ads,
            options.secrets.changes(),
            name_lookup(),
            status.clone(),
        );
        let client_stop = stop.clone();
        tasks.spawn("xds", async move {
            client.run(client_stop).await;
            Ok::<(), std::convert::Infallible>(())
        });
        let data_plane = Self {
            in_force,
            readiness,
            status,
            registry,
            balance,
            stage,
            workers,
            logs,
            tasks,
            stop,
        };
        data_plane.serve_admin(bootstrap, options).await?;
        Ok(data_plane)
    }

    async fn serve_admin(&self, bootstrap: Bootstrap, options: Options) -> Result<(), StartError> {
        let Some(address) = bootstrap::admin_address(&bootstrap)? else {
            return Ok(());
        };
        let listener = tokio::net::TcpListener::bind(address).await;
        let listener = listener.map_err(|source| StartError::Admin { address, source })?;
        let router = admin::router(admin::Admin {
            bootstrap: Arc::new(bootstrap),
            in_force: self.in_force.clone(),
            readiness: self.readiness.clone(),
            status: self.status.clone(),
            registry: self.registry.clone(),
            secrets: options.secrets,
            log: options.log,
            logs: self.logs.clone(),
            balance: self.balance.clone(),
            stage: self.stage.clone(),
            workers: options.workers,
            quit: options.quit,
            start: Instant::now(),
        });
        let router = guarded(router, address);
        let stop = self.stop.clone();
        self.tasks.spawn("admin", async move {
            axum::serve(listener, router)
                .with_graceful_shutdown(stop.cancelled_owned())
                .await
        });
        Ok(())
    }

    /// The first failure of a task. Pends for as long as all is well.
    pub async fn failure(&mut self) -> Failure {
        self.tasks.failure().await
    }

    /// Connections of all workers.
    pub fn connections(&self) -> usize {
        self.balance.total()
    }

    /// Asks connections to finish and goes on accepting for [`DrainTimes::accept`]; then stops accepting from outside and
    /// waits until no connection is left, all in all at most [`DrainTimes::limit`].
    pub async fn drain(&self, times: DrainTimes) {
        self.advance(Stage::Draining);
        let deadline = Instant::now() + times.limit;
        tokio::time::sleep(times.accept.min(times.limit)).await;
        self.advance(Stage::Closed);
        // Two looks: a worker may just be taking the last connections out of its accept queue.
        let mut quiet = 0;
        while quiet < 2 && Instant::now() < deadline {
            tokio::time::sleep(DRAIN_POLL).await;
            quiet = if self.connections() == 0 {
                quiet + 1
            } else {
                0
            };
        }
        let left = self.connections();
        if left > 0 {
            tracing::info!(left, "connections cut at the end of the drain");
        }
    }

    /// `/drain_listeners` may have been there before.
    fn advance(&self, to: Stage) {
        self.stage.send_if_modified(|stage| {
            let earlier = *stage < to;
            *stage = to.max(*stage);
            earlier
        });
    }

    /// Ends workers and tasks. What is still connected is cut.
    pub async fn stop(self) {
        self.stage.send_replace(Stage::Stopped);
        self.stop.cancel();
        self.tasks.stop().await;
        let Self { workers, logs, .. } = self;
        let joined = tokio::task::spawn_blocking(move || {
            for worker in workers {
                if worker.join().is_err() {
                    tracing::error!("a worker ended with a panic");
                }
            }
            logs.sync();
        });
        // Only a runtime that is going away itself can refuse; then nobody waits for the workers.
        let _ = joined.await;
    }
}

/// The admin pages for whoever reaches `address`. On loopback that is this machine, a browser among its
/// programs: pages of other sites are refused, which Envoy does not do.
fn guarded(router: axum::Router, address: SocketAddr) -> axum::Router {
    if address.ip().is_loopback() {
        return router.layer(axum::middleware::from_fn(caller::no_other_site));
    }
    tracing::warn!(
        %address,
        "the admin pages show the configuration and end the process for everybody who reaches this address: \
         bind them to 127.0.0.1 in the bootstrap"
    );
    router
}

/// Returns when the first complete configuration is in force on every worker.
async fn serving(in_force: &InForce, status: &XdsStatus, followed: Vec<watch::Receiver<u64>>) {
    let mut initialized = status.initialized();
    if initialized
        .wait_for(|initialized| *initialized)
        .await
        .is_err()
    {
        return;
    }
    let version = in_force.runtime.load().version;
    for mut worker in followed {
        // A worker that ended will never follow; the process ends with it.
        let _ = worker.wait_for(|followed| *followed >= version).await;
    }
    tracing::info!(version, "configuration complete, serving");
}

fn apply_static(applier: &mut Applier<Executor>, bootstrap: &Bootstrap) -> Result<(), ConfigError> {
    let Some(resources) = &bootstrap.static_resources else {
        return Ok(());
    };
    let now = Instant::now();
    for secret in &resources.secrets {
        let bytes = Bytes::from(secret.encode_to_vec());
        applier
            .apply_static(ResourceType::Secret, &secret.name, bytes, now)
            .map_err(|error| error.within(format!("secrets[{}]", secret.name)))?;
    }
    for cluster in &resources.clusters {
        let bytes = Bytes::from(cluster.encode_to_vec());
        applier
            .apply_static(ResourceType::Cluster, &cluster.name, bytes, now)
            .map_err(|error| error.within(format!("clusters[{}]", cluster.name)))?;
    }
    for (index, listener) in resources.listeners.iter().enumerate() {
        // A static listener needs no name in Envoy.
        let name = match listener.name.as_str() {
            "" => format!("listener-{index}"),
            name => name.to_owned(),
        };
        let bytes = Bytes::from(listener.encode_to_vec());
        applier
            .apply_static(ResourceType::Listener, &name, bytes, now)
            .map_err(|error| error.within(format!("listeners[{name}]")))?;
    }
    applier.warm(now);
    applier.flush();
    Ok(())
}

/// Looks names up on the control thread.
fn name_lookup() -> NameLookup {
    let (answer, answers) = mpsc::channel(ANSWERS_MAX);
    let mut resolvers = DnsResolvers::new(answer);
    NameLookup {
        follow: Box::new(move |targets| resolvers.follow(targets)),
        answers,
    }
}

fn ads_options(
    ads: &Ads,
    mut node: xds::envoy::core::Node,
    applier: &mut Applier<Executor>,
    in_force: &InForce,
    options: &Options,
) -> AdsOptions {
    USER_AGENT.clone_into(&mut node.user_agent_name);
    node.user_agent_version_type = Some(
        xds::envoy::core::node::UserAgentVersionType::UserAgentVersion(
            build_info::VERSION.to_owned(),
        ),
    );
    let mut initial = MetadataMap::new();
    for header in &ads.initial_metadata {
        let key = MetadataKey::from_bytes(header.key.as_bytes());
        let value = MetadataValue::try_from(header.value.as_str());
        if let (Ok(key), Ok(value)) = (key, value) {
            initial.insert(key, value);
        }
    }
    let more = options.stream_metadata.clone();
    let cluster = applier.names().cluster(&ads.cluster);
    let runtime = in_force.runtime.clone();
    AdsOptions {
        cluster,
        node,
        channel: Box::new(move || ads_channel::channel(&runtime, cluster)),
        metadata: Box::new(move || {
            let mut metadata = initial.clone();
            if let Some(more) = &more {
                more(&mut metadata);
            }
            metadata
        }),
        required_listener: options.required_listener.clone(),
        first_response_timeout: FIRST_RESPONSE_TIMEOUT,
    }
}

#[cfg(test)]
mod tests {
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn pages_of_other_sites_do_not_reach_the_admin_pages_of_this_machine() {
        let ask = async |address: &str, host: &str, origin: Option<&str>| {
            let pages = axum::Router::new().route("/", axum::routing::post(|| async {}));
            let mut request = http::Request::post("/").header("host", host);
            if let Some(origin) = origin {
                request = request.header("origin", origin);
            }
            let request = request.body(axum::body::Body::empty()).expect("a request");
            let router = guarded(pages, address.parse().expect("an address"));
            let answer = router.oneshot(request).await.expect("infallible");
            answer.status().as_u16()
        };
        let local = "127.0.0.1:15000";
        assert_eq!(ask(local, "localhost:15000", None).await, 200);
        assert_eq!(ask(local, "127.0.0.1:15000", None).await, 200);
        assert_eq!(ask(local, "rebound.example:15000", None).await, 403);
        let evil = Some("https://evil.example");
        assert_eq!(ask(local, "localhost:15000", evil).await, 403);
        assert_eq!(ask("[::1]:15000", "localhost:15000", evil).await, 403);
        // Who binds it elsewhere means others to come.
        assert_eq!(ask("0.0.0.0:15000", "proxy.example", None).await, 200);
    }
}
