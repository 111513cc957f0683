//! `sidecar` and `router`: agent and data plane of one pod.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use mesh_runtime::log::LogHandle;
use mesh_runtime::readiness::Readiness;
use mesh_runtime::signal::Signals;
use mesh_runtime::task::Tasks;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::data_plane::{DataPlane, DrainTimes, Options};
use super::wait;
use crate::admin;
use crate::agent::bootstrap;
use crate::agent::certificates::{Certificates, WorkloadCertificate};
use crate::agent::control_plane::ControlPlane;
use crate::agent::envoy::process::Envoy;
use crate::agent::envoy::{relay, secrets};
use crate::agent::metrics::{Application, Source};
use crate::agent::probes::Probes;
use crate::agent::settings::{Role, Settings};
use crate::agent::status::{self, HEALTH_PORT, METRICS_PORT, Status};
use crate::args::{Agent, DataPlaneKind};
use crate::tls::secret_store::SecretStore;

/// How often a starting Envoy is asked whether it is ready.
const ENVOY_READY_PERIOD: Duration = Duration::from_millis(100);

/// The listener of captured inbound connections: a sidecar without it refuses every request.
const CAPTURED_INBOUND: &str = "virtualInbound";

/// The writable directory that the injector gives a proxy, in memory.
const POD_RUN_DIR: &str = "/etc/istio/proxy";

/// The parts of the agent that both data planes need.
struct Pod {
    settings: Arc<Settings>,
    certificate: watch::Receiver<Option<Arc<WorkloadCertificate>>>,
    readiness: Readiness,
    tasks: Tasks,
    /// Ends status ports and helpers.
    stop: CancellationToken,
    /// Cancelled by `/quitquitquit`.
    quit: CancellationToken,
}

/// Runs agent and data plane until a signal or `/quitquitquit`, then drains.
pub(super) async fn run(role: Role, args: Agent, log: LogHandle) -> anyhow::Result<()> {
    let mut signals = Signals::subscribe()?;
    let settings = Arc::new(Settings::from_env(role)?);
    let secrets = SecretStore::new();
    let pod = Pod::start(settings, secrets.clone());
    match args.kind {
        DataPlaneKind::Weft => weft(pod, &args, secrets, log, &mut signals).await,
        DataPlaneKind::Envoy => envoy(pod, &args, &mut signals).await,
    }
}

impl Pod {
    fn start(settings: Arc<Settings>, secrets: SecretStore) -> Self {
        let certificates = Certificates::new(settings.clone(), secrets);
        let pod = Self {
            settings,
            certificate: certificates.watch(),
            readiness: Readiness::new(),
            tasks: Tasks::new(),
            stop: CancellationToken::new(),
            quit: CancellationToken::new(),
        };
        pod.tasks.spawn("certificates", async move {
            certificates.run().await;
            Ok::<(), Infallible>(())
        });
        pod.wait_for_certificate();
        pod
    }

    /// Not ready before the first certificate.
    fn wait_for_certificate(&self) {
        let waiting = self.readiness.guard("workload certificate");
        let mut certificate = self.certificate.clone();
        self.tasks.spawn("first certificate", async move {
            // The sender ends with the process only.
            let _ = certificate.wait_for(Option::is_some).await;
            drop(waiting);
            Ok::<(), Infallible>(())
        });
    }

    fn status(&self, metrics: Source) -> anyhow::Result<Arc<Status>> {
        let settings = &self.settings;
        let application = Application::parse(settings.prometheus.as_deref())
            .context("ISTIO_PROMETHEUS_ANNOTATIONS")?;
        // They may have been moved from where they are known.
        let own = [settings.proxy.status_port, settings.proxy.proxy_admin_port];
        let application = application.filter(|application| !application.is_at(&own));
        let address = settings.addresses.first().copied();
        let probes = Probes::parse(settings.app_probers.as_deref(), address)
            .context("ISTIO_KUBE_APP_PROBERS")?;
        Ok(Arc::new(Status {
            metrics,
            application,
            probes,
            readiness: self.readiness.clone(),
            quit: self.quit.clone(),
        }))
    }

    fn serve(&self, name: &'static str, port: u16, router: axum::Router) {
        let stop = self.stop.clone();
        self.tasks.spawn(name, status::serve(port, router, stop));
    }

    /// Returns on a signal, on `/quitquitquit` or with the failure of a task.
    async fn until_asked(&mut self, signals: &mut Signals) -> anyhow::Result<()> {
        tokio::select! {
            signal = signals.next() => tracing::info!(%signal, "draining"),
            () = self.quit.cancelled() => tracing::info!("asked to quit"),
            failure = self.tasks.failure() => return Err(failure.into()),
        }
        Ok(())
    }

    async fn end(self) {
        self.stop.cancel();
        self.tasks.stop().await;
    }
}

