//! The secret service for Envoy (`envoy.service.secret.v3.SecretDiscoveryService`): `default` is the workload's
//! certificate with its key, `ROOTCA` the mesh roots. Pushed anew whenever the certificate was renewed.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use tokio::net::UnixListener;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};
use xds::envoy::core::DataSource;
use xds::envoy::core::data_source::Specifier;
use xds::envoy::discovery::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Resource,
};
use xds::envoy::tls::{CertificateValidationContext, Secret, TlsCertificate, secret};
use xds::pb::envoy::service::secret::v3::secret_discovery_service_server::{
    SecretDiscoveryService, SecretDiscoveryServiceServer,
};
use xds::pb::google::protobuf::Any;

use crate::certificates::{WorkloadCertificate, certificate_version};

/// Answers waiting for a slow Envoy: one for each secret and a renewal.
const ANSWERS_WAITING_MAX: usize = 4;
const SECRET_TYPE: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";

type Certificate = watch::Receiver<Option<Arc<WorkloadCertificate>>>;
type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Serves secrets on a unix socket.
pub async fn serve(
    path: &Path,
    certificate: Certificate,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let incoming = UnixListenerStream::new(UnixListener::bind(path)?);
    let service = SecretDiscoveryServiceServer::new(Secrets { certificate });
    tonic::transport::Server::builder()
        .add_service(service)
        .serve_with_incoming(incoming)
        .await?;
    Ok(())
}

struct Secrets {
    certificate: Certificate,
}

#[tonic::async_trait]
impl SecretDiscoveryService for Secrets {
    type DeltaSecretsStream = Answers<DeltaDiscoveryResponse>;
    type StreamSecretsStream = Answers<DiscoveryResponse>;

    async fn delta_secrets(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaSecretsStream>, Status> {
        let mut requests = request.into_inner();
        let mut certificate = self.certificate.clone();
        let (sender, answers) = mpsc::channel(ANSWERS_WAITING_MAX);
        tokio::spawn(async move {
            let mut wanted: Vec<String> = Vec::new();
            loop {
                let fresh = tokio::select! {
                    request = requests.next() => match request {
                        Some(Ok(request)) => subscribe(&mut wanted, request),
                        _ => return,
                    },
                    changed = certificate.changed() => match changed {
                        Ok(()) => wanted.clone(),
                        Err(_) => return,
                    },
                };
                let current = certificate.borrow_and_update().clone();
                let Some(current) = current.filter(|_| !fresh.is_empty()) else {
                    continue;
                };
                if sender
                    .send(Ok(delta_answer(&fresh, &current)))
                    .await
                    .is_err()
                {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }

    async fn stream_secrets(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamSecretsStream>, Status> {
        let mut requests = request.into_inner();
        let mut certificate = self.certificate.clone();
        let (sender, answers) = mpsc::channel(ANSWERS_WAITING_MAX);
        tokio::spawn(async move {
            let mut wanted: Vec<String> = Vec::new();
            let mut sent = String::new();
            loop {
                tokio::select! {
                    request = requests.next() => match request {
                        // An acknowledgement names the version that was sent and asks for nothing new.
                        Some(Ok(request)) if request.version_info == sent && request.resource_names == wanted => continue,
                        Some(Ok(request)) => wanted = request.resource_names,
                        _ => return,
                    },
                    changed = certificate.changed() => if changed.is_err() { return },
                }
                let current = certificate.borrow_and_update().clone();
                let Some(current) = current.filter(|_| !wanted.is_empty()) else {
                    continue;
                };
                sent = certificate_version(&current);
                if sender.send(Ok(answer(&wanted, &current))).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }

    async fn fetch_secrets(
        &self,
        _: Request<DiscoveryRequest>,
    ) -> Result<Response<DiscoveryResponse>, Status> {
        Err(Status::unimplemented("secrets are streamed"))
    }
}

/// Adds what a request subscribes to and returns it.
fn subscribe(wanted: &mut Vec<String>, request: DeltaDiscoveryRequest) -> Vec<String> {
    wanted.retain(|name| !request.resource_names_unsubscribe.contains(name));
    let fresh: Vec<String> = request
        .resource_names_subscribe
        .into_iter()
        .filter(|name| !wanted.contains(name))
        .collect();
    wanted.extend(fresh.iter().cloned());
    fresh
}

fn delta_answer(names: &[String], certificate: &WorkloadCertificate) -> DeltaDiscoveryResponse {
    let version = certificate_version(certificate);
    let resource = |name: &String| {
        let secret = secret(name, certificate)?;
        Some(Resource {
            name: name.clone(),
            version: version.clone(),
            resource: Some(packed(&secret)),
            ..Default::default()
        })
    };
    DeltaDiscoveryResponse {
        resources: names.iter().filter_map(resource).collect(),
        type_url: SECRET_TYPE.to_owned(),
        nonce: version.clone(),
        system_version_info: version.clone(),
        ..Default::default()
    }
}

fn answer(names: &[String], certificate: &WorkloadCertificate) -> DiscoveryResponse {
    let version = certificate_version(certificate);
    DiscoveryResponse {
        version_info: version.clone(),
        nonce: version,
        type_url: SECRET_TYPE.to_owned(),
        resources: names
            .iter()
            .filter_map(|name| secret(name, certificate))
            .map(|s| packed(&s))
            .collect(),
        ..Default::default()
    }
}

fn packed(secret: &Secret) -> Any {
    Any {
        type_url: SECRET_TYPE.to_owned(),
        value: prost::Message::encode_to_vec(secret),
    }
}

fn secret(name: &str, certificate: &WorkloadCertificate) -> Option<Secret> {
    let inline = |pem: &str| {
        Some(DataSource {
            specifier: Some(Specifier::InlineString(pem.to_owned())),
            ..Default::default()
        })
    };
    let r#type = match name {
        "default" => secret::Type::TlsCertificate(TlsCertificate {
            certificate_chain: inline(&certificate.chain),
            private_key: inline(&certificate.key),
            ..Default::default()
        }),
        "ROOTCA" => secret::Type::ValidationContext(CertificateValidationContext {
            trusted_ca: inline(&certificate.roots),
            ..Default::default()
        }),
        _ => return None,
    };
    Some(Secret {
        name: name.to_owned(),
        r#type: Some(r#type),
    })
}
