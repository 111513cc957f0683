//! The stream to the control plane (delta ADS), and everything else that changes the configuration.
//!
//! One task on the control thread owns the [`Applier`]. It outlives its streams: when one breaks, the
//! configuration stays in force, and the next stream begins with the versions that are in force
//! (`initial_resource_versions`), so that only differences travel.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use mesh_runtime::backoff::Backoff;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};
use xds::delta;
use xds::envoy::core;
use xds::envoy::discovery::DeltaDiscoveryRequest;
use xds::proto::ads::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use xds::resource::DeltaDiscoveryResponse;
use xds::type_url::ResourceType;

use super::apply::{Applier, Received};
use super::status::XdsStatus;
use crate::config::ClusterId;
use crate::config::cluster::{DnsAnswer, DnsTarget};
use crate::target::Target;

const BACKOFF_BASE: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// A first response can hold the whole mesh.
const RESPONSE_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Requests that wait for the stream: one per resource type and then some.
const REQUESTS_MAX: usize = 64;
/// Where the control plane is and how we introduce ourselves.
pub struct AdsOptions {
    /// The cluster of `ads_config`.
    pub cluster: ClusterId,
    /// Who we are.
    pub node: core::Node,
    /// Metadata of each stream: `initial_metadata`, tokens.
    pub metadata: Box<dyn Fn() -> MetadataMap + Send + Sync>,
    /// A listener without which the configuration is not complete: a sidecar's `virtualInbound`.
    pub required_listener: Option<Arc<str>>,
    /// How long the first stream may take to bring a response before another one is tried.
    pub first_response_timeout: Duration,
    /// A channel over the cluster; connects when it is first used.
    pub channel: Box<dyn Fn() -> Channel + Send + Sync>,
}

/// Looks up exactly these clusters' names from now on.
pub type FollowNames = Box<dyn FnMut(&[DnsTarget]) + Send>;

/// Looks up the names of clusters.
pub struct NameLookup {
    /// Called with every change of what is to be looked up.
    pub follow: FollowNames,
    /// What they stand for.
    pub answers: mpsc::Receiver<DnsAnswer>,
}

/// The task that keeps the configuration up to date.
pub struct XdsClient<T: Target> {
    applier: Applier<T>,
    machine: delta::Client,
    ads: Option<AdsOptions>,
    /// Changes whenever a secret is set or removed, or a new TLS context wants one.
    secrets: watch::Receiver<u64>,
    status: Arc<XdsStatus>,
    names: NameLookup,
    received: BTreeSet<ResourceType>,
}

/// One stream: requests out, responses in.
struct Stream {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Responses,
    /// When it is given up unless a response has come.
    first_response_by: Option<Instant>,
}

/// The way back. Servers of grpc-go send their headers with their first response, so requests must not wait for them.
enum Responses {
    Opening(BoxFuture<'static, Result<Streaming<DeltaDiscoveryResponse>, Status>>),
    Open(Box<Streaming<DeltaDiscoveryResponse>>),
}

/// What a stream brings.
enum Event {
    /// The server has accepted it.
    Opened,
    Response(DeltaDiscoveryResponse),
    /// It is over.
    Ended(Status),
}

impl<T: Target> XdsClient<T> {
    /// A client over an applier that has the static resources already. Without `ads` only names and secrets
    /// are followed.
    pub fn new(
        applier: Applier<T>,
        ads: Option<AdsOptions>,
        secrets: watch::Receiver<u64>,
        names: NameLookup,
        status: Arc<XdsStatus>,
    ) -> Self {
        Self {
            applier,
            machine: delta::Client::default(),
            ads,
            secrets,
            status,
            names,
            received: BTreeSet::new(),
        }
    }

