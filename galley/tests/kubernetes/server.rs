//! An API server in memory: lists, watches, patches of status, events.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tower_test::mock;

use super::exchange::{Asked, Reply, answer, refusal, status, stream};

type Answer = mock::SendResponse<Response<Reply>>;
type Stream = mpsc::UnboundedSender<Value>;

/// A handle on the server.
pub(crate) struct Server {
    shared: Arc<Shared>,
    client: Client,
}

struct Shared {
    state: Mutex<State>,
    activity: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    version: u64,
    objects: BTreeMap<(String, String, String), Value>,
    /// Every change: version, resource, event.
    log: Vec<(u64, String, Value)>,
    watches: Vec<(String, Stream)>,
    lists: BTreeMap<String, u32>,
    lists_wanted: BTreeMap<String, u32>,
    held: BTreeSet<String>,
    /// Resources of which nothing may be made.
    forbidden: BTreeSet<String>,
    waiting: Vec<(String, Answer)>,
    /// Resources whose statuses are not written yet, and who waits for that.
    held_statuses: BTreeSet<String>,
    waiting_statuses: Vec<(Asked, Bytes, Answer)>,
    no_streaming: bool,
    written: Vec<(String, String, Value)>,
    seen: usize,
    events: Vec<Value>,
}

impl Server {
    pub(crate) fn new() -> Self {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            activity: watch::Sender::new(0),
        });
        let (service, mut handle) = mock::pair::<Request<Body>, Response<Reply>>();
        let serving = shared.clone();
        tokio::spawn(async move {
            while let Some((request, answer)) = handle.next_request().await {
                serving.clone().handle(request, answer).await;
            }
        });
        Self {
            shared,
            client: Client::new(service, "default"),
        }
    }

    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    /// Creates or replaces an object.
    pub(crate) fn put(&self, resource: &str, object: Value) {
        self.shared.change(|state| state.put(resource, object));
    }

    pub(crate) fn install(&self, plural: &str, group: &str, versions: &[&str]) {
        let versions = versions
            .iter()
            .map(|name| json!({"name": name, "served": true}));
        let definition = json!({
            "metadata": {"name": format!("{plural}.{group}")},
            "spec": {"group": group, "versions": versions.collect::<Vec<_>>()},
            "status": {"conditions": [{"type": "Established", "status": "True"}]},
        });
        self.put("customresourcedefinitions", definition);
    }

    pub(crate) fn uninstall(&self, plural: &str, group: &str) {
        let name = format!("{plural}.{group}");
        self.shared
            .change(|state| state.delete("customresourcedefinitions", "", &name));
    }

    /// Leaves requests for a resource unanswered.
    pub(crate) fn hold(&self, resource: &str) {
        self.shared
            .change(|state| state.held.insert(resource.to_owned()));
    }

    /// Leaves statuses of a resource unwritten.
    pub(crate) fn hold_statuses(&self, resource: &str) {
        self.shared
            .change(|state| state.held_statuses.insert(resource.to_owned()));
    }

    /// Waits until so many statuses wait to be written.
    pub(crate) async fn statuses_waiting(&self, count: usize) {
        self.until(|state| (state.waiting_statuses.len() >= count).then_some(()))
            .await;
    }

    /// Writes all statuses that were held, and holds none any more. How many there were.
    pub(crate) fn release_statuses(&self) -> usize {
        self.shared.change(|state| {
            state.held_statuses.clear();
            let waiting = std::mem::take(&mut state.waiting_statuses);
            let count = waiting.len();
            for (asked, body, answer) in waiting {
                answer.send_response(state.patch(&asked, &body));
            }
            count
        })
    }

    /// The objects whose statuses were written, in order, once there are so many.
    pub(crate) async fn all_written(&self, count: usize) -> Vec<String> {
        self.until(|state| {
            let names = state.written.iter().map(|(_, name, _)| name.clone());
            (state.written.len() >= count).then(|| names.collect())
        })
        .await
    }

    /// Refuses to make objects of a resource.
    pub(crate) fn forbid(&self, resource: &str) {
        self.shared
            .change(|state| state.forbidden.insert(resource.to_owned()));
    }

    pub(crate) fn refuse_streaming(&self) {
        self.shared.change(|state| state.no_streaming = true);
    }

    /// Ends all watches; they may go on where they were.
    pub(crate) fn disconnect(&self) {
        self.shared.change(|state| state.watches.clear());
    }

    /// Ends all watches; they have to list again.
    pub(crate) fn expire(&self) {
        let gone = json!({"type": "ERROR", "object": status(410, "Expired")});
        self.shared.change(|state| {
            for (resource, stream) in std::mem::take(&mut state.watches) {
                let lists = state.lists.get(&resource).copied().unwrap_or_default();
                state.lists_wanted.insert(resource, lists + 1);
                let _ = stream.send(gone.clone());
            }
        });
    }

    /// Waits until all that expired have listed again.
    pub(crate) async fn listed_again(&self) {
        self.until(|state| {
            let wanted = state.lists_wanted.iter();
            let mut missing = wanted.filter(|(resource, count)| state.lists[*resource] < **count);
            missing.next().is_none().then_some(())
        })
        .await;
    }

    /// Waits until a held resource was asked for.
    pub(crate) async fn asked(&self, resource: &str) {
        self.until(|state| {
            let mut waiting = state.waiting.iter();
            waiting.any(|(held, _)| held == resource).then_some(())
        })
        .await;
    }

    /// The next status that is written, which must be of this object.
    pub(crate) async fn written(&self, resource: &str, name: &str) -> Value {
        let (of, named, status) = self
            .until(|state| {
                let next = state.written.get(state.seen).cloned()?;
                state.seen += 1;
                Some(next)
            })
            .await;
        assert_eq!((&*of, &*named), (resource, name));
        status
    }

    /// Waits for a status of this object, of a route at its first parent, in which the
    /// condition is true.
    pub(crate) async fn status_holds(&self, resource: &str, name: &str, condition: &str) {
        self.until(|state| {
            let written = state.written.iter().rev();
            let mut written = written.filter(|(of, named, _)| of == resource && named == name);
            let status = &written.next()?.2;
            let parent = status["parents"].get(0).unwrap_or(status);
            let conditions = parent["conditions"].as_array()?.clone();
            let holds = |one: &Value| one["type"] == condition && one["status"] == "True";
            conditions.iter().any(holds).then_some(())
        })
        .await;
    }

    /// How many statuses were written.
    pub(crate) fn writes(&self) -> usize {
        self.shared.lock().written.len()
    }

    /// An object, once it is there.
    pub(crate) async fn object(&self, resource: &str, namespace: &str, name: &str) -> Value {
        let key = (resource.to_owned(), namespace.to_owned(), name.to_owned());
        self.until(|state| state.objects.get(&key).cloned()).await
    }

    /// The first event.
    pub(crate) async fn event(&self) -> Value {
        self.until(|state| state.events.first().cloned()).await
    }

    async fn until<T>(&self, mut found: impl FnMut(&mut State) -> Option<T>) -> T {
        let mut activity = self.shared.activity.subscribe();
        let found = async {
            loop {
                if let Some(value) = found(&mut self.shared.lock()) {
                    return value;
                }
                activity.changed().await.unwrap();
            }
        };
        tokio::time::timeout(super::PATIENCE, found)
            .await
            .expect("the API server is asked for what the test waits for")
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let value = change(&mut self.lock());
        self.activity.send_modify(|count| *count += 1);
        value
    }

    async fn handle(self: Arc<Self>, request: Request<Body>, answer: Answer) {
        let (parts, body) = request.into_parts();
        let asked = Asked::new(&parts.uri);
        let body = body.collect().await.unwrap().to_bytes();
        self.change(|state| {
            if state.held.contains(&asked.resource) {
                state.waiting.push((asked.resource, answer));
                return;
            }
            let is_status = parts.method == Method::PATCH && parts.uri.path().ends_with("/status");
            if is_status && state.held_statuses.contains(&asked.resource) {
                state.waiting_statuses.push((asked, body, answer));
                return;
            }
            let response = match parts.method {
                Method::GET if asked.flag("watch") => state.watch(&asked),
                Method::GET => state.list(&asked),
                Method::PATCH => state.patch(&asked, &body),
                Method::POST => state.create(&asked, &body),
                other => panic!("{other} {}", parts.uri),
            };
            answer.send_response(response);
        });
    }
}

