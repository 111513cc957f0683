//! The control API: HTTP and JSON on a unix socket in the state directory.
//!
//! Only the owner can open the socket. Byte streams (`exec`, `forward`) are upgraded connections.

mod streams;

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{RawQuery, Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use futures_util::stream;
use rustix::process::Signal;
use serde_json::Value;
use tokio::{
    fs::File,
    io::AsyncReadExt,
    net::UnixListener,
    sync::{Notify, mpsc, oneshot, watch},
};

use crate::{
    api::{
        ApplyRequest, ControlAction, ControlRequest, GetRequest, LogsRequest, PodSummary, Refusal,
        RestartRequest, Status, decode_query,
    },
    controller::{Change, Command, PodName, PodView, View},
    lookup,
    manifest::{self, ObjectKey},
    pod::{ContainerOrder, Order, Shared},
};

/// How often a followed log is looked at again.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(100);

/// What the handlers share.
#[derive(Clone)]
pub struct ControlState {
    /// Shared by all pods.
    pub shared: Arc<Shared>,
    /// The mesh as it is.
    pub view: watch::Receiver<Arc<View>>,
    /// To the controller.
    pub commands: mpsc::Sender<Command>,
    /// Told when the mesh is to end.
    pub stop: Arc<Notify>,
}

/// Serves the API on `listener` until `ended`, and then what has been asked before.
pub async fn serve(
    listener: UnixListener,
    state: ControlState,
    ended: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/v1/status", get(status))
        .route("/v1/objects", get(objects))
        .route("/v1/apply", post(apply))
        .route("/v1/delete", post(delete))
        .route("/v1/restart", post(restart))
        .route("/v1/control", post(control))
        .route("/v1/logs", get(logs))
        .route("/v1/exec", get(streams::exec))
        .route("/v1/forward", get(streams::forward))
        .route("/v1/attach", get(attach))
        .route("/v1/down", post(down))
        .with_state(state);
    axum::serve(listener, router)
        .with_graceful_shutdown(ended)
        .await
}

type Answer<T> = Result<Json<T>, Refusal>;

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (StatusCode::BAD_REQUEST, Json(self)).into_response()
    }
}

fn refuse(message: impl Into<String>) -> Refusal {
    Refusal {
        message: message.into(),
    }
}

fn query<T: serde::de::DeserializeOwned>(query: Option<&str>) -> Result<T, Refusal> {
    decode_query(query.unwrap_or_default())
}

