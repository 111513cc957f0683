//! A simulated sidecar: asks for what a proxy asks for, acknowledges everything, keeps nothing but names.

use std::{cell::RefCell, collections::HashSet, net::SocketAddr, rc::Rc, time::Instant};

use anyhow::{Context, bail};
use prost_types::{Struct, Value, value::Kind};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{
    Request, Streaming, client::Grpc, codegen::http::uri::PathAndQuery, transport::Channel,
};
use tonic_prost::ProstCodec;

use super::{
    fleet::Fleet,
    mesh::{NAMESPACE, Pod},
    wire::{
        self, CLUSTER, Cluster, DeltaRequest, DeltaResponse, ENDPOINT, LISTENER, Listener, Node,
        ROUTE, TypeUrl,
    },
};

/// A first response can hold the whole mesh.
const RESPONSE_BYTES_MAX: usize = 256 * 1024 * 1024;

/// One sidecar, connected.
pub(super) struct Proxy {
    fleet: Rc<RefCell<Fleet>>,
    index: usize,
    requests: mpsc::UnboundedSender<DeltaRequest>,
    responses: Streaming<DeltaResponse>,
    /// Asked for, by name.
    known: HashSet<u32>,
    /// Asked for and not received yet.
    pending: HashSet<u32>,
    has_clusters: bool,
    has_listeners: bool,
}

impl Proxy {
    /// Opens the stream and asks for all clusters.
    pub(super) async fn connect(
        address: SocketAddr,
        pod: &Pod,
        index: usize,
        fleet: Rc<RefCell<Fleet>>,
    ) -> anyhow::Result<Self> {
        let channel = Channel::from_shared(format!("http://{address}"))?;
        let channel = channel.tcp_nodelay(true).connect().await?;
        let mut grpc = Grpc::new(channel).max_decoding_message_size(RESPONSE_BYTES_MAX);
        let (requests, outgoing) = mpsc::unbounded_channel();
        requests.send(DeltaRequest {
            node: Some(node(pod)),
            type_url: CLUSTER.to_owned(),
            ..DeltaRequest::default()
        })?;
        grpc.ready().await?;
        let codec = ProstCodec::<DeltaRequest, DeltaResponse>::default();
        let outgoing = Request::new(UnboundedReceiverStream::new(outgoing));
        let path = PathAndQuery::from_static(wire::PATH);
        let responses = grpc.streaming(outgoing, path, codec).await?.into_inner();
        Ok(Self {
            fleet,
            index,
            requests,
            responses,
            known: HashSet::new(),
            pending: HashSet::new(),
            has_clusters: false,
            has_listeners: false,
        })
    }

    /// Follows the configuration. Ends only with an error.
    pub(super) async fn run(mut self) -> anyhow::Result<()> {
        loop {
            let response = self.responses.message().await?;
            let response = response.context("the control plane ended the stream")?;
            let now = Instant::now();
            self.on_response(&response)?;
            let is_configured = self.has_clusters && self.has_listeners && self.pending.is_empty();
            let mut fleet = self.fleet.borrow_mut();
            fleet.received(self.index, &response, now);
            if is_configured {
                fleet.configured(self.index, now);
            }
        }
    }

    fn on_response(&mut self, response: &DeltaResponse) -> anyhow::Result<()> {
        // As proxies do: listeners are asked for when the clusters are there.
        match response.type_url.as_str() {
            CLUSTER => {
                let names = each(response, Cluster::endpoints)?;
                self.acknowledge(CLUSTER, response)?;
                self.follow(ENDPOINT, names.into_iter().flatten())?;
                if !std::mem::replace(&mut self.has_clusters, true) {
                    self.send(LISTENER, Vec::new(), "")?;
                }
            }
            LISTENER => {
                let routes = each(response, |listener: Listener| listener.routes().collect())?;
                let routes: Result<Vec<Vec<_>>, _> = routes.into_iter().collect();
                self.has_listeners = true;
                self.acknowledge(LISTENER, response)?;
                self.follow(ROUTE, routes?.into_iter().flatten())?;
            }
            ENDPOINT => self.arrived(ENDPOINT, response)?,
            ROUTE => self.arrived(ROUTE, response)?,
            other => bail!("nobody asked for \"{other}\""),
        }
        Ok(())
    }

    fn arrived(&mut self, of: TypeUrl, response: &DeltaResponse) -> anyhow::Result<()> {
        let mut fleet = self.fleet.borrow_mut();
        for resource in &response.resources {
            self.pending.remove(&fleet.id(of, &resource.name));
        }
        drop(fleet);
        self.acknowledge(of, response)
    }

    /// Asks for the names that were not asked for before.
    fn follow(&mut self, of: TypeUrl, names: impl Iterator<Item = String>) -> anyhow::Result<()> {
        let mut new = Vec::new();
        let mut fleet = self.fleet.borrow_mut();
        for name in names {
            let id = fleet.id(of, &name);
            if self.known.insert(id) {
                self.pending.insert(id);
                new.push(name);
            }
        }
        drop(fleet);
        match new.is_empty() {
            true => Ok(()),
            false => self.send(of, new, ""),
        }
    }

    fn acknowledge(&self, of: TypeUrl, response: &DeltaResponse) -> anyhow::Result<()> {
        self.send(of, Vec::new(), &response.nonce)
    }

    fn send(&self, of: TypeUrl, subscribe: Vec<String>, nonce: &str) -> anyhow::Result<()> {
        self.requests.send(DeltaRequest {
            type_url: of.to_owned(),
            subscribe,
            nonce: nonce.to_owned(),
            ..DeltaRequest::default()
        })?;
        Ok(())
    }
}

/// What `read` finds in each resource of a response.
fn each<M, T>(response: &DeltaResponse, read: impl Fn(M) -> T) -> anyhow::Result<Vec<T>>
where
    M: prost::Message + Default,
{
    let bodies = response
        .resources
        .iter()
        .filter_map(|resource| resource.body.as_ref());
    bodies
        .map(|body| Ok(read(M::decode(body.value.clone())?)))
        .collect()
}

/// How a sidecar beside `pod` describes itself.
fn node(pod: &Pod) -> Node {
    let labels = pod.labels().map(|(key, value)| (key, text(&value)));
    let metadata = [
        ("NAME", text(&pod.name())),
        ("NAMESPACE", text(NAMESPACE)),
        ("SERVICE_ACCOUNT", text(&pod.service_account())),
        ("WORKLOAD_NAME", text(&pod.service_account())),
        ("INSTANCE_IPS", text(&pod.ip)),
        ("CLUSTER_ID", text("Kubernetes")),
        ("LABELS", Kind::StructValue(fields(labels))),
    ];
    Node {
        id: format!(
            "sidecar~{}~{}.{NAMESPACE}~{NAMESPACE}.svc.cluster.local",
            pod.ip,
            pod.name()
        ),
        cluster: format!("{}.{NAMESPACE}", pod.service_account()),
        metadata: Some(fields(metadata)),
        user_agent_name: "weft".to_owned(),
    }
}

fn text(value: &str) -> Kind {
    Kind::StringValue(value.to_owned())
}

fn fields<const N: usize>(fields: [(&str, Kind); N]) -> Struct {
    let value = |kind| Value { kind: Some(kind) };
    let fields = fields.map(|(key, kind)| (key.to_owned(), value(kind)));
    Struct {
        fields: fields.into(),
    }
}