impl State {
    fn put(&mut self, resource: &str, mut object: Value) {
        self.version += 1;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let name = text(&object["metadata"]["name"]);
        let key = (
            resource.to_owned(),
            text(&object["metadata"]["namespace"]),
            name.clone(),
        );
        let before = self.objects.get(&key);
        let generation = before.map_or(0, |before| {
            before["metadata"]["generation"].as_i64().unwrap()
        });
        object["metadata"]["generation"] = json!(generation + 1);
        object["metadata"]["uid"] = json!(format!("uid-{name}"));
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        object["metadata"]["managedFields"] = json!([{"manager": "test", "operation": "Update"}]);
        if let Some(status) = before
            .map(|before| &before["status"])
            .filter(|s| !s.is_null())
        {
            object["status"] = status.clone();
        }
        let kind = if before.is_some() {
            "MODIFIED"
        } else {
            "ADDED"
        };
        self.objects.insert(key, object.clone());
        self.tell(resource, json!({"type": kind, "object": object}));
    }

    fn delete(&mut self, resource: &str, namespace: &str, name: &str) {
        self.version += 1;
        let key = (resource.to_owned(), namespace.to_owned(), name.to_owned());
        let mut object = self.objects.remove(&key).expect("the object is there");
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.tell(resource, json!({"type": "DELETED", "object": object}));
    }

