//! What is asked of the API server, over one HTTP/2 connection.

use std::{cell::RefCell, fs, net::SocketAddr, path::Path, rc::Rc, sync::Arc, time::Duration};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use serde_json::{Value, json};
use tokio::{net::TcpStream, task, time};
use tokio_rustls::TlsConnector;

use super::{
    api_server::{ApiServer, TOKEN},
    args::Size,
};

/// Requests under way while the mesh is created.
const CONCURRENCY: usize = 64;
/// How long the server may take until it serves what was defined.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// A connection, opened again when the server has closed it, as it does after 90 seconds without a request.
#[derive(Clone)]
pub(super) struct Api {
    address: SocketAddr,
    tls: TlsConnector,
    sender: Rc<RefCell<SendRequest<Full<Bytes>>>>,
}

impl Api {
    /// Connects and waits until the server is ready.
    pub(super) async fn connect(server: &ApiServer) -> anyhow::Result<Self> {
        let (address, tls) = (server.address, tls(&fs::read(&server.root)?)?);
        let sender = connect(address, &tls).await?;
        let api = Self {
            address,
            tls,
            sender: Rc::new(RefCell::new(sender)),
        };
        api.wait_for("/readyz").await?;
        Ok(api)
    }

    /// Makes a namespace.
    pub(super) async fn create_namespace(&self, name: &str) -> anyhow::Result<()> {
        let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        self.create("/api/v1/namespaces", &body).await
    }

    /// Makes the kinds that the files under `dir` define, and waits until they are served.
    pub(super) async fn define(&self, dir: &Path) -> anyhow::Result<()> {
        let files =
            fs::read_dir(dir).with_context(|| format!("cannot read \"{}\"", dir.display()))?;
        for file in files {
            let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
            let body = fs::read(file?.path())?;
            self.send(Method::POST, path, "application/yaml", body.into())
                .await?;
        }
        for kind in ["destinationrules", "virtualservices"] {
            let path = format!("/apis/networking.istio.io/v1/{kind}");
            self.wait_for(&path).await?;
        }
        Ok(())
    }

    /// Makes the whole mesh, many objects at a time.
    pub(super) async fn fill(&self, size: Size) -> anyhow::Result<()> {
        let objects = Rc::new(RefCell::new(size.objects()));
        let workers = (0..CONCURRENCY).map(|_| {
            let (api, objects) = (self.clone(), objects.clone());
            async move {
                loop {
                    let next = objects.borrow_mut().next();
                    let Some(object) = next else { return Ok(()) };
                    api.create(&object.collection, &object.body).await?;
                }
            }
        });
        let workers: Vec<task::JoinHandle<anyhow::Result<()>>> =
            workers.map(task::spawn_local).collect();
        for worker in workers {
            worker.await??;
        }
        Ok(())
    }

    /// Changes an object.
    pub(super) async fn patch(&self, path: &str, body: &Value) -> anyhow::Result<()> {
        let kind = "application/merge-patch+json";
        let body = body.to_string().into();
        self.send(Method::PATCH, path, kind, body).await
    }

    async fn create(&self, collection: &str, body: &Value) -> anyhow::Result<()> {
        let body = body.to_string().into();
        self.send(Method::POST, collection, "application/json", body)
            .await
    }

    async fn wait_for(&self, path: &str) -> anyhow::Result<()> {
        let served = async {
            while self.request(Method::GET, path, "", Bytes::new()).await?.0 != StatusCode::OK {
                time::sleep(POLL_INTERVAL).await;
            }
            anyhow::Ok(())
        };
        let outcome = time::timeout(PATIENCE, served).await;
        outcome.with_context(|| format!("\"{path}\" is not served"))?
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: Bytes,
    ) -> anyhow::Result<()> {
        let (status, body) = self.request(method, path, content_type, body).await?;
        if !status.is_success() {
            bail!("\"{path}\": {status}: {}", String::from_utf8_lossy(&body));
        }
        Ok(())
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: Bytes,
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("https://bench{path}"))
            .header(header::AUTHORIZATION, format!("Bearer {TOKEN}"));
        if !content_type.is_empty() {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        let mut sender = self.sender.borrow().clone();
        if sender.ready().await.is_err() {
            sender = connect(self.address, &self.tls).await?;
            self.sender.replace(sender.clone());
        }
        let response = sender.send_request(request.body(Full::new(body))?).await?;
        let status = response.status();
        Ok((status, response.into_body().collect().await?.to_bytes()))
    }
}

async fn connect(
    address: SocketAddr,
    tls: &TlsConnector,
) -> anyhow::Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from(address.ip().to_string())?;
    let stream = TokioIo::new(tls.connect(name, stream).await?);
    let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
    tokio::spawn(connection);
    Ok(sender)
}

fn tls(root: &[u8]) -> anyhow::Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(root) {
        roots.add(root?)?;
    }
    ensure!(!roots.is_empty(), "no root certificate");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config).into())
}
