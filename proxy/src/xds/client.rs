//! The stream to the control plane (delta ADS), and everything else that changes the configuration.
//!
//! One task on the control thread owns the [`Applier`]. It outlives its streams: when one breaks, the
//! configuration stays in force, and the next stream begins with the versions that are in force
//! (`initial_resource_versions`), so that only differences travel.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mesh_runtime::backoff::Backoff;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::{Request, Status, Streaming};
use xds::delta;
use xds::envoy::core;
use xds::envoy::discovery::DeltaDiscoveryRequest;
use xds::proto::ads::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use xds::resource::DeltaDiscoveryResponse;
use xds::type_url::ResourceType;

use super::apply::{Applier, Received};
use super::status::XdsStatus;
use super::transport;
use crate::config::{ClusterId, ConfigHandle};
use crate::tls::secret_store::SecretStore;
use crate::upstream::resolve::{DnsAnswer, DnsResolvers};

const BACKOFF_BASE: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// A first response can hold the whole mesh.
const RESPONSE_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Requests that wait for the stream: one per resource type and then some.
const REQUESTS_MAX: usize = 64;
/// Answers of resolvers that wait to be applied.
const ANSWERS_MAX: usize = 256;

/// Where the control plane is and how we introduce ourselves.
pub struct AdsOptions {
    /// The cluster of `ads_config`.
    pub cluster: ClusterId,
    /// Who we are.
    pub node: core::Node,
    /// Metadata of each stream: `initial_metadata`, tokens.
    pub metadata: Box<dyn Fn() -> MetadataMap + Send + Sync>,
}

/// The task that keeps the configuration up to date.
pub struct XdsClient {
    applier: Applier,
    machine: delta::Client,
    ads: Option<AdsOptions>,
    config: ConfigHandle,
    secrets: SecretStore,
    status: Arc<XdsStatus>,
    resolvers: DnsResolvers,
    answers: mpsc::Receiver<DnsAnswer>,
    received: BTreeSet<ResourceType>,
}

/// One stream: requests out, responses in.
struct Stream {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
}

impl XdsClient {
    /// A client over an applier that has the static resources already. Without `ads` only names and secrets
    /// are followed.
    pub fn new(
        applier: Applier,
        ads: Option<AdsOptions>,
        config: ConfigHandle,
        secrets: SecretStore,
        status: Arc<XdsStatus>,
    ) -> Self {
        let (answer, answers) = mpsc::channel(ANSWERS_MAX);
        Self {
            applier,
            machine: delta::Client::default(),
            ads,
            config,
            secrets,
            status,
            resolvers: DnsResolvers::new(answer),
            answers,
            received: BTreeSet::new(),
        }
    }