async fn weft(
    mut pod: Pod,
    args: &Agent,
    secrets: SecretStore,
    log: LogHandle,
    signals: &mut Signals,
) -> anyhow::Result<()> {
    let proxy = &pod.settings.proxy;
    let drain = args.data_plane.termination_drain_s.map(Duration::from_secs);
    let drain = DrainTimes {
        accept: pod.settings.minimum_drain,
        limit: drain.unwrap_or_else(|| proxy.termination_drain()),
    };
    // Held until the data plane holds guards of its own, so that there is no moment in between.
    let starting = pod.readiness.guard("data plane");
    let mut options = Options::new(&args.data_plane, log);
    options.workers = workers(args, &pod.settings);
    options.drain_time = proxy.drain();
    options.secrets = secrets;
    options.readiness = pod.readiness.clone();
    options.quit = pod.quit.clone();
    if pod.settings.is_captured() {
        options.required_listener = Some(CAPTURED_INBOUND.into());
    }

    let registry = options.registry.clone();
    let status = pod.status(Source::Own(Arc::new(move || {
        admin::render_metrics(&registry)
    })))?;
    pod.serve(
        "status port",
        pod.settings.proxy.status_port,
        status.status_router(),
    );
    pod.serve("health port", HEALTH_PORT, status.health_router());
    pod.serve("metrics port", METRICS_PORT, status.metrics_router());

    // The control plane is reached with the certificate; before it there is nothing to do.
    let mut certificate = pod.certificate.clone();
    tokio::select! {
        issued = certificate.wait_for(Option::is_some) => drop(issued?),
        asked = pod.until_asked(signals) => return asked,
    }
    let json = bootstrap::weft(&pod.settings);
    // Decoded in place, so that the descriptors are freed before the data plane runs.
    let bootstrap = xds::json::Json::load().decode(&json)?;
    let mut data_plane = DataPlane::start(bootstrap, options).await?;
    drop(starting);
    tokio::select! {
        asked = pod.until_asked(signals) => asked?,
        failure = data_plane.failure() => return Err(failure.into()),
    }
    tokio::select! {
        () = data_plane.drain(drain) => {}
        // A second signal means: now.
        _ = signals.next() => {}
    }
    data_plane.stop().await;
    pod.end().await;
    Ok(())
}

/// `--concurrency`, else the ProxyConfig's, else the CPU limit, else all CPUs.
fn workers(args: &Agent, settings: &Settings) -> usize {
    let configured = settings.proxy.concurrency as usize;
    let limit = std::env::var("ISTIO_CPU_LIMIT").ok();
    let limit = limit.and_then(|limit| limit.parse().ok()).unwrap_or(0);
    let available = args.data_plane.workers();
    match (args.data_plane.concurrency, configured, limit) {
        (Some(_), _, _) | (None, 0, 0) => available,
        (None, 0, limit) => available.min(limit),
        (None, configured, _) => configured,
    }
}

async fn envoy(mut pod: Pod, args: &Agent, signals: &mut Signals) -> anyhow::Result<()> {
    let proxy = pod.settings.proxy.clone();
    let directory = RunDirectory::create()?;
    let discovery = directory.path.join("xds.sock");
    let secret_socket = directory.path.join("sds.sock");
    let bootstrap_path = directory.path.join("envoy.json");
    let sockets = bootstrap::Sockets {
        discovery: &discovery,
        secrets: &secret_socket,
    };
    let bootstrap = bootstrap::envoy(&pod.settings, sockets);
    std::fs::write(&bootstrap_path, bootstrap.to_string()).context("Envoy's bootstrap")?;

    let status = pod.status(Source::Envoy(proxy.proxy_admin_port))?;
    pod.serve("status port", proxy.status_port, status.status_router());
    let control_plane = ControlPlane {
        address: proxy.discovery_address.clone(),
        root_path: pod.settings.root_path.clone(),
    };
    let (certificate, path) = (pod.certificate.clone(), discovery.clone());
    pod.tasks.spawn("discovery relay", async move {
        relay::serve(&path, control_plane, certificate).await
    });
    let (certificate, path) = (pod.certificate.clone(), secret_socket.clone());
    pod.tasks.spawn("secret service", async move {
        secrets::serve(&path, certificate).await
    });
    watch_readiness(&pod, proxy.proxy_admin_port);

    let mut certificate = pod.certificate.clone();
    tokio::select! {
        issued = certificate.wait_for(Option::is_some) => drop(issued?),
        asked = pod.until_asked(signals) => return asked,
    }
    let envoy = Envoy {
        program: args.envoy_path.clone(),
        concurrency: proxy.concurrency,
        admin_port: proxy.proxy_admin_port,
        drain: proxy.termination_drain(),
        listener_drain: proxy.drain(),
    };
    let shutdown = CancellationToken::new();
    let running = envoy.run(&bootstrap_path, shutdown.clone());
    tokio::pin!(running);
    let ended = tokio::select! {
        asked = pod.until_asked(signals) => {
            asked?;
            None
        }
        ended = &mut running => Some(ended),
    };
    if let Some(ended) = ended {
        let ended = ended.with_context(|| format!("cannot run {}", args.envoy_path.display()))?;
        bail!("Envoy ended by itself: {ended}");
    }
    shutdown.cancel();
    tokio::select! {
        ended = &mut running => drop(ended?),
        _ = signals.next() => {}
    }
    pod.end().await;
    Ok(())
}

/// Not ready before Envoy says so.
fn watch_readiness(pod: &Pod, admin_port: u16) {
    let waiting = pod.readiness.guard("Envoy");
    pod.tasks.spawn("Envoy's readiness", async move {
        let url = format!("http://127.0.0.1:{admin_port}/ready").parse()?;
        wait::until_ready(&url, ENVOY_READY_PERIOD).await;
        drop(waiting);
        Ok::<(), http::uri::InvalidUri>(())
    });
}

/// Where sockets and bootstrap of Envoy are; only this user may look inside, and nothing of it stays.
struct RunDirectory {
    path: PathBuf,
}

impl RunDirectory {
    fn create() -> anyhow::Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        let base = match std::env::var_os("WEFT_RUN_DIR") {
            Some(base) => PathBuf::from(base),
            None if Path::new(POD_RUN_DIR).is_dir() => POD_RUN_DIR.into(),
            None => std::env::temp_dir(),
        };
        let name = format!("weft-proxy-{}-{:x}", std::process::id(), fastrand::u32(..));
        let path = base.join(name);
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self { path })
    }
}

impl Drop for RunDirectory {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            tracing::debug!(%error, path = %self.path.display(), "run directory not removed");
        }
    }
}
