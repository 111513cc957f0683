//! A control plane in this process, and clients of it.

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Parser;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use mesh_runtime::log::LogHandle;
use mesh_runtime::pool::Pool;
use mesh_runtime::reviews::Reviews;
use meshd::app::{Addresses, Meshd};
use meshd::args::Args;
use rcgen::{CertificateParams, KeyPair, PublicKeyData};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::metadata::MetadataValue;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};
use tonic::{Request, Status};
use xds::proto::istio_v1_auth::IstioCertificateRequest;
use xds::proto::istio_v1_auth::istio_certificate_service_client::IstioCertificateServiceClient;

pub(crate) const ISSUER: &str = "https://tokens.test";

/// Signs service-account tokens.
pub(crate) struct TokenIssuer(KeyPair);

impl TokenIssuer {
    pub(crate) fn new() -> Self {
        Self(KeyPair::generate().unwrap())
    }

    pub(crate) fn jwks(&self) -> String {
        let point = self.0.der_bytes();
        json!({"keys": [{
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": "test",
            "x": URL_SAFE_NO_PAD.encode(&point[1..33]),
            "y": URL_SAFE_NO_PAD.encode(&point[33..65]),
        }]})
        .to_string()
    }

    pub(crate) fn token(&self, namespace: &str, account: &str) -> String {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs();
        let claims = json!({
            "iss": ISSUER,
            "aud": ["istio-ca"],
            "sub": format!("system:serviceaccount:{namespace}:{account}"),
            "exp": now + 3600,
        });
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some("test".to_owned());
        let key = EncodingKey::from_ec_der(self.0.serialized_der());
        jsonwebtoken::encode(&header, &claims, &key).unwrap()
    }
}

/// A running control plane over temporary directories.
pub(crate) struct ControlPlane {
    pub(crate) directory: TempDir,
    pub(crate) addresses: Addresses,
    pub(crate) tokens: TokenIssuer,
    pub(crate) reviews: Reviews,
    pub(crate) generation: Pool,
    stop: oneshot::Sender<()>,
    running: JoinHandle<anyhow::Result<()>>,
}

impl ControlPlane {
    /// Starts one whose configuration is `yaml`.
    pub(crate) async fn start(yaml: &str) -> Self {
        Self::start_with(yaml, &[]).await
    }

    /// The same with further arguments.
    pub(crate) async fn start_with(yaml: &str, more: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let tokens = TokenIssuer::new();
        fs::create_dir(path("config")).unwrap();
        fs::write(path("config/mesh.yaml"), yaml).unwrap();
        fs::write(path("jwks.json"), tokens.jwks()).unwrap();
        let args = [
            "meshd".as_ref(),
            "--config-dir".as_ref(),
            path("config").as_path(),
            "--ca-dir".as_ref(),
            path("ca").as_path(),
            "--publish-root".as_ref(),
            path("root").as_path(),
            "--jwks-file".as_ref(),
            path("jwks.json").as_path(),
        ]
        .map(Path::as_os_str)
        .map(std::ffi::OsStr::to_owned);
        let ports = [
            "--token-issuer",
            ISSUER,
            "--xds-address",
            "127.0.0.1:0",
            "--plaintext-address",
            "127.0.0.1:0",
            "--http-address",
            "127.0.0.1:0",
            "--webhook-address",
            "127.0.0.1:0",
        ];
        let more = more.iter().map(Into::into);
        let args = args.into_iter().chain(ports.map(Into::into)).chain(more);
        let args = Args::parse_from(args);
        let meshd = Meshd::start(args, LogHandle::detached()).await.unwrap();
        let (addresses, reviews) = (meshd.addresses(), meshd.reviews().clone());
        let generation = meshd.generation().clone();
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(meshd.run(async {
            let _ = stopped.await;
        }));
        Self {
            directory,
            addresses,
            tokens,
            reviews,
            generation,
            stop,
            running,
        }
    }

    /// Stops it and waits for its end.
    pub(crate) async fn stop(self) {
        self.stop.send(()).unwrap();
        self.running.await.unwrap().unwrap();
    }