    /// Runs until `stop`. Never ends by itself: a control plane that is away is waited for.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut backoff = Backoff::new(BACKOFF_BASE, BACKOFF_MAX);
        let mut secrets = self.secrets.changes();
        self.machine
            .subscribe(ResourceType::Cluster, delta::WILDCARD);
        self.settle();
        let mut stream: Option<Stream> = None;
        let mut connecting = self.connect_after(Duration::ZERO);
        loop {
            let deadline = self.applier.deadline();
            tokio::select! {
                () = stop.cancelled() => return,
                opened = &mut connecting, if stream.is_none() && self.can_connect() => match opened {
                    Ok(opened) => {
                        self.status.set_connected(true);
                        stream = self.begin(opened).await;
                    }
                    Err(error) => {
                        tracing::warn!(%error, "control plane not reached");
                        connecting = self.connect_after(backoff.next_delay());
                        continue;
                    }
                },
                message = next_response(&mut stream) => match message {
                    Ok(response) => {
                        backoff.reset();
                        let answer = self.on_response(response);
                        send(&mut stream, answer).await;
                    }
                    Err(error) => {
                        tracing::info!(%error, "stream to the control plane ended");
                        stream = None;
                    }
                },
                Some(answer) = self.answers.recv() => {
                    self.applier.resolved(&answer.cluster, answer.addresses, Instant::now());
                }
                Ok(()) = secrets.changed() => self.applier.warm(Instant::now()),
                () = sleep_until(deadline) => self.applier.tick(Instant::now()),
            }
            self.settle();
            let pending = if stream.is_some() {
                self.machine.pending()
            } else {
                Vec::new()
            };
            send(&mut stream, pending).await;
            if stream.is_none() && self.status.connected() {
                self.status.set_connected(false);
                connecting = self.connect_after(backoff.next_delay());
            }
        }
    }

    /// Whether there is a control plane and its cluster is known. A cluster that is found by name begins
    /// without addresses; connecting before they are looked up would only fail and back off.
    fn can_connect(&self) -> bool {
        let ads = self.ads.as_ref();
        ads.is_some_and(|ads| self.config.load().cluster(ads.cluster).is_some())
    }

    /// Publishes what is complete and follows its references.
    fn settle(&mut self) {
        let wanted = self.applier.wanted();
        self.resolvers.follow(&self.applier.dns_targets());
        self.applier.flush();
        // As Envoy: listeners are asked for when the clusters they may need are there.
        let clusters_ready =
            self.received.contains(&ResourceType::Cluster) && !self.applier.clusters_warming();
        if clusters_ready {
            self.machine
                .subscribe(ResourceType::Listener, delta::WILDCARD);
        }
        let names = [
            (ResourceType::Endpoint, &wanted.endpoints),
            (ResourceType::Route, &wanted.routes),
            (ResourceType::Secret, &wanted.secrets),
        ];
        for (resource_type, names) in names {
            self.machine
                .set_names(resource_type, names.iter().map(|name| &**name));
        }
        let complete = self.ads.is_none() || self.received.contains(&ResourceType::Listener);
        if complete && self.applier.warming().is_empty() {
            self.status.set_initialized();
        }
    }

    fn on_response(&mut self, response: DeltaDiscoveryResponse) -> Vec<DeltaDiscoveryRequest> {
        let Some(update) = self.machine.on_response(response) else {
            return Vec::new();
        };
        let resource_type = update.resource_type;
        let mut refused = Vec::new();
        let mut changed = Vec::with_capacity(update.changed.len());
        for resource in &update.changed {
            match &resource.resource {
                Some(any) if any.type_url == resource_type.url() => changed.push(Received {
                    name: resource.name.as_str().into(),
                    version: resource.version.as_str().into(),
                    // A copy: a slice would keep the whole response for as long as one resource of it lives.
                    bytes: Bytes::copy_from_slice(&any.value),
                }),
                other => {
                    let found = other.as_ref().map_or("nothing", |any| &any.type_url);
                    let expected = resource_type.url();
                    let reason = format!("expected \"{expected}\", found \"{found}\"");
                    refused.push((resource.name.clone(), reason));
                }
            }
        }
        refused.extend(self.applier.apply(
            resource_type,
            &changed,
            &update.removed,
            Instant::now(),
        ));
        self.received.insert(resource_type);
        self.status.count_update(resource_type, !refused.is_empty());
        vec![self.machine.answer(&update, &refused)]
    }

    /// Sends the first requests of a stream, the node with the first one.
    async fn begin(&mut self, opened: Stream) -> Option<Stream> {
        let mut stream = Some(opened);
        let mut first = self.machine.connect();
        if let (Some(request), Some(ads)) = (first.first_mut(), &self.ads) {
            request.node = Some(ads.node.clone());
        }
        send(&mut stream, first).await;
        stream
    }

    /// Opens a stream after a while. Independent of `self`, so that other events go on meanwhile.
    fn connect_after(
        &self,
        delay: Duration,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<Stream, Status>> + Send>> {
        let Some(ads) = &self.ads else {
            return Box::pin(std::future::pending());
        };
        // A channel of its own for each stream: credentials may have been rotated since the last one.
        let channel = transport::channel(&self.config, ads.cluster);
        let metadata = (ads.metadata)();
        Box::pin(async move {
            tokio::time::sleep(delay).await;
            let (requests, outgoing) = mpsc::channel(REQUESTS_MAX);
            let mut request = Request::new(ReceiverStream::new(outgoing));
            *request.metadata_mut() = metadata;
            let mut client = AggregatedDiscoveryServiceClient::new(channel)
                .max_decoding_message_size(RESPONSE_BYTES_MAX);
            let responses = client
                .delta_aggregated_resources(request)
                .await?
                .into_inner();
            Ok(Stream {
                requests,
                responses,
            })
        })
    }
}

async fn next_response(stream: &mut Option<Stream>) -> Result<DeltaDiscoveryResponse, Status> {
    let Some(stream) = stream else {
        return std::future::pending().await;
    };
    let message = stream.responses.message().await?;
    message.ok_or_else(|| Status::unavailable("closed by the control plane"))
}

/// A stream that takes no more requests is over.
async fn send(stream: &mut Option<Stream>, requests: Vec<DeltaDiscoveryRequest>) {
    for request in requests {
        let Some(open) = stream else {
            return;
        };
        if open.requests.send(request).await.is_err() {
            *stream = None;
        }
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
