//! A control plane over files, and what is asked of it. Its protobuf messages are written by hand: they are two, and
//! this crate imports nothing of what it measures.

use std::{fs, net::SocketAddr, path::Path, process::Command, sync::Arc};

use anyhow::{Context, ensure};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::{BufMut as _, Bytes, BytesMut};
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519, PublicKeyData as _, SigningKey as _};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use serde_json::json;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::{
    args::Args,
    contender::{Contender, Place},
    scenarios::free_address,
};

const ISSUER: &str = "https://bench";
const SERVER: &str = "istiod.istio-system.svc";
const MESH: &str = "\
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec:
  clusterIP: 10.96.0.10
  ports: [{name: http, port: 80}]
";

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub(super) enum Probe {
    /// A new stream's clusters.
    Discovery,
    /// A certificate.
    Signing,
    /// `/ready`.
    Readiness,
}

/// A running control plane.
pub(super) struct Meshd {
    plaintext: SocketAddr,
    http: SocketAddr,
    webhook: SocketAddr,
    tls: TlsConnector,
    token: String,
    _running: Contender,
}

impl Meshd {
    pub(super) fn start(args: &Args, dir: &Path) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir_in(dir)?.keep();
        let path = |name: &str| dir.join(name).display().to_string();
        fs::create_dir(path("config"))?;
        fs::write(path("config/mesh.yaml"), MESH)?;
        let key = KeyPair::generate_for(&PKCS_ED25519)?;
        fs::write(path("jwks.json"), jwks(&key))?;
        let address = || free_address();
        let (plaintext, http, webhook) = (address()?, address()?, address()?);
        let mut command = Command::new(args.meshd());
        for (flag, value) in [
            ("--config-dir", path("config")),
            ("--ca-dir", path("ca")),
            ("--publish-root", path("root")),
            ("--jwks-file", path("jwks.json")),
            ("--token-issuer", ISSUER.to_owned()),
            ("--xds-address", address()?.to_string()),
            ("--plaintext-address", plaintext.to_string()),
            ("--http-address", http.to_string()),
            ("--webhook-address", webhook.to_string()),
            ("--log", "warn".to_owned()),
        ] {
            command.arg(flag).arg(value);
        }
        let running = Contender::of(command, &dir.join("meshd.log"), http, Place::Measured)?;
        let roots = fs::read(path("root/root-cert.pem"))?;
        Ok(Self {
            plaintext,
            http,
            webhook,
            tls: tls(&roots)?,
            token: token(&key)?,
            _running: running,
        })
    }

    /// Sends one review on a connection of its own; the status of the response.
    pub(super) async fn review(&self, path: &str, body: Bytes) -> anyhow::Result<u16> {
        let stream = TcpStream::connect(self.webhook).await?;
        let stream = self
            .tls
            .connect(ServerName::try_from(SERVER)?, stream)
            .await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let request = Request::post(path)
            .header(header::HOST, SERVER)
            .body(Full::new(body))?;
        let response = match sender.send_request(request).await {
            Ok(response) => response,
            // Refused before the whole body was sent.
            Err(error) if error.is_closed() || error.is_canceled() => return Ok(503),
            Err(error) if error.is_body_write_aborted() => return Ok(503),
            Err(error) => return Err(error.into()),
        };
        let status = response.status().as_u16();
        response.into_body().collect().await?;
        Ok(status)
    }

    pub(super) async fn connect(&self) -> anyhow::Result<Connection> {
        let key = KeyPair::generate()?;
        let csr = CertificateParams::default()
            .serialize_request(&key)?
            .pem()?;
        Ok(Connection {
            plaintext: connect(self.plaintext).await?,
            http: connect(self.http).await?,
            token: self.token.clone(),
            csr,
        })
    }
}

type Sender = http2::SendRequest<Full<Bytes>>;

/// Open connections, so that only what is asked is measured.
pub(super) struct Connection {
    plaintext: Sender,
    http: Sender,
    token: String,
    csr: String,
}

impl Connection {
    /// Asks and waits for the response, of a stream for its first message.
    pub(super) async fn ask(&mut self, probe: Probe) -> anyhow::Result<()> {
        let (sender, request) = match probe {
            Probe::Readiness => {
                let request = Request::get("http://bench/ready").body(Full::default())?;
                (&mut self.http, request)
            }
            Probe::Discovery => {
                let path = "envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
                let node = field(1, b"sidecar~10.0.0.1~a.shop~shop.svc.cluster.local");
                let kind = b"type.googleapis.com/envoy.config.cluster.v3.Cluster";
                let message = [field(1, &node), field(2, kind)].concat();
                (&mut self.plaintext, call(path, &message, None)?)
            }
            Probe::Signing => {
                let path = "istio.v1.auth.IstioCertificateService/CreateCertificate";
                let message = field(1, self.csr.as_bytes());
                (
                    &mut self.plaintext,
                    call(path, &message, Some(&self.token))?,
                )
            }
        };
        sender.ready().await?;
        let response = sender.send_request(request).await?;
        ensure!(
            response.status() == StatusCode::OK,
            "status {}",
            response.status()
        );
        let status = response.headers().get("grpc-status");
        ensure!(status.is_none(), "gRPC status {status:?}");
        let first = response
            .into_body()
            .frame()
            .await
            .context("no response")??;
        ensure!(first.is_data(), "no message");
        Ok(())
    }
}

async fn connect(address: SocketAddr) -> anyhow::Result<Sender> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

/// A gRPC call with one message.
fn call(path: &str, message: &[u8], token: Option<&str>) -> anyhow::Result<Request<Full<Bytes>>> {
    let mut body = BytesMut::new();
    body.put_u8(0);
    body.put_u32(u32::try_from(message.len())?);
    body.put_slice(message);
    let mut request = Request::post(format!("http://bench/{path}"))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers");
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    Ok(request.body(Full::new(body.freeze()))?)
}

/// A protobuf field that has a length.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    let mut length = bytes.len();
    while length >= 0x80 {
        field.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    field.push(length as u8);
    field.extend_from_slice(bytes);
    field
}

fn jwks(key: &KeyPair) -> String {
    let x = URL_SAFE_NO_PAD.encode(key.der_bytes());
    json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": "bench", "x": x}]})
        .to_string()
}

fn token(key: &KeyPair) -> anyhow::Result<String> {
    let head = json!({"alg": "EdDSA", "kid": "bench"});
    // 2100: further away than any measurement takes.
    let claims = json!({
        "iss": ISSUER,
        "aud": ["istio-ca"],
        "sub": "system:serviceaccount:shop:default",
        "exp": 4_102_444_800_u64,
    });
    let part = |part: serde_json::Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let signed = format!("{}.{}", part(head), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes())?);
    Ok(format!("{signed}.{signature}"))
}

fn tls(roots: &[u8]) -> anyhow::Result<TlsConnector> {
    let mut store = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(roots) {
        store.add(root?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(store)
        .with_no_client_auth();
    Ok(Arc::new(config).into())
}
