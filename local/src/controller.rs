//! The controller: brings pods, addresses, names and files in line with the objects.
//!
//! One task owns all state. Commands, pod events and file changes come in; after each batch one pass
//! decides what pods to create and delete (`controller/workloads.rs`) and publishes the result
//! (`controller/publish.rs`). Decisions are pure functions in `rollout` and `endpoints`.

mod publish;
mod workloads;

use std::{
    collections::{BTreeMap, HashMap},
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Instant, SystemTime},
};

use k8s_openapi::api::core::v1::Pod;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
};

use crate::{
    desired::{DataView, Desired, Objects},
    dns::Zone,
    manifest::{ManifestError, Object, ObjectKey},
    network::AddressPool,
    pod::{self, Event, Order, Shared, status::PodStatus},
    state::Mirror,
    system,
};

/// Events of all pods waiting to be read.
pub(crate) const EVENT_QUEUE: usize = 256;

/// Orders waiting for one pod.
const ORDER_QUEUE: usize = 16;

/// Namespace and name of a pod.
pub type PodName = (String, String);

/// What the controller is asked.
pub enum Command {
    /// Add or replace objects.
    Apply(Vec<Object>, oneshot::Sender<Vec<Change>>),
    /// Remove applied objects.
    Delete(Vec<ObjectKey>, oneshot::Sender<Vec<Change>>),
    /// Replace all pods of a workload.
    Restart(ObjectKey, oneshot::Sender<bool>),
    /// Pass an order to a pod.
    Order(PodName, Order, oneshot::Sender<bool>),
    /// Read the directory again.
    DirectoryChanged,
    /// End all pods; answered when they are gone.
    Shutdown(oneshot::Sender<()>),
}

/// What happened to an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The object.
    pub key: ObjectKey,
    /// What happened.
    pub outcome: Outcome,
}

/// Outcome of applying or deleting one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It is new.
    Created,
    /// It replaced another form of itself.
    Configured,
    /// It was like that already.
    Unchanged,
    /// It is gone.
    Deleted,
    /// There is none of that name.
    NotFound,
    /// It comes from the directory and must be removed there.
    InDirectory(String),
}

/// The mesh as others see it.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// Pods by name.
    pub pods: BTreeMap<PodName, PodView>,
    /// All objects: the user's, completed by what the mesh generated.
    pub objects: Arc<Objects>,
    /// Documents of the directory that do not decode.
    pub errors: Vec<ManifestError>,
}

/// A pod as others see it.
#[derive(Debug, Clone)]
pub struct PodView {
    /// The Pod object, admitted and with status.
    pub pod: Arc<Pod>,
    /// Its address, once it has one.
    pub address: Option<Ipv4Addr>,
    /// The process that holds its namespaces.
    pub pid: Option<u32>,
    /// State of its containers.
    pub status: PodStatus,
    /// When it was made.
    pub created: SystemTime,
    /// The workload it belongs to.
    pub owner: Option<ObjectKey>,
}

struct Record {
    pod: Arc<Pod>,
    owner: Option<ObjectKey>,
    revision: String,
    address: Option<Ipv4Addr>,
    pid: Option<u32>,
    status: PodStatus,
    leaving: bool,
    created: Instant,
    created_at: SystemTime,
    orders: mpsc::Sender<Order>,
}

/// What the controller needs to run.
pub struct Wiring {
    /// Shared by all pods.
    pub shared: Arc<Shared>,
    /// Where the zone is published.
    pub zone: watch::Sender<Arc<Zone>>,
    /// Where the view is published.
    pub view: watch::Sender<Arc<View>>,
    /// Where ConfigMaps and Secrets are published.
    pub data: watch::Sender<DataView>,
    /// Where the webhook's address is published.
    pub webhook: watch::Sender<Option<SocketAddr>>,
}

/// Owner of all state.
pub struct Controller {
    wiring: Wiring,
    desired: Desired,
    /// When the directory is to be read again although nothing in it has changed.
    next_read: Option<Instant>,
    objects: Arc<Objects>,
    pods: BTreeMap<PodName, Record>,
    tasks: JoinSet<()>,
    events: mpsc::Sender<(PodName, Event)>,
    inbox: mpsc::Receiver<(PodName, Event)>,
    services: AddressPool,
    cluster_ips: HashMap<ObjectKey, Ipv4Addr>,
    restarted: HashMap<ObjectKey, String>,
    generated: Mirror,
    applied: Mirror,
    /// Router rules in force.
    rules: String,
    stopping: Option<oneshot::Sender<()>>,
}

impl Controller {
    /// A controller that starts from the mesh's own objects and the directory.
    pub fn new(wiring: Wiring, defaults: Vec<Object>) -> Self {
        let (events, inbox) = mpsc::channel(EVENT_QUEUE);
        let state = &wiring.shared.state;
        let generated = Mirror::new(state.generated(), state.staging());
        let applied = Mirror::new(state.applied(), state.staging());
        let mut controller = Self {
            wiring,
            desired: Desired::new(defaults),
            next_read: None,
            objects: Arc::default(),
            pods: BTreeMap::new(),
            tasks: JoinSet::new(),
            events,
            inbox,
            services: AddressPool::services(),
            cluster_ips: HashMap::new(),
            restarted: HashMap::new(),
            generated,
            applied,
            rules: String::new(),
            stopping: None,
        };
        controller.read_directory();
        controller
    }

