//! One pod's life: admission, namespaces, containers in order, orderly end.
//!
//! Each pod is one task. It reports to the controller what others need to know (its final form and
//! address, its readiness, its end) and is told to end or to pass orders to containers.

pub mod sandbox;
pub mod status;

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, atomic::AtomicU32},
    time::{Duration, SystemTime},
};

use k8s_openapi::api::core::v1::{Container, Pod};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{interval, sleep, timeout},
};

use crate::{
    desired::DataView,
    inject,
    network::{AddressPool, NetworkError},
    options::{Options, Privilege},
    pod::{
        sandbox::{Sandbox, SandboxError},
        status::PodStatus,
    },
    probe::Probes,
    process::{
        ContainerError, Launch,
        run::{Control, Report, Restart, Runner},
    },
    state::StateDir,
    token::TokenSigner,
    validate,
    volume::{VolumeError, Volumes},
};

/// How long a pod that served stays up after it left its services, so that clients learn of it first.
const ENDPOINT_SETTLE: Duration = Duration::from_secs(1);

/// How often something that is not there yet is looked for again.
const RETRY: Duration = Duration::from_millis(100);

/// How often volumes are brought up to date.
const VOLUME_REFRESH: Duration = Duration::from_secs(1);

/// Time that is left for sidecars after the application has used up its grace period.
const SIDECAR_GRACE_MIN: Duration = Duration::from_secs(2);

/// Orders waiting for one container.
const CONTROL_QUEUE: usize = 16;

/// What all pods share.
pub struct Shared {
    /// Options of the mesh.
    pub options: Options,
    /// State directory.
    pub state: StateDir,
    /// Signs tokens.
    pub signer: TokenSigner,
    /// Pod addresses.
    pub addresses: Mutex<AddressPool>,
    /// Numbers of pod links.
    pub links: AtomicU32,
    /// ConfigMaps and Secrets.
    pub data: watch::Receiver<DataView>,
    /// The control plane's webhook, while it is up.
    pub webhook: watch::Receiver<Option<SocketAddr>>,
}

/// A pod to run.
pub struct Request {
    /// As its workload made it; not admitted yet.
    pub pod: Pod,
    /// Labels of its namespace.
    pub namespace_labels: BTreeMap<String, String>,
    /// Whether it belongs to the mesh itself: it may mount paths of the machine.
    pub system: bool,
}

/// What a pod tells the controller.
#[derive(Debug)]
pub enum Event {
    /// Admitted and addressed; containers follow.
    Prepared(Box<Pod>, Ipv4Addr, u32),
    /// State of its containers.
    Status(PodStatus),
    /// Everything of it is gone.
    Gone,
}

/// What a pod is told.
#[derive(Debug)]
pub enum Order {
    /// End.
    Terminate,
    /// Pass to one container, or to all.
    Container(Option<String>, ContainerOrder),
}

/// An order to a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerOrder {
    /// Send a signal.
    Signal(rustix::process::Signal),
    /// Kill and keep down.
    Hold,
    /// Start again.
    Release,
}

