//! What the control API says, on both sides of the socket.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::pod::status::ContainerState;

/// The mesh at a glance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Name of the mesh.
    pub name: String,
    /// Its pods.
    pub pods: Vec<PodSummary>,
    /// Documents of the directory that are not used.
    pub errors: Vec<String>,
    /// Port of the ingress gateway on 127.0.0.1, if there is one.
    pub ingress_port: Option<u16>,
}

/// One pod in the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodSummary {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Address.
    pub address: Option<String>,
    /// Containers that serve, and all.
    pub ready: (usize, usize),
    /// Whether it serves.
    pub serving: bool,
    /// One word for its state.
    pub status: String,
    /// What it waits for, or why it failed.
    pub message: Option<String>,
    /// Restarts of its containers.
    pub restarts: u32,
    /// Seconds since it was made.
    pub age_seconds: u64,
    /// Its containers.
    pub containers: Vec<ContainerState>,
    /// Whether one of them is a proxy.
    pub proxied: bool,
}

/// Names a pod: its full name, or the name of its workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodRef {
    /// Namespace; all are searched without one.
    pub namespace: Option<String>,
    /// Name, or the beginning of it.
    pub pod: String,
}

/// Objects to apply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApplyRequest {
    /// The manifest.
    pub text: String,
    /// Where it came from, for messages.
    pub file: String,
    /// Namespace of objects that name none.
    pub namespace: String,
}

/// Objects to list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetRequest {
    /// Kind: singular or plural, in any case.
    pub kind: String,
    /// Name; all without one.
    pub name: Option<String>,
    /// Namespace; all without one.
    pub namespace: Option<String>,
}

/// A workload whose pods are to be replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartRequest {
    /// Kind: deployment or statefulset.
    pub kind: String,
    /// Name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
}

/// Log to read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogsRequest {
    /// Whose.
    pub pod: PodRef,
    /// Which container; the first application container without one.
    pub container: Option<String>,
    /// Go on with what is written later.
    pub follow: bool,
    /// Only this many lines from the end.
    pub tail: Option<usize>,
}

/// Program to run in a container's place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecRequest {
    /// Where.
    pub pod: PodRef,
    /// In which container; the first application container without one.
    pub container: Option<String>,
    /// Program and arguments.
    pub argv: Vec<String>,
}

/// Port to open a connection to, from inside the pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForwardRequest {
    /// Where.
    pub pod: PodRef,
    /// Port on 127.0.0.1, or else on the pod's address.
    pub port: u16,
}

/// Order to containers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlRequest {
    /// Whose.
    pub pod: PodRef,
    /// Which; all without one.
    pub container: Option<String>,
    /// What to do.
    pub action: ControlAction,
}

/// What to do with containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ControlAction {
    /// Send a signal by number.
    Signal(i32),
    /// Kill and keep down.
    Stop,
    /// Start again.
    Start,
}

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The reason.
    pub message: String,
}

/// Encodes a request for the query part of a URL.
pub fn encode_query<T: Serialize>(request: &T) -> String {
    let json = serde_json::to_vec(request).expect("requests are plain data");
    URL_SAFE_NO_PAD.encode(json)
}

/// Decodes what [`encode_query`] made.
pub fn decode_query<T: DeserializeOwned>(query: &str) -> Result<T, Refusal> {
    let refuse = |message: String| Refusal { message };
    let json = URL_SAFE_NO_PAD
        .decode(query)
        .map_err(|error| refuse(error.to_string()))?;
    serde_json::from_slice(&json).map_err(|error| refuse(error.to_string()))
}
