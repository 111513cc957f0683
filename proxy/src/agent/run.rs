//! The agent's life: certificate first, then the data plane, then until someone says stop.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use http::StatusCode;
use mesh_runtime::log::LogHandle;
use mesh_runtime::readiness::{Guard, Readiness};
use mesh_runtime::signal::Signals;
use mesh_runtime::task::Tasks;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::bootstrap::{self, Sockets};
use super::certificates::{Certificates, WorkloadCertificate};
use super::control_plane::ControlPlane;
use super::envoy;
use super::metrics::{Application, Source};
use super::probes::Probes;
use super::settings::{Role, Settings};
use super::status::{self, HEALTH_PORT, METRICS_PORT, Status};
use crate::app::data_plane::{DataPlane, Options};
use crate::args::{Agent, DataPlaneKind};
use crate::tls::secret_store::SecretStore;

/// How often a starting Envoy is asked whether it is ready.
const ENVOY_READY_PERIOD: Duration = Duration::from_millis(100);

type Certificate = watch::Receiver<Option<Arc<WorkloadCertificate>>>;

/// Runs as sidecar or gateway until a signal, `/quitquitquit`, or the failure of something essential.
pub async fn run(role: Role, args: Agent, log: LogHandle) -> anyhow::Result<()> {
    let settings = Arc::new(Settings::from_env(role)?);
    let pod = Pod {
        secrets: SecretStore::new(),
        readiness: Readiness::new(),
        quit: CancellationToken::new(),
        stop: CancellationToken::new(),
        tasks: Tasks::new(),
        signals: Signals::subscribe()?,
        settings,
    };
    match args.kind {
        DataPlaneKind::Weft => pod.run_weft(&args, log).await,
        DataPlaneKind::Envoy => pod.run_envoy(&args).await,
    }
}

/// What both data planes share.
struct Pod {
    settings: Arc<Settings>,
    secrets: SecretStore,
    readiness: Readiness,
    quit: CancellationToken,
    stop: CancellationToken,
    tasks: Tasks,
    signals: Signals,
}

impl Pod {
    async fn run_weft(mut self, args: &Agent, log: LogHandle) -> anyhow::Result<()> {
        let certificate = self.start_certificates();
        let waiting = self.readiness.guard("configuration");
        let json = bootstrap::weft(&self.settings);
        let decoded = xds::json::Json::load()
            .decode(&json)
            .context("the agent's own bootstrap")?;
        let mut options = Options::new(&args.data_plane, log);
        if args.data_plane.concurrency.is_none() && self.settings.proxy.concurrency > 0 {
            options.workers = self.settings.proxy.concurrency as usize;
        }
        options.drain_time = self.settings.proxy.drain();
        options.secrets = self.secrets.clone();
        options.quit = self.quit.clone();
        let mut data_plane = DataPlane::start(decoded, options).await?;
        let registry = data_plane.registry.clone();
        let status = self.status(Source::Own(Arc::new(move || registry.render())))?;
        self.serve(self.settings.proxy.status_port, status.status_router());
        self.serve(HEALTH_PORT, status.health_router());
        self.serve(METRICS_PORT, status.metrics_router());
        self.follow_readiness(data_plane.readiness.clone(), waiting, certificate);
        tokio::select! {
            signal = self.signals.next() => tracing::info!(%signal, "draining"),
            () = self.quit.cancelled() => tracing::info!("asked to quit"),
            failure = self.tasks.failure() => return Err(failure.into()),
            failure = data_plane.failure() => return Err(failure.into()),
        }
        let _unready = self.readiness.guard("drain");
        tokio::select! {
            () = data_plane.drain(self.settings.proxy.termination_drain()) => {}
            // A second signal means: now.
            _ = self.signals.next() => {}
        }
        data_plane.stop().await;
        self.end().await;
        Ok(())
    }

    async fn run_envoy(mut self, args: &Agent) -> anyhow::Result<()> {
        let mut certificate = self.start_certificates();
        let waiting = self.readiness.guard("configuration");
        let directory = private_directory().context("no directory for the sockets")?;
        let path = directory.path();
        let (discovery, secrets, file) =
            (path.join("xds"), path.join("sds"), path.join("envoy.json"));
        let json = bootstrap::envoy(
            &self.settings,
            Sockets {
                discovery: &discovery,
                secrets: &secrets,
            },
        );
        std::fs::write(&file, json.to_string()).context("the bootstrap cannot be written")?;

        let status = self.status(Source::Envoy(self.settings.proxy.proxy_admin_port))?;
        self.serve(self.settings.proxy.status_port, status.status_router());
        // Without a certificate Envoy could neither ask for its configuration nor serve anything.
        tokio::select! {
            issued = certificate.wait_for(Option::is_some) => { issued.context("no certificate")?; }
            _ = self.signals.next() => return Ok(()),
        }
        self.start_envoy_sockets(&discovery, &secrets, certificate.clone());
        self.follow_envoy(waiting);
        let envoy = envoy::process::Envoy {
            program: args.envoy_path.clone(),
            concurrency: self.settings.proxy.concurrency,
            admin_port: self.settings.proxy.proxy_admin_port,
            drain: self.settings.proxy.termination_drain(),
            listener_drain: self.settings.proxy.drain(),
        };
        let ended = self.supervise(&envoy, &file).await;
        self.end().await;
        ended
    }

