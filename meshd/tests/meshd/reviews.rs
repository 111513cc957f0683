//! Reviews hold up nothing but each other, and not every caller of the webhooks is answered.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use mesh_runtime::pool::Refused;
use mesh_runtime::reviews::{QUEUE_MAX, THREADS};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::discovery::{CART, MESH, Stream};
use crate::held::{CALLER, Held};
use crate::support::ControlPlane;

/// The address of another caller than the tests'.
const ANOTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// Why a review was not answered at all.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A client certificate with its key.
pub(crate) struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

async fn connect(
    meshd: &ControlPlane,
    from: IpAddr,
    identity: Option<Identity>,
) -> io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(meshd.roots().as_bytes()) {
        roots.add(root.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match identity {
        None => config.with_no_client_auth(),
        Some(Identity { chain, key }) => config.with_client_auth_cert(chain, key).unwrap(),
    };
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    let stream = socket.connect(meshd.addresses.webhook).await?;
    let name = ServerName::try_from("istiod.istio-system.svc").unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

/// The status of a review.
pub(crate) async fn post(
    meshd: &ControlPlane,
    path: &str,
    from: IpAddr,
    identity: Option<Identity>,
) -> Result<u16, Failure> {
    let kind = if path.starts_with("/inject") {
        "Pod"
    } else {
        "Gateway"
    };
    let review = json!({"request": {"uid": "1", "object": {
        "apiVersion": "v1", "kind": kind, "metadata": {"name": "x"},
        "spec": {"containers": [{"name": "app"}]},
    }}});
    let body = review.to_string().into();
    let (status, _) = send_review(meshd, path, from, identity, body).await?;
    Ok(status)
}

/// The status and the text of the response to a body.
pub(crate) async fn send_review(
    meshd: &ControlPlane,
    path: &str,
    from: IpAddr,
    identity: Option<Identity>,
    body: Vec<u8>,
) -> Result<(u16, String), Failure> {
    let stream = connect(meshd, from, identity).await?;
    let request = Request::post(path)
        .header("host", "istiod.istio-system.svc")
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let response = sender.send_request(request).await?;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await?.to_bytes();
    Ok((status, String::from_utf8(body.to_vec())?))
}

/// One worker serves everything but the reviews. Those hold their threads until they are released, so whatever is
/// answered before is answered beside them; and if reviews ran on the worker, the webhooks would not be at their limit.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn everything_else_is_served_while_reviews_hold_every_thread_and_place() {
    let meshd = ControlPlane::start(MESH).await;
    let held = Held::new(meshd.reviews.pool(), THREADS, QUEUE_MAX).await;
    meshd
        .until_metric("weft_webhook_queue_depth", |depth| {
            depth == QUEUE_MAX as f64
        })
        .await;

    assert_eq!(meshd.get("/ready").await, (200, "ready\n".to_owned()));
    let token = meshd.tokens.token("shop", "default");
    let workload = meshd.certificate(&token).await.unwrap();
    let channel = meshd.connect(Some(&workload)).await;
    let mut stream = Stream::open(channel, "shop", None).await.unwrap();
    assert!(stream.next().await.unwrap().contains(CART));

    // No place is left for this caller, which an API server takes for a failure of the webhook.
    for path in ["/validate", "/inject", "/inject/cluster/east"] {
        assert_eq!(
            post(&meshd, path, CALLER, None).await.unwrap(),
            503,
            "{path}"
        );
    }
    let (_, metrics) = meshd.get("/metrics").await;
    for series in [
        format!("weft_webhook_running {THREADS}\n"),
        "weft_webhook_reviews_total{webhook=\"validation\",outcome=\"queue_full\"} 1\n".to_owned(),
        "weft_webhook_reviews_total{webhook=\"injection\",outcome=\"queue_full\"} 2\n".to_owned(),
    ] {
        assert!(
            metrics.contains(&series),
            "{series} is missing in:\n{metrics}"
        );
    }

    held.end().await;
    assert_eq!(post(&meshd, "/validate", CALLER, None).await.unwrap(), 200);
    assert_eq!(post(&meshd, "/inject", CALLER, None).await.unwrap(), 200);
    drop(stream);
    meshd.stop().await;
}

#[tokio::test]
async fn another_caller_gets_its_turn_while_one_fills_the_queue() {
    let meshd = ControlPlane::start("").await;
    let mut held = Held::new(meshd.reviews.pool(), THREADS, QUEUE_MAX).await;
    meshd
        .until_metric("weft_webhook_queue_depth", |depth| {
            depth == QUEUE_MAX as f64
        })
        .await;
    let mut other = Box::pin(post(&meshd, "/validate", ANOTHER, None));
    // The newest of the caller with all places gives its own up.
    let newest = held.work.pop().unwrap();
    tokio::select! {
        status = &mut other => panic!("answered before its turn: {status:?}"),
        displaced = newest => assert_eq!(displaced, Err(Refused::Full)),
    }
    drop(held.release.pop());
    held.end().await;
    assert_eq!(other.await.unwrap(), 200);
    meshd.stop().await;
}

#[tokio::test]
async fn a_review_that_waits_too_long_is_a_failure_of_the_webhook() {
    let meshd = ControlPlane::start("").await;
    let held = Held::new(meshd.reviews.pool(), THREADS, 0).await;
    let late = post(&meshd, "/validate?timeout=1s", CALLER, None).await;
    assert_eq!(late.unwrap(), 504);
    held.end().await;
    meshd.stop().await;
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let meshd = ControlPlane::start("").await;
    let mut stream = connect(&meshd, CALLER, None).await.unwrap();
    let head = "POST /inject?timeout=1s HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
    meshd.stop().await;
}

#[tokio::test]
async fn what_no_object_can_be_is_refused_unread() {
    let meshd = ControlPlane::start("").await;
    let mut stream = connect(&meshd, CALLER, None).await.unwrap();
    let length = 5 * 1024 * 1024;
    let head = format!("POST /validate HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    let (mut from, mut to) = tokio::io::split(stream);
    let sending = tokio::spawn(async move {
        // Fails when the server has seen enough.
        let _ = to.write_all(&vec![b' '; length]).await;
        to
    });
    from.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
    drop((from, sending.await.unwrap()));
    meshd.stop().await;
}

/// An authority of API servers.
struct ClientCa(CertifiedIssuer<'static, KeyPair>);

impl ClientCa {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "clients");
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    fn identity(&self, name: &str) -> Option<Identity> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.0).unwrap();
        Some(Identity {
            chain: vec![leaf.der().clone()],
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        })
    }
}