impl ControlState {
    fn view(&self) -> Arc<View> {
        self.view.borrow().clone()
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, Refusal> {
        let (reply, answer) = oneshot::channel();
        let ending = || refuse("the mesh is shutting down");
        self.commands
            .send(command(reply))
            .await
            .map_err(|_| ending())?;
        answer.await.map_err(|_| ending())
    }
}

async fn status(State(state): State<ControlState>) -> Json<Status> {
    let view = state.view();
    let options = &state.shared.options;
    Json(Status {
        name: options.name.clone(),
        pods: view
            .pods
            .iter()
            .map(|(name, pod)| summary(name, pod))
            .collect(),
        errors: view.errors.iter().map(ToString::to_string).collect(),
        ingress_port: options.mesh.then_some(options.ingress_port),
    })
}

fn summary((namespace, name): &PodName, pod: &PodView) -> PodSummary {
    let status = &pod.status;
    PodSummary {
        namespace: namespace.clone(),
        name: name.clone(),
        address: pod.address.map(|address| address.to_string()),
        ready: status.ready_count(),
        serving: status.ready(),
        status: status.word().to_owned(),
        message: status.message.clone(),
        restarts: status
            .containers
            .iter()
            .map(|container| container.restarts)
            .sum(),
        age_seconds: SystemTime::now()
            .duration_since(pod.created)
            .unwrap_or_default()
            .as_secs(),
        containers: status.containers.clone(),
        proxied: status
            .containers
            .iter()
            .any(|container| container.name == "istio-proxy"),
    }
}

async fn objects(State(state): State<ControlState>, RawQuery(raw): RawQuery) -> Answer<Vec<Value>> {
    let wanted: GetRequest = query(raw.as_deref())?;
    let view = state.view();
    Ok(Json(
        lookup::objects(&view, &wanted)
            .into_iter()
            .map(|object| object.value.clone())
            .collect(),
    ))
}

async fn apply(
    State(state): State<ControlState>,
    Json(request): Json<ApplyRequest>,
) -> Answer<Vec<Change>> {
    let objects = decode(&request)?;
    state
        .ask(|reply| Command::Apply(objects, reply))
        .await
        .map(Json)
}

async fn delete(
    State(state): State<ControlState>,
    Json(request): Json<ApplyRequest>,
) -> Answer<Vec<Change>> {
    let keys = decode(&request)?
        .into_iter()
        .map(|object| object.key)
        .collect();
    state
        .ask(|reply| Command::Delete(keys, reply))
        .await
        .map(Json)
}

/// All documents, or the reasons why none is taken.
fn decode(request: &ApplyRequest) -> Result<Vec<manifest::Object>, Refusal> {
    let found = manifest::parse(&request.text, Path::new(&request.file), &request.namespace);
    if found.errors.is_empty() {
        return Ok(found.objects);
    }
    let messages: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
    Err(refuse(messages.join("\n")))
}

async fn restart(
    State(state): State<ControlState>,
    Json(request): Json<RestartRequest>,
) -> Answer<bool> {
    let kind = match request.kind.to_lowercase().as_str() {
        "deployment" | "deploy" => "Deployment",
        "statefulset" | "sts" => "StatefulSet",
        "daemonset" | "ds" => "DaemonSet",
        other => {
            return Err(refuse(format!(
                "\"{other}\" cannot be restarted: name a deployment, statefulset or daemonset"
            )));
        }
    };
    let RestartRequest {
        namespace, name, ..
    } = request;
    let key = ObjectKey {
        group: "apps".into(),
        kind: kind.into(),
        namespace,
        name,
    };
    let shown = key.to_string();
    match state.ask(|reply| Command::Restart(key, reply)).await? {
        true => Ok(Json(true)),
        false => Err(refuse(format!("no {shown}"))),
    }
}

async fn control(
    State(state): State<ControlState>,
    Json(request): Json<ControlRequest>,
) -> Answer<String> {
    let view = state.view();
    let (name, pod) = lookup::pod(&view, &request.pod)?;
    let container = request
        .container
        .as_deref()
        .map(|wanted| lookup::container(pod, Some(wanted)))
        .transpose()?;
    let order = match request.action {
        ControlAction::Signal(number) => {
            let signal = Signal::from_named_raw(number)
                .ok_or_else(|| refuse(format!("{number} is not a signal")))?;
            ContainerOrder::Signal(signal)
        }
        ControlAction::Stop => ContainerOrder::Hold,
        ControlAction::Start => ContainerOrder::Release,
    };
    let order = Order::Container(container, order);
    match state
        .ask(|reply| Command::Order(name.clone(), order, reply))
        .await?
    {
        true => Ok(Json(name.1.clone())),
        false => Err(refuse(format!("pod \"{}\" does not take orders", name.1))),
    }
}

async fn logs(
    State(state): State<ControlState>,
    RawQuery(raw): RawQuery,
) -> Result<Response, Refusal> {
    let wanted: LogsRequest = query(raw.as_deref())?;
    let view = state.view();
    let (name, pod) = lookup::pod(&view, &wanted.pod)?;
    let container = lookup::container(pod, wanted.container.as_deref())?;
    let log = state
        .shared
        .state
        .container_log(&name.0, &name.1, &container);
    let file = log.read().map_err(|_| {
        refuse(format!(
            "container \"{container}\" has not written anything"
        ))
    })?;
    let mut file = File::from_std(file);
    let mut begin = Vec::new();
    file.read_to_end(&mut begin)
        .await
        .map_err(|error| refuse(error.to_string()))?;
    if let Some(lines) = wanted.tail {
        begin = last_lines(&begin, lines).to_vec();
    }
    if !wanted.follow {
        return Ok(Body::from(begin).into_response());
    }
    let chunks = stream::unfold((file, Some(begin)), |(mut file, begin)| async move {
        if let Some(begin) = begin {
            return Some((Ok::<_, std::io::Error>(Bytes::from(begin)), (file, None)));
        }
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match file.read(&mut buffer).await {
                Ok(0) => tokio::time::sleep(FOLLOW_INTERVAL).await,
                Ok(length) => {
                    buffer.truncate(length);
                    return Some((Ok(Bytes::from(buffer)), (file, None)));
                }
                Err(error) => return Some((Err(error), (file, None))),
            }
        }
    });
    Ok(Body::from_stream(chunks).into_response())
}

fn last_lines(text: &[u8], count: usize) -> &[u8] {
    let body = text.strip_suffix(b"\n").unwrap_or(text);
    let starts = body
        .iter()
        .enumerate()
        .rev()
        .filter(|(_, byte)| **byte == b'\n');
    match (
        count,
        starts.map(|(at, _)| at + 1).nth(count.saturating_sub(1)),
    ) {
        (0, _) => &[],
        (_, Some(start)) => &text[start..],
        (_, None) => text,
    }
}

/// Stays open for as long as the mesh's owner lives; the end of it is the end of the mesh.
async fn attach(State(state): State<ControlState>, request: Request) -> Response {
    drop(request);
    struct Guard(Arc<Notify>);
    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }
    let guard = Guard(state.stop.clone());
    let first = stream::once(async { Ok::<_, std::io::Error>(Bytes::from_static(b"attached\n")) });
    let rest = stream::once(async move {
        let _guard = guard;
        std::future::pending::<()>().await;
        Ok(Bytes::new())
    });
    Body::from_stream(futures_util::StreamExt::chain(first, rest)).into_response()
}

async fn down(State(state): State<ControlState>) -> Json<bool> {
    state.stop.notify_one();
    Json(true)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("a\nb\nc\n", 2, "b\nc\n")]
    #[case("a\nb\nc", 1, "c")]
    #[case("a\n", 5, "a\n")]
    #[case("a\n", 0, "")]
    fn tail(#[case] text: &str, #[case] count: usize, #[case] expected: &str) {
        assert_eq!(last_lines(text.as_bytes(), count), expected.as_bytes());
    }
}