    async fn supervise(
        &mut self,
        envoy: &envoy::process::Envoy,
        bootstrap: &Path,
    ) -> anyhow::Result<()> {
        let ending = CancellationToken::new();
        let process = envoy.run(bootstrap, ending.clone());
        tokio::pin!(process);
        tokio::select! {
            status = &mut process => {
                anyhow::bail!("Envoy ended by itself: {}", status.context("Envoy does not start")?)
            }
            signal = self.signals.next() => tracing::info!(%signal, "draining"),
            () = self.quit.cancelled() => tracing::info!("asked to quit"),
            failure = self.tasks.failure() => return Err(failure.into()),
        }
        let _unready = self.readiness.guard("drain");
        ending.cancel();
        let status = process.await.context("Envoy cannot be ended")?;
        tracing::info!(%status, "Envoy ended");
        Ok(())
    }

    fn start_certificates(&self) -> Certificate {
        let certificates = Certificates::new(self.settings.clone(), self.secrets.clone());
        let watch = certificates.watch();
        self.tasks.spawn("certificates", async move {
            certificates.run().await;
            Ok::<(), std::convert::Infallible>(())
        });
        watch
    }

    fn status(&self, metrics: Source) -> anyhow::Result<Arc<Status>> {
        let settings = &self.settings;
        let application = Application::parse(settings.prometheus.as_deref());
        let probes = Probes::parse(
            settings.app_probers.as_deref(),
            settings.addresses.first().copied(),
        );
        Ok(Arc::new(Status {
            metrics,
            application: application.context("ISTIO_PROMETHEUS_ANNOTATIONS")?,
            probes: probes.context("ISTIO_KUBE_APP_PROBERS")?,
            readiness: self.readiness.clone(),
            quit: self.quit.clone(),
        }))
    }

    fn serve(&self, port: u16, router: axum::Router) {
        let stop = self.stop.clone();
        self.tasks.spawn(
            "status",
            async move { status::serve(port, router, stop).await },
        );
    }

    /// Drops the guard once the data plane serves and the certificate is there.
    fn follow_readiness(
        &self,
        data_plane: Readiness,
        waiting: Guard,
        mut certificate: Certificate,
    ) {
        self.tasks.spawn("readiness", async move {
            data_plane.wait().await;
            certificate.wait_for(Option::is_some).await?;
            drop(waiting);
            Ok::<(), watch::error::RecvError>(())
        });
    }

    fn start_envoy_sockets(&self, discovery: &Path, secrets: &Path, certificate: Certificate) {
        let control_plane = ControlPlane {
            address: self.settings.proxy.discovery_address.clone(),
            root_path: self.settings.root_path.clone(),
        };
        let (path, watch) = (discovery.to_owned(), certificate.clone());
        self.tasks.spawn("relay", async move {
            envoy::relay::serve(&path, control_plane, watch).await
        });
        let path = secrets.to_owned();
        self.tasks.spawn("secrets", async move {
            envoy::secrets::serve(&path, certificate)
                .await
                .map_err(|error| error.to_string())
        });
    }

    fn follow_envoy(&self, waiting: Guard) {
        let port = self.settings.proxy.proxy_admin_port;
        self.tasks.spawn("readiness", async move {
            while envoy_status(port).await != Some(StatusCode::OK) {
                tokio::time::sleep(ENVOY_READY_PERIOD).await;
            }
            drop(waiting);
            Ok::<(), std::convert::Infallible>(())
        });
    }

    async fn end(self) {
        self.stop.cancel();
        self.tasks.stop().await;
    }
}

/// What Envoy's own `/ready` says; `None` while it does not listen.
async fn envoy_status(port: u16) -> Option<StatusCode> {
    use hyper_util::client::legacy::Client;
    let client = Client::builder(hyper_util::rt::TokioExecutor::new())
        .build_http::<http_body_util::Empty<bytes::Bytes>>();
    let uri = format!("http://127.0.0.1:{port}/ready").parse().ok()?;
    let answer = tokio::time::timeout(Duration::from_secs(1), client.get(uri))
        .await
        .ok()?
        .ok()?;
    Some(answer.status())
}

/// A directory that only this user can enter and that is removed with the process: `/etc/istio/proxy` where the
/// injector mounted it, else the system's temporary directory.
fn private_directory() -> std::io::Result<Directory> {
    use std::os::unix::fs::DirBuilderExt;
    let mounted = Path::new("/etc/istio/proxy");
    let parent = if mounted.is_dir() {
        mounted.to_owned()
    } else {
        std::env::temp_dir()
    };
    let path = parent.join(format!(
        "weft-{}-{:08x}",
        std::process::id(),
        fastrand::u32(..)
    ));
    std::fs::DirBuilder::new().mode(0o700).create(&path)?;
    Ok(Directory(path))
}

struct Directory(std::path::PathBuf);

impl Directory {
    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What cannot be removed is in a directory of its own that nobody else can enter.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
