//! The labels of Istio's metrics.

use std::fmt::Write;

use super::Facts;
use crate::config::peer::Peer;

/// Who reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reporter {
    /// The client's proxy, or a gateway.
    Source,
    /// The server's proxy.
    Destination,
}

/// A label set as Prometheus writes it: `reporter="source",...`.
pub type Labels = std::sync::Arc<str>;

const UNKNOWN: &str = "unknown";
/// Clusters that stand for no service; their names are the service's.
const PASSTHROUGH: [&str; 5] = [
    "PassthroughCluster",
    "BlackHoleCluster",
    "InboundPassthroughCluster",
    "InboundPassthroughClusterIpv4",
    "InboundPassthroughClusterIpv6",
];

impl Facts<'_> {
    /// The labels in Istio's order. TCP metrics have no response code and gRPC status.
    pub(super) fn labels(&self) -> Labels {
        let mut labels = LabelWriter::default();
        let (source, destination) = match self.reporter {
            Reporter::Source => (Some(&self.config.local), self.peer),
            Reporter::Destination => (self.peer, Some(&self.config.local)),
        };
        labels.add(
            "reporter",
            match self.reporter {
                Reporter::Source => "source",
                Reporter::Destination => "destination",
            },
        );
        let unknown = Peer::default();
        // A client that told nothing still shows its namespace by its certificate.
        let certified = Peer {
            namespace: self
                .source_principal
                .and_then(Peer::namespace_of_identity)
                .unwrap_or_default()
                .into(),
            ..Peer::default()
        };
        let source = source.map_or(&certified, |peer| peer);
        let destination = destination.map_or(&unknown, |peer| peer);
        labels.peer("source", source, self.source_principal);
        labels.peer("destination", destination, self.destination_principal);
        let (service, name, namespace) = self.service(destination);
        labels.add("destination_service", &service);
        labels.add("destination_service_name", &name);
        labels.add("destination_service_namespace", &namespace);
        self.add_protocol(&mut labels);
        labels.add("response_flags", &self.info.flags.to_string());
        labels.add(
            "connection_security_policy",
            match self.reporter {
                Reporter::Source => UNKNOWN,
                Reporter::Destination if self.mutual_tls => "mutual_tls",
                Reporter::Destination => "none",
            },
        );
        labels.text.into()
    }

    fn add_protocol(&self, labels: &mut LabelWriter) {
        if self.info.protocol.is_none() {
            labels.add("request_protocol", "tcp");
            return;
        }
        labels.add(
            "request_protocol",
            if self.info.grpc { "grpc" } else { "http" },
        );
        labels.add("response_code", &self.info.response_code.to_string());
        let status = self.info.grpc_status.filter(|_| self.info.grpc);
        let status = status.map_or_else(String::new, |status| status.to_string());
        labels.raw("grpc_response_status", &status);
    }

    /// Service, its name and its namespace.
    fn service(&self, destination: &Peer) -> (String, String, String) {
        if let Some(service) = self.cluster.and_then(|cluster| cluster.service.as_ref()) {
            let text = |part: &str| part.to_owned();
            return (
                text(&service.host),
                text(&service.name),
                text(&service.namespace),
            );
        }
        let host = self.host_fallback().map(String::from_utf8_lossy);
        let host = host.as_deref().unwrap_or_default().to_owned();
        let cluster = self
            .cluster
            .map(|cluster| &cluster.name)
            .or(self.info.cluster_name.as_ref());
        let name = match cluster {
            Some(cluster) if PASSTHROUGH.contains(&&**cluster) => cluster.to_string(),
            _ => host.clone(),
        };
        (host, name, destination.namespace.to_string())
    }
}

#[derive(Default)]
struct LabelWriter {
    text: String,
}

impl LabelWriter {
    fn peer(&mut self, side: &str, peer: &Peer, principal: Option<&str>) {
        let fields = [
            ("workload", &*peer.workload),
            ("workload_namespace", &*peer.namespace),
            ("principal", principal.unwrap_or_default()),
            ("app", &*peer.app),
            ("version", &*peer.version),
            ("canonical_service", &*peer.canonical_name),
            ("canonical_revision", &*peer.canonical_revision),
            ("cluster", &*peer.cluster),
        ];
        for (field, value) in fields {
            self.add(&format!("{side}_{field}"), value);
        }
    }

    /// A label; an empty value is unknown.
    fn add(&mut self, name: &str, value: &str) {
        self.raw(name, if value.is_empty() { UNKNOWN } else { value });
    }

    fn raw(&mut self, name: &str, value: &str) {
        if !self.text.is_empty() {
            self.text.push(',');
        }
        // Writing to a string cannot fail.
        let _ = write!(self.text, "{name}=\"");
        crate::prometheus::escape(value, &mut self.text);
        self.text.push('"');
    }
}
