//! The control plane's own traces: a collector gets its spans by OTLP.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Server};
use tonic::{Request, Response, Status};
use xds::proto::istio_v1_auth::IstioCertificateRequest;
use xds::proto::istio_v1_auth::istio_certificate_service_client::IstioCertificateServiceClient;

use crate::discovery::{MESH, Stream};
use crate::support::{ISSUER, TokenIssuer, bearer};

type Attributes = BTreeMap<String, String>;

/// A collector that hands on what it gets.
struct Collector(mpsc::UnboundedSender<ExportTraceServiceRequest>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.send(request.into_inner()).unwrap();
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

async fn collector() -> (
    SocketAddr,
    mpsc::UnboundedReceiver<ExportTraceServiceRequest>,
) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, exported) = mpsc::unbounded_channel();
    let service = TraceServiceServer::new(Collector(sender));
    let server = Server::builder().add_service(service);
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    (address, exported)
}

/// The program itself, as it is deployed.
struct Process {
    child: Child,
    plaintext: SocketAddr,
    tokens: TokenIssuer,
    _directory: TempDir,
}

impl Process {
    fn start(more: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let tokens = TokenIssuer::new();
        fs::create_dir(path("config")).unwrap();
        fs::write(path("config/mesh.yaml"), MESH).unwrap();
        fs::write(path("jwks.json"), tokens.jwks()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_meshd"));
        command
            .env_clear()
            .arg("--config-dir")
            .arg(path("config"))
            .arg("--ca-dir")
            .arg(path("ca"))
            .arg("--jwks-file")
            .arg(path("jwks.json"))
            .args(["--token-issuer", ISSUER, "--pod-name", "meshd-1"]);
        for port in ["xds", "plaintext", "http", "webhook"] {
            command.args([&format!("--{port}-address"), "127.0.0.1:0"]);
        }
        let mut child = command.args(more).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let plaintext = lines.find_map(|line| plaintext_address(&line.unwrap()));
        // Read to the end, so that the program can go on writing.
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            plaintext: plaintext.expect("meshd says where it listens"),
            child,
            tokens,
            _directory: directory,
        }
    }

    async fn sign(&self, token: &str) -> Result<(), Status> {
        let csr = CertificateParams::default()
            .serialize_request(&KeyPair::generate().unwrap())
            .unwrap();
        let mut request = Request::new(IstioCertificateRequest {
            csr: csr.pem().unwrap(),
            validity_duration: 3600,
            metadata: None,
        });
        request
            .metadata_mut()
            .insert("authorization", bearer(token));
        let address = format!("http://{}", self.plaintext);
        let channel = Channel::from_shared(address).unwrap();
        let mut client = IstioCertificateServiceClient::new(channel.connect().await.unwrap());
        client.create_certificate(request).await.map(drop)
    }

    /// Asks it to end, and waits for that while the collector goes on.
    async fn stop(mut self) {
        let pid = self.child.id().to_string();
        let asked = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(asked.unwrap().success());
        let ended = tokio::task::spawn_blocking(move || self.child.wait());
        assert!(ended.await.unwrap().unwrap().success());
    }
}

/// From the line of the log that says where everything listens.
fn plaintext_address(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("plaintext: ")?;
    rest.split([',', ' ']).next()?.parse().ok()
}

/// All exported spans, by name, with their attributes.
fn spans(mut exported: mpsc::UnboundedReceiver<ExportTraceServiceRequest>) -> Exported {
    let mut all = Exported::default();
    while let Ok(request) = exported.try_recv() {
        for of_resource in request.resource_spans {
            all.resource = attributes(of_resource.resource.unwrap().attributes);
            let spans = of_resource.scope_spans.into_iter().flat_map(|s| s.spans);
            for span in spans {
                assert!(span.end_time_unix_nano >= span.start_time_unix_nano);
                let mut found = attributes(span.attributes);
                let status = span.status.unwrap_or_default();
                found.insert("status".to_owned(), status.message);
                all.spans.entry(span.name).or_default().push(found);
            }
        }
    }
    all
}

#[derive(Debug, Default)]
struct Exported {
    resource: Attributes,
    spans: BTreeMap<String, Vec<Attributes>>,
}

fn attributes(all: Vec<KeyValue>) -> Attributes {
    all.into_iter()
        .map(|one| {
            let text = match one.value {
                Some(AnyValue {
                    value: Some(Value::StringValue(text)),
                }) => text,
                Some(AnyValue {
                    value: Some(Value::IntValue(number)),
                }) => number.to_string(),
                other => format!("{other:?}"),
            };
            (one.key, text)
        })
        .collect()
}

#[tokio::test]
async fn spans_reach_the_collector_before_the_program_ends() {
    let (address, exported) = collector().await;
    let endpoint = format!("http://{address}");
    // Whatever is logged.
    let meshd = Process::start(&["--otlp-endpoint", &endpoint, "--log", "error,meshd=info"]);
    let token = meshd.tokens.token("shop", "cart");
    meshd.sign(&token).await.unwrap();
    let foreign = TokenIssuer::new().token("shop", "cart");
    meshd.sign(&foreign).await.unwrap_err();
    let channel = Channel::from_shared(format!("http://{}", meshd.plaintext)).unwrap();
    let channel = channel.connect().await.unwrap();
    let mut stream = Stream::open(channel, "shop", None).await.unwrap();
    stream.next().await.unwrap();
    meshd.stop().await;

    let exported = spans(exported);
    let text = |of: &Attributes, key: &str| of.get(key).cloned().unwrap_or_default();
    assert_eq!(text(&exported.resource, "service.name"), "meshd");
    assert_eq!(text(&exported.resource, "service.instance.id"), "meshd-1");

    let [signed, refused] = &exported.spans["certificate"][..] else {
        panic!("{exported:?}");
    };
    let identity = "spiffe://cluster.local/ns/shop/sa/cart";
    assert_eq!(text(signed, "identity"), identity);
    assert!(signed.contains_key("not_after"), "{signed:?}");
    assert_eq!(text(signed, "status"), "");
    assert!(!refused.contains_key("identity"), "{refused:?}");
    let reason = "bearer token: the token's signature does not verify";
    assert_eq!(text(refused, "status"), reason);

    let streams = &exported.spans["ads stream"];
    let node = "sidecar~10.244.0.9~client.shop~shop.svc.cluster.local";
    assert_eq!(text(&streams[0], "node"), node);
    assert_eq!(text(&streams[0], "address"), "127.0.0.1");

    let reconciled = &exported.spans["reconcile"];
    assert_eq!(text(&reconciled[0], "applied"), "3");
}