#[derive(Debug, thiserror::Error)]
enum PodError {
    #[error(transparent)]
    Inject(#[from] inject::InjectError),
    #[error("the injected pod is not a pod")]
    Decode(#[from] serde_json::Error),
    #[error("the injected pod is not allowed: {0}")]
    Invalid(String),
    #[error(transparent)]
    Network(#[from] NetworkError),
    #[error(transparent)]
    Volume(#[from] VolumeError),
    #[error(transparent)]
    Container(#[from] ContainerError),
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
}

/// Runs a pod until it is told to end, and cleans up after it.
pub async fn run(
    shared: Arc<Shared>,
    request: Request,
    orders: mpsc::Receiver<Order>,
    events: mpsc::Sender<Event>,
) {
    let mut task = PodTask {
        shared,
        orders,
        events,
        status: PodStatus::default(),
    };
    let mut address = None;
    if let Err(error) = task.live(request, &mut address).await {
        task.fail(&error).await;
        task.wait_for_end().await;
    }
    if let Some(address) = address {
        task.shared
            .addresses
            .lock()
            .expect("no holder panics")
            .release(address);
    }
    let _ = task.events.send(Event::Gone).await;
}

struct PodTask {
    shared: Arc<Shared>,
    orders: mpsc::Receiver<Order>,
    events: mpsc::Sender<Event>,
    status: PodStatus,
}

impl PodTask {
    /// `Ok` after an orderly end; an error leaves the pod as failed until it is deleted.
    async fn live(
        &mut self,
        request: Request,
        address: &mut Option<Ipv4Addr>,
    ) -> Result<(), PodError> {
        let system = request.system;
        let Some(mut pod) = self.admit(request).await? else {
            return Ok(());
        };
        let own = self.allocate(&pod)?;
        *address = Some(own);
        status::set_address(&mut pod, own);
        let chown = self.shared.options.privilege != Privilege::SingleUser;
        let dir = self
            .shared
            .state
            .namespace_root()
            .join(pod.metadata.uid.clone().unwrap_or_default());
        let mut volumes = Volumes::new(dir.join("volumes"), system, chown);
        if !self.provide(&pod, &mut volumes).await? {
            return Ok(());
        }
        let data = self.shared.data.borrow().clone();
        let binds = volumes.binds(&pod, &data)?;
        let sandbox = Sandbox::start(&self.shared, &pod, &dir, binds, own).await?;
        let prepared = Event::Prepared(Box::new(pod.clone()), own, sandbox.pid());
        let _ = self.events.send(prepared).await;
        let result = self
            .run_containers(&pod, own, sandbox.pid(), &mut volumes)
            .await;
        sandbox.stop().await;
        result
    }

    /// Sends the pod through the webhook where its labels ask for it; `None` if it is deleted meanwhile.
    async fn admit(&mut self, request: Request) -> Result<Option<Pod>, PodError> {
        let Request {
            mut pod,
            namespace_labels,
            ..
        } = request;
        if !self.shared.options.mesh
            || !inject::selected(Some(&namespace_labels), pod.metadata.labels.as_ref())
        {
            return Ok(Some(pod));
        }
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        // As an API server sends it: a pod of a workload has no name before admission.
        let name = pod.metadata.name.take();
        let uid = pod.metadata.uid.clone();
        let value = serde_json::to_value(&pod)?;
        let root_cert = self.shared.state.root_cert();
        loop {
            let webhook = *self.shared.webhook.borrow();
            let outcome = match webhook {
                Some(address) => inject::inject(address, &root_cert, &namespace, value.clone())
                    .await
                    .map(Some),
                None => Ok(None),
            };
            match outcome {
                Ok(Some(value)) => {
                    let mut pod: Pod = serde_json::from_value(value)?;
                    // Who it is does not change in admission.
                    pod.metadata.name = name;
                    pod.metadata.namespace = Some(namespace);
                    pod.metadata.uid = uid;
                    return injected(pod).map(Some);
                }
                Err(error) if !error.is_transient() => return Err(error.into()),
                Err(error) => self.waiting(&error.to_string()).await,
                Ok(None) => self.waiting("waiting for the control plane").await,
            }
            if !self.pause().await {
                return Ok(None);
            }
        }
    }

    fn allocate(&self, pod: &Pod) -> Result<Ipv4Addr, NetworkError> {
        let mut addresses = self.shared.addresses.lock().expect("no holder panics");
        match status::requested_address(pod) {
            Some(address) => addresses.reserve(address).map(|()| address),
            None => addresses.allocate(),
        }
    }

    /// Writes the volumes, waiting for what they come from; `false` if the pod is deleted meanwhile.
    async fn provide(&mut self, pod: &Pod, volumes: &mut Volumes) -> Result<bool, PodError> {
        loop {
            let data = self.shared.data.borrow().clone();
            match volumes.refresh(pod, &data, &self.shared.signer, SystemTime::now()) {
                Ok(()) => return Ok(true),
                Err(error @ VolumeError::Missing { .. }) => self.waiting(&error.to_string()).await,
                Err(error) => return Err(error.into()),
            }
            if !self.pause().await {
                return Ok(false);
            }
        }
    }

    async fn run_containers(
        &mut self,
        pod: &Pod,
        address: Ipv4Addr,
        pid: u32,
        volumes: &mut Volumes,
    ) -> Result<(), PodError> {
        let (reports, inbox) = mpsc::channel(64);
        let mut containers = Containers {
            shared: self.shared.clone(),
            pod: pod.clone(),
            address,
            pid,
            reports,
            inbox,
            running: BTreeMap::new(),
            tasks: JoinSet::new(),
        };
        let spec = pod.spec.clone().unwrap_or_default();
        for container in spec.init_containers.iter().flatten() {
            let sidecar = container.restart_policy.as_deref() == Some("Always");
            self.status.expect(&container.name, !sidecar);
        }
        for container in &spec.containers {
            self.status.expect(&container.name, false);
        }
        for container in spec.init_containers.iter().flatten() {
            let sidecar = container.restart_policy.as_deref() == Some("Always");
            containers.start(
                container,
                if sidecar {
                    Restart::Always
                } else {
                    Restart::OnFailure
                },
            )?;
            if !self
                .advance(&mut containers, &container.name, !sidecar)
                .await
            {
                return self.end(containers).await;
            }
        }
        let restart = match spec.restart_policy.as_deref() {
            Some("Never") => Restart::Never,
            Some("OnFailure") => Restart::OnFailure,
            _ => Restart::Always,
        };
        for container in &spec.containers {
            containers.start(container, restart)?;
            let hooked = container
                .lifecycle
                .as_ref()
                .is_some_and(|lifecycle| lifecycle.post_start.is_some());
            // A postStart hook holds up the containers after it: that is how a proxy starts first.
            if hooked && !self.advance(&mut containers, &container.name, false).await {
                return self.end(containers).await;
            }
        }
        self.serve(&mut containers, volumes).await;
        self.end(containers).await
    }

    /// Waits until a container has started (or, to its end, finished); `false` if the pod must end.
    async fn advance(&mut self, containers: &mut Containers, name: &str, to_the_end: bool) -> bool {
        loop {
            let done = if to_the_end {
                self.status.succeeded(name)
            } else {
                self.status.started(name)
            };
            if done {
                return true;
            }
            tokio::select! {
                Some((from, report)) = containers.inbox.recv() => self.note(containers, &from, report).await,
                order = self.orders.recv() => if !containers.obey(order) { return false },
            }
        }
    }

    /// The pod's ordinary life.
    async fn serve(&mut self, containers: &mut Containers, volumes: &mut Volumes) {
        let mut refresh = interval(VOLUME_REFRESH);
        let mut known = None;
        loop {
            tokio::select! {
                Some((from, report)) = containers.inbox.recv() => self.note(containers, &from, report).await,
                order = self.orders.recv() => if !containers.obey(order) { return },
                _ = refresh.tick() => {
                    let data = self.shared.data.borrow().clone();
                    let refreshed = volumes.refresh(&containers.pod, &data, &self.shared.signer, SystemTime::now());
                    let error = refreshed.err().map(|error| chain(&error));
                    // Said once, not every second.
                    if let Some(error) = error.as_ref().filter(|error| known.as_ref() != Some(*error)) {
                        tracing::warn!(pod = containers.name(), %error, "volume not refreshed");
                    }
                    known = error;
                }
            }
        }
    }

    /// Ends the application first and the sidecars after it, as Kubernetes does with native sidecars:
    /// requests under way still have their proxy.
    async fn end(&mut self, mut containers: Containers) -> Result<(), PodError> {
        let served = self.status.ready();
        self.status.terminating = true;
        self.publish().await;
        let spec = containers.pod.spec.clone().unwrap_or_default();
        let seconds = spec
            .termination_grace_period_seconds
            .and_then(|seconds| u64::try_from(seconds).ok());
        let grace = Duration::from_secs(seconds.unwrap_or(30));
        if served && !grace.is_zero() {
            sleep(ENDPOINT_SETTLE).await;
        }
        let is_sidecar = |name: &str| {
            let native = spec
                .init_containers
                .iter()
                .flatten()
                .any(|container| container.name == name);
            native || (name == "istio-proxy" && spec.containers.len() > 1)
        };
        let (sidecars, applications): (Vec<_>, Vec<_>) = containers
            .running
            .keys()
            .cloned()
            .partition(|name| is_sidecar(name));
        let begun = tokio::time::Instant::now();
        for (group, grace) in [(applications, grace), (sidecars, grace)] {
            let left = grace.saturating_sub(begun.elapsed());
            let left = if grace.is_zero() {
                left
            } else {
                left.max(SIDECAR_GRACE_MIN)
            };
            self.end_group(&mut containers, &group, left).await;
        }
        Ok(())
    }

    async fn end_group(&mut self, containers: &mut Containers, names: &[String], grace: Duration) {
        for name in names {
            containers.tell(name, Control::Terminate(grace));
        }
        let ended = async {
            while names
                .iter()
                .any(|name| containers.running.contains_key(name))
            {
                let Some((from, report)) = containers.inbox.recv().await else {
                    return;
                };
                self.note(containers, &from, report).await;
            }
        };
        // The container's own task kills at the end of the grace period; this is for hooks that hang.
        let _ = timeout(grace + Duration::from_secs(5), ended).await;
    }

    async fn note(&mut self, containers: &mut Containers, from: &str, report: Report) {
        if report == Report::Finished {
            containers.running.remove(from);
        }
        self.status.note(from, report);
        self.publish().await;
    }

    async fn publish(&self) {
        let _ = self.events.send(Event::Status(self.status.clone())).await;
    }

    async fn waiting(&mut self, reason: &str) {
        if self.status.message.as_deref() != Some(reason) {
            self.status.message = Some(reason.to_owned());
            self.publish().await;
        }
    }

    async fn fail(&mut self, error: &PodError) {
        self.status.failed = true;
        self.status.message = Some(chain(error));
        self.publish().await;
    }

    /// `false` if the pod is deleted.
    async fn pause(&mut self) -> bool {
        tokio::select! {
            () = sleep(RETRY) => true,
            order = self.orders.recv() => !matches!(order, Some(Order::Terminate) | None),
        }
    }

    async fn wait_for_end(&mut self) {
        while !matches!(self.orders.recv().await, Some(Order::Terminate) | None) {}
    }
}

/// Templates and annotations have added to the pod what no manifest check has seen.
fn injected(pod: Pod) -> Result<Pod, PodError> {
    let problems = validate::pod(&pod);
    if problems.is_empty() {
        return Ok(pod);
    }
    let texts: Vec<_> = problems.iter().map(ToString::to_string).collect();
    Err(PodError::Invalid(texts.join("; ")))
}

/// The containers of a running pod.
struct Containers {
    shared: Arc<Shared>,
    pod: Pod,
    address: Ipv4Addr,
    pid: u32,
    reports: mpsc::Sender<(String, Report)>,
    inbox: mpsc::Receiver<(String, Report)>,
    running: BTreeMap<String, mpsc::Sender<Control>>,
    tasks: JoinSet<()>,
}

impl Containers {
    fn name(&self) -> &str {
        self.pod.metadata.name.as_deref().unwrap_or_default()
    }

    fn start(&mut self, container: &Container, restart: Restart) -> Result<(), ContainerError> {
        let namespace = self.pod.metadata.namespace.as_deref().unwrap_or_default();
        let log = self
            .shared
            .state
            .container_log(namespace, self.name(), &container.name);
        let data = self.shared.data.borrow().clone();
        let launch = Launch::new(
            &self.pod,
            container,
            self.pid,
            &self.shared.options,
            &data,
            log,
        )?;
        let seconds = self
            .pod
            .spec
            .as_ref()
            .and_then(|spec| spec.termination_grace_period_seconds);
        let grace = Duration::from_secs(
            seconds
                .and_then(|seconds| u64::try_from(seconds).ok())
                .unwrap_or(30),
        );
        let lifecycle = container.lifecycle.as_ref();
        let exec = |handler: Option<&k8s_openapi::api::core::v1::LifecycleHandler>| {
            handler
                .and_then(|handler| handler.exec.as_ref())
                .and_then(|exec| exec.command.clone())
        };
        let runner = Runner {
            launch,
            restart,
            probes: Probes::new(container, self.address, grace),
            post_start: exec(lifecycle.and_then(|lifecycle| lifecycle.post_start.as_ref())),
            pre_stop: exec(lifecycle.and_then(|lifecycle| lifecycle.pre_stop.as_ref())),
        };
        let (control, orders) = mpsc::channel(CONTROL_QUEUE);
        self.running.insert(container.name.clone(), control);
        self.tasks.spawn(runner.run(orders, self.reports.clone()));
        Ok(())
    }

    fn tell(&self, name: &str, control: Control) {
        if let Some(container) = self.running.get(name) {
            // A full queue means the container is busy dying already.
            let _ = container.try_send(control);
        }
    }

    /// Passes an order on; `false` if the pod must end.
    fn obey(&self, order: Option<Order>) -> bool {
        let Some(Order::Container(name, order)) = order else {
            return false;
        };
        for container in self
            .running
            .keys()
            .filter(|known| name.as_ref().is_none_or(|name| name == *known))
        {
            self.tell(
                container,
                match order {
                    ContainerOrder::Signal(signal) => Control::Signal(signal),
                    ContainerOrder::Hold => Control::Hold,
                    ContainerOrder::Release => Control::Release,
                },
            );
        }
        true
    }
}

/// An error with its causes.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}
