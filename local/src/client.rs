//! The other end of the control API: what `meshctl` and tests use.

use std::{io, path::PathBuf};

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
    upgrade::Upgraded,
};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::net::UnixStream;

use crate::{
    api::{
        ApplyRequest, ControlRequest, ExecRequest, ForwardRequest, GetRequest, LogsRequest,
        Refusal, RestartRequest, Status, encode_query,
    },
    controller::Change,
    state::StateDir,
};

/// A byte stream to a program or port inside the mesh.
pub type Stream = TokioIo<Upgraded>;

/// A request that did not work.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No mesh listens.
    #[error("no mesh is running in \"{}\": meshctl local up DIR starts one", .path.display())]
    NotRunning {
        /// Its state directory.
        path: PathBuf,
        /// Why the socket cannot be opened.
        source: io::Error,
    },
    /// The connection broke.
    #[error("the mesh broke off")]
    Http(#[from] hyper::Error),
    /// The mesh refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The answer is not what was asked for.
    #[error("the mesh answered {status}")]
    Answer {
        /// HTTP status.
        status: StatusCode,
    },
}

/// Talks to one mesh.
#[derive(Debug, Clone)]
pub struct Client {
    state: StateDir,
}

impl Client {
    /// A client of the mesh whose state is in `state`.
    pub fn new(state: StateDir) -> Self {
        Self { state }
    }

    /// Pods and errors.
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.json(Method::GET, "/v1/status".to_owned(), &()).await
    }

    /// Objects of a kind.
    pub async fn get(&self, request: &GetRequest) -> Result<Vec<Value>, ClientError> {
        self.json(
            Method::GET,
            format!("/v1/objects?{}", encode_query(request)),
            &(),
        )
        .await
    }

    /// Applies all documents of a manifest, or none.
    pub async fn apply(&self, request: &ApplyRequest) -> Result<Vec<Change>, ClientError> {
        self.json(Method::POST, "/v1/apply".to_owned(), request)
            .await
    }

    /// Deletes all objects of a manifest that were applied.
    pub async fn delete(&self, request: &ApplyRequest) -> Result<Vec<Change>, ClientError> {
        self.json(Method::POST, "/v1/delete".to_owned(), request)
            .await
    }

    /// Replaces all pods of a workload.
    pub async fn restart(&self, request: &RestartRequest) -> Result<bool, ClientError> {
        self.json(Method::POST, "/v1/restart".to_owned(), request)
            .await
    }

    /// Signals, stops or starts containers; returns the pod's name.
    pub async fn control(&self, request: &ControlRequest) -> Result<String, ClientError> {
        self.json(Method::POST, "/v1/control".to_owned(), request)
            .await
    }

    /// Ends the mesh.
    pub async fn down(&self) -> Result<bool, ClientError> {
        self.json(Method::POST, "/v1/down".to_owned(), &()).await
    }

    /// A container's log as it comes.
    pub async fn logs(&self, request: &LogsRequest) -> Result<Incoming, ClientError> {
        let response = self
            .send(
                Method::GET,
                format!("/v1/logs?{}", encode_query(request)),
                Bytes::new(),
            )
            .await?;
        Ok(checked(response).await?.into_body())
    }

    /// Keeps the mesh alive until the body is dropped; the mesh ends then.
    pub async fn attach(&self) -> Result<Incoming, ClientError> {
        let response = self
            .send(Method::GET, "/v1/attach".to_owned(), Bytes::new())
            .await?;
        Ok(checked(response).await?.into_body())
    }

    /// Runs a program; the stream carries [`crate::frame::Frame`]s.
    pub async fn exec(&self, request: &ExecRequest) -> Result<Stream, ClientError> {
        self.upgrade(format!("/v1/exec?{}", encode_query(request)))
            .await
    }

    /// Opens a connection to a port inside a pod.
    pub async fn forward(&self, request: &ForwardRequest) -> Result<Stream, ClientError> {
        self.upgrade(format!("/v1/forward?{}", encode_query(request)))
            .await
    }

    async fn json<T: DeserializeOwned>(
        &self,
        method: Method,
        path: String,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).expect("requests are plain data");
        let response = checked(self.send(method, path, body.into()).await?).await?;
        let status = response.status();
        let bytes = response.into_body().collect().await?.to_bytes();
        serde_json::from_slice(&bytes).map_err(|_| ClientError::Answer { status })
    }

    async fn upgrade(&self, path: String) -> Result<Stream, ClientError> {
        let mut sender = self.connect().await?;
        let request = Request::get(path)
            .header("host", "local")
            .header("connection", "upgrade")
            .header("upgrade", "weft-stream")
            .body(Full::new(Bytes::new()))
            .expect("constant parts");
        let response = sender.send_request(request).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let status = response.status();
            checked(response).await?;
            return Err(ClientError::Answer { status });
        }
        Ok(TokioIo::new(hyper::upgrade::on(response).await?))
    }

    async fn send(
        &self,
        method: Method,
        path: String,
        body: Bytes,
    ) -> Result<http::Response<Incoming>, ClientError> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "local")
            .header("content-type", "application/json")
            .body(Full::new(body))
            .expect("constant parts");
        Ok(self.connect().await?.send_request(request).await?)
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, ClientError> {
        let not_running = |source| ClientError::NotRunning {
            path: self.state.root().to_owned(),
            source,
        };
        let stream = UnixStream::connect(self.state.control_socket())
            .await
            .map_err(not_running)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Ends when the sender and the answer's body are dropped.
        tokio::spawn(connection.with_upgrades());
        Ok(sender)
    }
}

/// The response, or the refusal that it carries.
async fn checked(
    response: http::Response<Incoming>,
) -> Result<http::Response<Incoming>, ClientError> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let bytes = response.into_body().collect().await?.to_bytes();
    match serde_json::from_slice::<Refusal>(&bytes) {
        Ok(refusal) => Err(refusal.into()),
        Err(_) => Err(ClientError::Answer { status }),
    }
}