    /// Runs until `stop`. Never ends by itself: a control plane that is away is waited for.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut backoff = Backoff::new(BACKOFF_BASE, BACKOFF_MAX);
        let mut secrets = self.secrets.clone();
        self.machine
            .subscribe(ResourceType::Cluster, delta::WILDCARD);
        self.settle();
        let mut stream: Option<Stream> = None;
        let mut next_stream = Instant::now();
        loop {
            let deadline = self.applier.deadline();
            let first_response_by = stream.as_ref().and_then(|stream| stream.first_response_by);
            let had_stream = stream.is_some();
            let can_connect = !had_stream && self.can_connect();
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep_until(Some(next_stream)), if can_connect => stream = self.open(),
                event = next_event(&mut stream) => match event {
                    Event::Opened => self.status.set_connected(true),
                    Event::Response(response) => {
                        backoff.reset();
                        let answer = self.on_response(response);
                        send(&mut stream, answer).await;
                    }
                    Event::Ended(error) => {
                        if self.status.connected() {
                            tracing::info!(%error, "stream to the control plane ended");
                        } else {
                            tracing::warn!(%error, "control plane not reached");
                        }
                        stream = None;
                    }
                },
                () = sleep_until(first_response_by) => {
                    let stream_accepted = self.status.connected();
                    tracing::warn!(stream_accepted, "no response from the control plane in time, trying again");
                    stream = None;
                }
                Some(answer) = self.names.answers.recv() => {
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
            if stream.is_none() && had_stream {
                self.status.set_connected(false);
                next_stream = Instant::now() + backoff.next_delay();
            }
        }
    }

    /// Whether there is a control plane and its cluster is known. A cluster that is found by name begins
    /// without addresses; connecting before they are looked up would only fail and back off.
    fn can_connect(&self) -> bool {
        let ads = self.ads.as_ref();
        ads.is_some_and(|ads| self.applier.config().cluster(ads.cluster).is_some())
    }

    /// Publishes what is complete and follows its references.
    fn settle(&mut self) {
        let wanted = self.applier.wanted();
        (self.names.follow)(&self.applier.dns_targets());
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
        let complete = match &self.ads {
            None => true,
            Some(ads) => {
                let config = self.applier.config();
                let required = ads.required_listener.as_ref();
                self.received.contains(&ResourceType::Listener)
                    && required.is_none_or(|name| config.listeners.contains_key(name))
            }
        };
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

    /// Opens a stream with its first requests, the node with the first one.
    fn open(&mut self) -> Option<Stream> {
        let ads = self.ads.as_ref()?;
        let (requests, outgoing) = mpsc::channel(REQUESTS_MAX);
        for (index, mut first) in self.machine.connect().into_iter().enumerate() {
            if index == 0 {
                first.node = Some(ads.node.clone());
            }
            // One for each type: they fit.
            requests.try_send(first).ok()?;
        }
        let mut request = Request::new(ReceiverStream::new(outgoing));
        *request.metadata_mut() = (ads.metadata)();
        // A channel of its own for each stream: credentials may have been rotated since the last one.
        let mut client = AggregatedDiscoveryServiceClient::new((ads.channel)())
            .max_decoding_message_size(RESPONSE_BYTES_MAX);
        let opening = async move {
            let response = client.delta_aggregated_resources(request).await?;
            Ok(response.into_inner())
        };
        // A server may have nothing to say to a client that has everything.
        let first_response_by = self
            .received
            .is_empty()
            .then(|| Instant::now() + ads.first_response_timeout);
        Some(Stream {
            requests,
            responses: Responses::Opening(Box::pin(opening)),
            first_response_by,
        })
    }
}

/// May be dropped and called again: nothing is lost.
async fn next_event(stream: &mut Option<Stream>) -> Event {
    let Some(stream) = stream else {
        return std::future::pending().await;
    };
    match &mut stream.responses {
        Responses::Opening(opening) => match opening.await {
            Ok(responses) => {
                stream.responses = Responses::Open(Box::new(responses));
                Event::Opened
            }
            Err(error) => Event::Ended(error),
        },
        Responses::Open(responses) => match responses.message().await {
            Ok(Some(response)) => {
                stream.first_response_by = None;
                Event::Response(response)
            }
            Ok(None) => Event::Ended(Status::unavailable("closed by the control plane")),
            Err(error) => Event::Ended(error),
        },
    }
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
