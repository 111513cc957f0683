//! The application's probes, which the injector pointed at the agent: the kubelet cannot reach an application
//! behind mutual TLS, the agent beside it can.
//!
//! The connection is made from 127.0.0.6, the address that capture rules let pass to the application.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Uri};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use serde::Deserialize;
use tokio::net::{TcpSocket, TcpStream};

/// The source that capture rules exempt (Istio's `InboundPassthroughBindIpv4`).
const EXEMPT_SOURCE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 6);
/// The kubelet's default.
const DEFAULT_TIMEOUT_SECONDS: u64 = 1;

/// Probes by the path under which the kubelet asks for them, e.g. `/app-health/reviews/readyz`.
#[derive(Debug, Default)]
pub struct Probes {
    by_path: BTreeMap<String, Probe>,
    address: Option<IpAddr>,
}

/// One probe (Kubernetes `Probe`).
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Probe {
    http_get: Option<HttpGet>,
    tcp_socket: Option<TcpTarget>,
    grpc: Option<GrpcTarget>,
    timeout_seconds: Option<u64>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct HttpGet {
    path: Option<String>,
    port: u16,
    scheme: Option<String>,
    #[serde(default)]
    http_headers: Vec<Header>,
}

#[derive(Debug, Clone, Deserialize)]
struct Header {
    name: String,
    value: String,
}

#[derive(Debug, Clone, Deserialize)]
struct TcpTarget {
    port: u16,
}

#[derive(Debug, Clone, Deserialize)]
struct GrpcTarget {
    port: u16,
    service: Option<String>,
}

/// Why a probe fails.
#[derive(Debug, thiserror::Error)]
enum ProbeError {
    #[error("cannot connect: {0}")]
    Connect(#[from] std::io::Error),
    #[error("no HTTP answer: {0}")]
    Http(#[from] hyper::Error),
    #[error("the probe is not a request: {0}")]
    Request(#[from] http::Error),
    #[error("gRPC: {0}")]
    Grpc(String),
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error("the probe asks for nothing")]
    Empty,
}

impl Probes {
    /// Reads `ISTIO_KUBE_APP_PROBERS`.
    pub fn parse(json: Option<&str>, address: Option<IpAddr>) -> Result<Self, serde_json::Error> {
        let by_path = json
            .map(serde_json::from_str)
            .transpose()?
            .unwrap_or_default();
        Ok(Self { by_path, address })
    }

    /// Runs a probe. `None` if there is none under this path; else the status for the kubelet and a word why.
    pub async fn run(&self, path: &str) -> Option<(StatusCode, String)> {
        let probe = self.by_path.get(path)?;
        let limit = Duration::from_secs(
            probe
                .timeout_seconds
                .unwrap_or(DEFAULT_TIMEOUT_SECONDS)
                .max(1),
        );
        let outcome = match tokio::time::timeout(limit, self.attempt(probe)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(ProbeError::Timeout(limit)),
        };
        Some(match outcome {
            Ok(status) => (status, String::new()),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        })
    }

    async fn attempt(&self, probe: &Probe) -> Result<StatusCode, ProbeError> {
        if let Some(target) = &probe.http_get {
            self.http(target).await
        } else if let Some(target) = &probe.tcp_socket {
            self.connect(target.port).await.map(|_| StatusCode::OK)
        } else if let Some(target) = &probe.grpc {
            let stream = self.connect(target.port).await?;
            grpc_health(stream, target.service.as_deref().unwrap_or_default()).await
        } else {
            Err(ProbeError::Empty)
        }
    }

    async fn connect(&self, port: u16) -> Result<TcpStream, ProbeError> {
        let target = SocketAddr::new(self.address.unwrap_or(Ipv4Addr::LOCALHOST.into()), port);
        let socket = match target {
            SocketAddr::V4(_) => {
                let socket = TcpSocket::new_v4()?;
                socket.bind(SocketAddr::new(EXEMPT_SOURCE.into(), 0))?;
                socket
            }
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        Ok(socket.connect(target).await?)
    }

    async fn http(&self, target: &HttpGet) -> Result<StatusCode, ProbeError> {
        let stream = self.connect(target.port).await?;
        let request = target.request(self.address)?;
        if target
            .scheme
            .as_deref()
            .is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"))
        {
            let name =
                ServerName::IpAddress(self.address.unwrap_or(Ipv4Addr::LOCALHOST.into()).into());
            let stream = unverified_tls().connect(name, stream).await?;
            exchange(TokioIo::new(stream), request).await
        } else {
            exchange(TokioIo::new(stream), request).await
        }
    }
}

impl HttpGet {
    fn request(&self, address: Option<IpAddr>) -> Result<Request<Empty<Bytes>>, ProbeError> {
        let path = self.path.as_deref().unwrap_or("/");
        let path = if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("/{path}")
        };
        let host =
            SocketAddr::new(address.unwrap_or(Ipv4Addr::LOCALHOST.into()), self.port).to_string();
        let mut request = Request::get(path.parse::<Uri>().map_err(http::Error::from)?);
        for header in &self.http_headers {
            request = request.header(&header.name, &header.value);
        }
        let named_host = self
            .http_headers
            .iter()
            .any(|header| header.name.eq_ignore_ascii_case("host"));
        if !named_host {
            request = request.header(http::header::HOST, host);
        }
        Ok(request
            .header(http::header::CONNECTION, "close")
            .body(Empty::new())?)
    }
}

async fn exchange<IO>(io: IO, request: Request<Empty<Bytes>>) -> Result<StatusCode, ProbeError>
where
    IO: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await?;
    let answer = sender.send_request(request);
    tokio::pin!(answer);
    tokio::select! {
        answer = &mut answer => Ok(answer?.status()),
        ended = connection => {
            ended?;
            // A connection that closes after its answer may be seen to end first; the answer is already here.
            Ok(answer.await?.status())
        }
    }
}

/// `grpc.health.v1.Health/Check`.
async fn grpc_health(stream: TcpStream, service: &str) -> Result<StatusCode, ProbeError> {
    #[derive(Clone, PartialEq, prost::Message)]
    struct HealthCheckRequest {
        #[prost(string, tag = "1")]
        service: String,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    struct HealthCheckResponse {
        #[prost(int32, tag = "1")]
        status: i32,
    }
    const SERVING: i32 = 1;
    let failed = |error: &dyn std::fmt::Display| ProbeError::Grpc(error.to_string());
    let stream = std::sync::Mutex::new(Some(TokioIo::new(stream)));
    let connect = tower::service_fn(move |_: Uri| {
        let stream = stream
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .take();
        std::future::ready(
            stream.ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotConnected)),
        )
    });
    let endpoint = tonic::transport::Endpoint::from_static("http://application");
    let channel = endpoint
        .connect_with_connector(connect)
        .await
        .map_err(|error| failed(&error))?;
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.map_err(|error| failed(&error))?;
    let codec = tonic_prost::ProstCodec::<HealthCheckRequest, HealthCheckResponse>::default();
    let path = http::uri::PathAndQuery::from_static("/grpc.health.v1.Health/Check");
    let request = tonic::Request::new(HealthCheckRequest {
        service: service.to_owned(),
    });
    let answer = client
        .unary(request, path, codec)
        .await
        .map_err(|status| failed(&status.message()))?;
    let serving = answer.into_inner().status == SERVING;
    Ok(if serving {
        StatusCode::OK
    } else {
        StatusCode::INTERNAL_SERVER_ERROR
    })
}

/// TLS towards the application's own probe port. The kubelet does not verify certificates of probes either
/// (Kubernetes `HTTPGetAction.scheme`).
fn unverified_tls() -> tokio_rustls::TlsConnector {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("the default versions suit the provider")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Unverified(provider)))
        .with_no_client_auth();
    Arc::new(config).into()
}

