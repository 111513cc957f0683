//! Assembly: the socket first, then the plugin that asks there, then the repair of pods that came before both.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use cni_plugin::config::Settings;
use kube::Client;
use mesh_runtime::admin::{self, Admin};
use mesh_runtime::log::LogHandle;
use mesh_runtime::metrics::Registry;
use mesh_runtime::readiness::Readiness;
use mesh_runtime::task::Tasks;
use mesh_runtime::{build_info, drain};
use tokio::net::TcpListener;

use crate::args::Args;
use crate::install::Installer;
use crate::metrics::Metrics;
use crate::repair::Repair;
use crate::server::Server;
use crate::setup::Setup;
use crate::uninstall::is_uninstall;

/// How long pods that have asked may take: longer than reading a pod does.
const DRAIN_DEADLINE: Duration = Duration::from_secs(15);

/// A running agent.
pub struct Agent {
    args: Args,
    client: Client,
    installer: Installer,
    http_address: SocketAddr,
    readiness: Readiness,
    tasks: Tasks,
    drain: drain::Signal,
}

impl Agent {
    /// Builds everything. Returns when plugins can ask; the plugin is put in place after that.
    pub async fn start(args: Args, client: Client, log: LogHandle) -> anyhow::Result<Self> {
        let mut registry = Registry::default();
        build_info::register(&mut registry, "cni");
        let metrics = Metrics::default();
        metrics.register(&mut registry);
        let readiness = Readiness::new();
        let (signal, drain) = drain::channel();
        let tasks = Tasks::new();

        let server = Server::bind(&args.socket())?;
        let setup = Setup::new(client.clone(), metrics.clone());
        tasks.spawn("plugins", server.run(setup, drain.clone()));
        let installer = Installer::new(args.layout(), settings(&args), metrics.clone());
        let installing = installer.clone().run(readiness.clone(), drain.clone());
        tasks.spawn("installation", spoken(installing));
        if let Some(action) = args.repair.action() {
            let (node, filter) = (args.node_name.clone(), args.repair.filter());
            let repair = Repair::new(client.clone(), node, filter, action, metrics);
            tasks.spawn("repair", spoken(repair.run(drain.clone())));
        }
        let admin = Admin {
            readiness: readiness.clone(),
            registry: Arc::new(registry),
        };
        let http = bind(args.http_address).await?;
        let http_address = http.local_addr()?;
        let pages = admin::router(admin).merge(admin::local_logging_router(log));
        tasks.spawn("http", admin::serve(http, pages, drain));
        tracing::info!(socket = %args.socket().display(), version = build_info::VERSION, "the agent is running");
        Ok(Self {
            args,
            client,
            installer,
            http_address,
            readiness,
            tasks,
            drain: signal,
        })
    }

    /// Where readiness and metrics are served.
    pub fn http_address(&self) -> SocketAddr {
        self.http_address
    }

    /// Whether the plugin is in place.
    pub fn readiness(&self) -> Readiness {
        self.readiness.clone()
    }

    /// Runs until `shutdown` resolves or an essential part fails.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
        let failure = tokio::select! {
            () = shutdown => None,
            failure = self.tasks.failure() => Some(failure),
        };
        let _stopping = self.readiness.guard("stopping");
        let outcome = self.drain.drain(DRAIN_DEADLINE).await;
        tracing::info!(?outcome, "drained");
        self.tasks.stop().await;
        match failure {
            // The next agent finds the plugin where it is.
            Some(failure) => Err(failure.into()),
            None => leave(&self.args, &self.client, &self.installer).await,
        }
    }
}

/// Takes the plugin away if no other agent follows.
async fn leave(args: &Args, client: &Client, installer: &Installer) -> anyhow::Result<()> {
    if !is_uninstall(client, &args.namespace, &args.daemon_set).await {
        tracing::info!("the plugin stays: pods of the mesh wait for the next agent");
        return Ok(());
    }
    let installer = installer.clone();
    let socket = args.socket();
    tokio::task::spawn_blocking(move || {
        installer.remove()?;
        match std::fs::remove_file(&socket) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove \"{}\"", socket.display()))
            }
            _ => Ok(()),
        }
    })
    .await??;
    tracing::info!("the plugin and its socket were removed");
    Ok(())
}

fn settings(args: &Args) -> Settings {
    let mut exclude_namespaces = args.exclude_namespaces.clone();
    exclude_namespaces.retain(|name| !name.is_empty());
    Settings {
        socket: args.socket(),
        exclude_namespaces,
        agent_namespace: args.namespace.clone(),
    }
}

/// Nodes without IPv6 have no dual-stack sockets.
async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let bound = match TcpListener::bind(address).await {
        Err(_) if address.ip().is_unspecified() => {
            TcpListener::bind(("0.0.0.0", address.port())).await
        }
        bound => bound,
    };
    bound.with_context(|| format!("cannot listen on {address}"))
}

/// Failures of tasks are told with all their causes.
async fn spoken(work: impl Future<Output = anyhow::Result<()>>) -> Result<(), String> {
    work.await.map_err(|error| format!("{error:#}"))
}