    /// Works until told to shut down.
    pub async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        loop {
            self.reconcile().await;
            if self.stopping.is_some() && self.pods.is_empty() {
                break;
            }
            tokio::select! {
                Some((name, event)) = self.inbox.recv() => self.on_event(&name, event),
                command = commands.recv() => match command {
                    Some(command) => self.on_command(command),
                    None => break,
                },
                Some(_) = self.tasks.join_next() => {}
                () = at(self.next_read) => self.read_directory(),
            }
            // Whatever else has arrived is handled in the same pass.
            while let Ok((name, event)) = self.inbox.try_recv() {
                self.on_event(&name, event);
            }
        }
        if let Some(done) = self.stopping.take() {
            let _ = done.send(());
        }
    }

    async fn reconcile(&mut self) {
        self.objects = Arc::new(self.desired.objects());
        let data = DataView {
            objects: self.objects.clone(),
            root_cert: self.wiring.shared.state.root_cert(),
        };
        self.wiring.data.send_replace(data);
        if self.stopping.is_some() {
            let names: Vec<_> = self.pods.keys().cloned().collect();
            for name in names {
                self.delete_pod(&name);
            }
        } else {
            self.reconcile_workloads();
        }
        self.publish().await;
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Apply(objects, reply) => {
                let changes = objects
                    .into_iter()
                    .map(|object| self.apply(object))
                    .collect();
                let _ = reply.send(changes);
            }
            Command::Delete(keys, reply) => {
                let changes = keys.into_iter().map(|key| self.delete(key)).collect();
                let _ = reply.send(changes);
            }
            Command::Restart(key, reply) => {
                let known = self.objects.contains_key(&key);
                if known {
                    self.restarted
                        .insert(key, format!("{:?}", SystemTime::now()));
                }
                let _ = reply.send(known);
            }
            Command::Order(name, order, reply) => {
                let record = self.pods.get(&name);
                let _ =
                    reply.send(record.is_some_and(|record| record.orders.try_send(order).is_ok()));
            }
            Command::DirectoryChanged => self.read_directory(),
            Command::Shutdown(reply) => self.stopping = Some(reply),
        }
    }

    fn apply(&mut self, object: Object) -> Change {
        let key = object.key.clone();
        let same = self
            .objects
            .get(&key)
            .is_some_and(|known| known.value == object.value);
        let created = self.desired.apply(object);
        let outcome = match (same, created) {
            (true, _) => Outcome::Unchanged,
            (false, true) => Outcome::Created,
            (false, false) => Outcome::Configured,
        };
        Change { key, outcome }
    }

    fn delete(&mut self, key: ObjectKey) -> Change {
        let outcome = if self.desired.delete(&key) {
            Outcome::Deleted
        } else if let Some(path) = self.desired.in_directory(&key) {
            Outcome::InDirectory(path.display().to_string())
        } else {
            Outcome::NotFound
        };
        Change { key, outcome }
    }

    fn read_directory(&mut self) {
        let Some(dir) = self.wiring.shared.options.dir.clone() else {
            return;
        };
        match self.desired.read_directory(&dir, Instant::now()) {
            Ok(next) => self.next_read = next,
            Err(error) => {
                self.next_read = None;
                tracing::warn!(dir = %dir.display(), %error, "directory not read");
            }
        }
        for error in &self.desired.errors {
            tracing::warn!(%error, "document not used");
        }
    }

    fn on_event(&mut self, name: &PodName, event: Event) {
        let Some(record) = self.pods.get_mut(name) else {
            return;
        };
        match event {
            Event::Prepared(pod, address, pid) => {
                record.pod = Arc::new(*pod);
                record.address = Some(address);
                record.pid = Some(pid);
            }
            Event::Status(status) => record.status = status,
            Event::Gone => {
                self.pods.remove(name);
            }
        }
    }

    fn delete_pod(&mut self, name: &PodName) {
        let Some(record) = self.pods.get_mut(name) else {
            return;
        };
        if !record.leaving {
            record.leaving = true;
            record.status.terminating = true;
            let _ = record.orders.try_send(Order::Terminate);
        }
    }

    fn create_pod(&mut self, pod: Pod, owner: Option<ObjectKey>, revision: String) {
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        let name = (
            namespace.clone(),
            pod.metadata.name.clone().unwrap_or_default(),
        );
        // The control plane alone: the gateway goes through injection, where users have a say.
        let system = owner.as_ref().is_some_and(|owner| {
            owner.namespace == system::NAMESPACE
                && owner.name == system::CONTROL_PLANE
                && self.desired.is_default(owner)
        });
        let namespace_labels = self.namespace_labels(&namespace);
        let request = pod::Request {
            pod: pod.clone(),
            namespace_labels,
            system,
        };
        let (orders, order_inbox) = mpsc::channel(ORDER_QUEUE);
        let (sender, mut own_events) = mpsc::channel(ORDER_QUEUE);
        let (events, event_name) = (self.events.clone(), name.clone());
        let shared = self.wiring.shared.clone();
        self.tasks.spawn(async move {
            let forward = async {
                while let Some(event) = own_events.recv().await {
                    let _ = events.send((event_name.clone(), event)).await;
                }
            };
            tokio::join!(pod::run(shared, request, order_inbox, sender), forward);
        });
        let record = Record {
            pod: Arc::new(pod),
            owner,
            revision,
            address: None,
            pid: None,
            status: PodStatus::default(),
            leaving: false,
            created: Instant::now(),
            created_at: SystemTime::now(),
            orders,
        };
        self.pods.insert(name, record);
    }

    fn namespace_labels(&self, namespace: &str) -> BTreeMap<String, String> {
        let key = ObjectKey {
            group: String::new(),
            kind: "Namespace".into(),
            namespace: String::new(),
            name: namespace.into(),
        };
        let labels = self
            .objects
            .get(&key)
            .map(|object| &object.value["metadata"]["labels"]);
        labels
            .and_then(|labels| serde_json::from_value(labels.clone()).ok())
            .unwrap_or_default()
    }
}

/// Returns at a time; never without one.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}