#[derive(Debug)]
struct Unverified(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    async fn application(answer: &'static str) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut request = [0; 512];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        });
        port
    }

    #[tokio::test]
    async fn an_http_probe_passes_the_status_on() {
        let port = application("HTTP/1.1 503 busy\r\ncontent-length: 0\r\n\r\n").await;
        let json = format!(
            r#"{{"/app-health/a/readyz":{{"httpGet":{{"path":"/health","port":{port}}}}}}}"#
        );
        let probes = Probes::parse(Some(&json), Some(Ipv4Addr::LOCALHOST.into())).expect("probes");
        let expected = Some((StatusCode::SERVICE_UNAVAILABLE, String::new()));
        assert_eq!(probes.run("/app-health/a/readyz").await, expected);
        assert_eq!(probes.run("/app-health/a/livez").await, None);
    }

    #[tokio::test]
    async fn a_tcp_probe_needs_a_listener() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let json = format!(r#"{{"/p":{{"tcpSocket":{{"port":{port}}}}}}}"#);
        let probes = Probes::parse(Some(&json), Some(Ipv4Addr::LOCALHOST.into())).expect("probes");
        assert_eq!(
            probes.run("/p").await.map(|(status, _)| status),
            Some(StatusCode::OK)
        );
        drop(listener);
        let refused = probes.run("/p").await.map(|(status, _)| status);
        assert_eq!(refused, Some(StatusCode::INTERNAL_SERVER_ERROR));
    }
}