    fn tell(&mut self, resource: &str, event: Value) {
        self.log
            .push((self.version, resource.to_owned(), event.clone()));
        self.watches
            .retain(|(of, stream)| of != resource || stream.send(event.clone()).is_ok());
    }

    fn all(&self, asked: &Asked) -> Vec<Value> {
        let ours = self.objects.iter().filter(|((resource, namespace, _), _)| {
            *resource == asked.resource && asked.namespace.as_ref().is_none_or(|n| n == namespace)
        });
        ours.map(|(_, object)| object.clone()).collect()
    }

    fn list(&mut self, asked: &Asked) -> Response<Reply> {
        *self.lists.entry(asked.resource.clone()).or_default() += 1;
        answer(&json!({
            "kind": "List",
            "apiVersion": "v1",
            "metadata": {"resourceVersion": self.version.to_string()},
            "items": self.all(asked),
        }))
    }

    fn watch(&mut self, asked: &Asked) -> Response<Reply> {
        let (sender, receiver) = mpsc::unbounded_channel();
        if asked.flag("sendInitialEvents") {
            if self.no_streaming {
                return refusal(422, "Invalid");
            }
            *self.lists.entry(asked.resource.clone()).or_default() += 1;
            for object in self.all(asked) {
                sender
                    .send(json!({"type": "ADDED", "object": object}))
                    .unwrap();
            }
            let end = json!({"type": "BOOKMARK", "object": {
                "kind": "Any",
                "apiVersion": "v1",
                "metadata": {
                    "resourceVersion": self.version.to_string(),
                    "annotations": {"k8s.io/initial-events-end": "true"},
                },
            }});
            sender.send(end).unwrap();
        } else {
            let since: u64 = asked.query["resourceVersion"].parse().unwrap();
            let missed = self.log.iter();
            for (_, _, event) in missed.filter(|(v, of, _)| *v > since && *of == asked.resource) {
                sender.send(event.clone()).unwrap();
            }
        }
        self.watches.push((asked.resource.clone(), sender));
        stream(receiver)
    }

    fn patch(&mut self, asked: &Asked, body: &[u8]) -> Response<Reply> {
        let patch: Value = serde_json::from_slice(body).unwrap();
        if asked.resource == "events" {
            return answer(&patch);
        }
        if patch["status"].is_null() {
            self.put(&asked.resource, patch.clone());
            return answer(&patch);
        }
        let name = asked.name.clone().unwrap();
        let namespace = asked.namespace.clone().unwrap_or_default();
        let key = (asked.resource.clone(), namespace, name.clone());
        assert_eq!(asked.query["fieldManager"], "weft-galley");
        self.version += 1;
        let object = self.objects.get_mut(&key).expect("the object is there");
        object["status"] = patch["status"].clone();
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let object = object.clone();
        self.tell(
            &asked.resource,
            json!({"type": "MODIFIED", "object": object}),
        );
        self.written
            .push((asked.resource.clone(), name, patch["status"].clone()));
        answer(&object)
    }

    fn create(&mut self, asked: &Asked, body: &[u8]) -> Response<Reply> {
        if self.forbidden.contains(&asked.resource) {
            return refusal(403, "Forbidden");
        }
        let object: Value = serde_json::from_slice(body).unwrap();
        match &*asked.resource {
            "events" => self.events.push(object.clone()),
            resource => self.put(resource, object.clone()),
        }
        answer(&object)
    }
}