    /// Waits until `condition` holds, looking whenever others had their turn.
    pub(crate) async fn until(&self, condition: impl Fn() -> bool) {
        while !condition() {
            tokio::task::yield_now().await;
        }
    }

    /// Waits until the metric of this name satisfies `condition`.
    pub(crate) async fn until_metric(&self, name: &str, condition: impl Fn(f64) -> bool) {
        loop {
            let (_, text) = self.get("/metrics").await;
            let values = text.lines().filter_map(|line| line.strip_prefix(name));
            let value = values.filter_map(|rest| rest.trim().parse().ok()).next();
            if value.is_some_and(&condition) {
                return;
            }
        }
    }

    /// The answer to a GET on the HTTP port.
    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        let stream = TcpStream::connect(self.addresses.http).await.unwrap();
        let request = http::Request::get(path).header("host", "x");
        exchange(stream, request.body(Full::default()).unwrap()).await
    }

    /// The same from where a sidecar connects for others, which nobody takes for this machine.
    pub(crate) async fn get_from_elsewhere(
        &self,
        path: &str,
        headers: &[(&str, &str)],
    ) -> (u16, String) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.6:0".parse().unwrap()).unwrap();
        let stream = socket.connect(self.addresses.http).await.unwrap();
        let mut request = http::Request::get(path).header("host", "x");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        exchange(stream, request.body(Full::default()).unwrap()).await
    }

    /// Whether a workload's certificate chains to these roots alone.
    pub(crate) fn is_signed_by(&self, workload: &Workload, roots: &str) -> bool {
        let root = CertificateDer::from_pem_slice(roots.as_bytes()).unwrap();
        let leaf = CertificateDer::from_pem_slice(workload.chain.as_bytes()).unwrap();
        let mut store = RootCertStore::empty();
        store.add(root).unwrap();
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let verifier = WebPkiClientVerifier::builder_with_provider(store.into(), provider.into())
            .build()
            .unwrap();
        verifier
            .verify_client_cert(&leaf, &[], UnixTime::now())
            .is_ok()
    }

    /// The published roots.
    pub(crate) fn roots(&self) -> String {
        fs::read_to_string(self.directory.path().join("root/root-cert.pem")).unwrap()
    }

    /// A connection to discovery and signing, with a client certificate or without.
    pub(crate) async fn connect(&self, identity: Option<&Workload>) -> Channel {
        let mut tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(self.roots()))
            .domain_name("istiod.istio-system.svc");
        if let Some(workload) = identity {
            tls = tls.identity(Identity::from_pem(&workload.chain, &workload.key));
        }
        Channel::from_shared(format!("https://{}", self.addresses.xds))
            .unwrap()
            .tls_config(tls)
            .unwrap()
            .connect()
            .await
            .unwrap()
    }

    /// What a proxy does first: a key, a request for it, a certificate.
    pub(crate) async fn certificate(&self, token: &str) -> Result<Workload, Status> {
        let key = KeyPair::generate().unwrap();
        let csr = CertificateParams::default()
            .serialize_request(&key)
            .unwrap();
        let mut request = Request::new(IstioCertificateRequest {
            csr: csr.pem().unwrap(),
            validity_duration: 3600,
            metadata: None,
        });
        request
            .metadata_mut()
            .insert("authorization", bearer(token));
        let channel = self.connect(None).await;
        let answer = IstioCertificateServiceClient::new(channel)
            .create_certificate(request)
            .await?;
        let mut chain = answer.into_inner().cert_chain;
        let roots = chain.pop().unwrap();
        assert_eq!(roots, self.roots(), "the last element is the roots");
        Ok(Workload {
            chain: chain.concat(),
            key: key.serialize_pem(),
        })
    }
}

/// One request over a fresh HTTP/1.1 connection.
pub(crate) async fn exchange<S>(stream: S, request: http::Request<Full<Bytes>>) -> (u16, String)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let answer = sender.send_request(request).await.unwrap();
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

/// A workload's certificate and key.
pub(crate) struct Workload {
    pub(crate) chain: String,
    pub(crate) key: String,
}

/// The value of an authorization header.
pub(crate) fn bearer(token: &str) -> MetadataValue<tonic::metadata::Ascii> {
    format!("Bearer {token}").parse().unwrap()
}