#[tokio::test]
async fn only_callers_with_a_certificate_of_the_given_authority_are_answered() {
    let (ca, other, next) = (ClientCa::new(), ClientCa::new(), ClientCa::new());
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("clients.pem");
    fs::write(&file, ca.0.pem()).unwrap();
    let args = [
        "--webhook-client-ca",
        file.to_str().unwrap(),
        "--webhook-client-name",
        "kube-apiserver",
    ];
    let meshd = ControlPlane::start_with("", &args).await;
    let asked = async |identity| post(&meshd, "/validate", CALLER, identity).await.ok();
    assert_eq!(asked(ca.identity("kube-apiserver")).await, Some(200));
    assert_eq!(asked(None).await, None);
    assert_eq!(asked(other.identity("kube-apiserver")).await, None);
    assert_eq!(asked(ca.identity("someone")).await, None);
    // A workload of the mesh is no API server.
    let token = meshd.tokens.token("shop", "cart");
    let workload = meshd.certificate(&token).await.unwrap();
    let chain = CertificateDer::pem_slice_iter(workload.chain.as_bytes());
    let of_mesh = Identity {
        chain: chain.collect::<Result<_, _>>().unwrap(),
        key: PrivateKeyDer::from_pem_slice(workload.key.as_bytes()).unwrap(),
    };
    assert_eq!(asked(Some(of_mesh)).await, None);

    // The file is followed; what cannot be used leaves the authority in force.
    fs::write(&file, "broken").unwrap();
    assert_eq!(asked(ca.identity("kube-apiserver")).await, Some(200));
    fs::write(&file, next.0.pem()).unwrap();
    while asked(next.identity("kube-apiserver")).await != Some(200) {}
    assert_eq!(asked(ca.identity("kube-apiserver")).await, None);
    meshd.stop().await;
}
