//! Who is connected: the proxy as it describes itself in its first request.
//!
//! The description has Istio's form: `type~ip~pod.namespace~namespace.svc.domain` as the id, the
//! rest in metadata. What a proxy claims about its identity is checked in
//! [`crate::ads::authenticate`]; everything else only selects among what it may see anyway.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Map, Value};
use xds::envoy::core;
use xds::structs;

/// Longest accepted id: an address, names of a pod and a namespace (253 and 63 bytes), a domain.
const ID_BYTES_MAX: usize = 1024;

/// What a proxy is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NodeKind {
    /// Beside a workload.
    Sidecar,
    /// On its own: a gateway.
    Router,
}

/// The program that the resources are for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DataPlane {
    /// Our own proxy, which has filters that Envoy lacks.
    Weft,
    /// Envoy.
    Envoy,
    /// Anything else that speaks xDS, served like Envoy.
    Other(String),
}

impl DataPlane {
    /// The name as in the node's user agent.
    pub fn name(&self) -> &str {
        match self {
            Self::Weft => "weft",
            Self::Envoy => "envoy",
            Self::Other(name) => name,
        }
    }
}

/// How connections reach the proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum InterceptionMode {
    /// Redirected by the kernel.
    #[default]
    Redirect,
    /// Redirected with the client's address kept.
    Tproxy,
    /// Not at all: the application addresses the proxy.
    None,
}

/// Where a proxy runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct NodeLocality {
    /// Region.
    pub region: String,
    /// Zone.
    pub zone: String,
    /// Sub-zone.
    pub sub_zone: String,
}

/// A connected proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The whole id.
    pub id: String,
    /// What it is for.
    pub kind: NodeKind,
    /// The pod's addresses, the first from the id.
    pub ips: Vec<IpAddr>,
    /// The pod's name.
    pub name: String,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's service account.
    pub service_account: String,
    /// The pod's labels.
    pub labels: BTreeMap<String, String>,
    /// The name of the pod's workload (its Deployment, usually).
    pub workload_name: String,
    /// The cluster that the pod is in.
    pub cluster_id: String,
    /// The DNS suffix of the mesh, `cluster.local`.
    pub domain: String,
    /// Where the pod runs.
    pub locality: NodeLocality,
    /// The program.
    pub data_plane: DataPlane,
    /// The program's version.
    pub version: String,
    /// How connections reach it.
    pub interception_mode: InterceptionMode,
    /// Whether HTTP/1.0 is to be accepted.
    pub http10: bool,
}

/// Why a node cannot be served.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    /// The first request has no node.
    #[error("the first request on a stream must carry a node")]
    Missing,
    /// The id is not of the mesh's form.
    #[error("node id is not of the form type~ip~name.namespace~domain: \"{0}\"")]
    MalformedId(String),
    /// The id is longer than its parts can be.
    #[error("node id has {0} bytes, more than {ID_BYTES_MAX}")]
    LongId(usize),
    /// The type is not served.
    #[error("unknown node type: \"{0}\"")]
    UnknownKind(String),
}

impl Node {
    /// Reads the description.
    ///
    /// # Errors
    /// When the id does not tell type, name and namespace.
    pub fn from_wire(wire: &core::Node) -> Result<Self, NodeError> {
        if wire.id.len() > ID_BYTES_MAX {
            return Err(NodeError::LongId(wire.id.len()));
        }
        let malformed = || NodeError::MalformedId(wire.id.clone());
        let parts: Vec<&str> = wire.id.split('~').collect();
        let [kind, ip, pod, domain] = parts[..] else {
            return Err(malformed());
        };
        let kind = match kind {
            "sidecar" => NodeKind::Sidecar,
            "router" => NodeKind::Router,
            other => return Err(NodeError::UnknownKind(other.to_owned())),
        };
        let (id_name, id_namespace) = pod.rsplit_once('.').ok_or_else(malformed)?;
        let metadata = Metadata(
            wire.metadata
                .as_ref()
                .map(structs::to_json)
                .unwrap_or_default(),
        );
        Ok(Self {
            id: wire.id.clone(),
            kind,
            ips: ips(ip, &metadata),
            name: metadata.text("NAME").unwrap_or_else(|| id_name.to_owned()),
            namespace: metadata
                .text("NAMESPACE")
                .unwrap_or_else(|| id_namespace.to_owned()),
            service_account: metadata
                .text("SERVICE_ACCOUNT")
                .unwrap_or_else(|| "default".into()),
            labels: metadata.map("LABELS"),
            workload_name: metadata.text("WORKLOAD_NAME").unwrap_or_default(),
            cluster_id: metadata
                .text("CLUSTER_ID")
                .unwrap_or_else(|| "Kubernetes".into()),
            domain: mesh_domain(domain),
            locality: locality(wire.locality.as_ref()),
            data_plane: data_plane(&wire.user_agent_name),
            version: version(wire)
                .or_else(|| metadata.text("ISTIO_VERSION"))
                .unwrap_or_default(),
            interception_mode: match metadata.text("INTERCEPTION_MODE").as_deref() {
                Some("TPROXY") => InterceptionMode::Tproxy,
                Some("NONE") => InterceptionMode::None,
                _ => InterceptionMode::Redirect,
            },
            http10: metadata.text("HTTP10").as_deref() == Some("1"),
        })
    }

    /// Whether it runs our own proxy.
    pub fn is_weft(&self) -> bool {
        self.data_plane == DataPlane::Weft
    }

    /// The name that telemetry groups this workload under.
    pub fn canonical_name(&self) -> String {
        let labels = [
            "service.istio.io/canonical-name",
            "app.kubernetes.io/name",
            "app",
        ];
        let label = labels.iter().find_map(|label| self.labels.get(*label));
        label.cloned().unwrap_or_else(|| self.workload_name.clone())
    }
}

/// The metadata object; every field optional and of the wrong type if it pleases.
struct Metadata(Map<String, Value>);

impl Metadata {
    fn text(&self, field: &str) -> Option<String> {
        self.0
            .get(field)?
            .as_str()
            .filter(|text| !text.is_empty())
            .map(ToOwned::to_owned)
    }

    fn map(&self, field: &str) -> BTreeMap<String, String> {
        let fields = self
            .0
            .get(field)
            .and_then(Value::as_object)
            .into_iter()
            .flatten();
        fields
            .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
            .collect()
    }
}

fn ips(first: &str, metadata: &Metadata) -> Vec<IpAddr> {
    let all = metadata.text("INSTANCE_IPS").unwrap_or_default();
    let mut ips = Vec::new();
    for ip in std::iter::once(first)
        .chain(all.split(','))
        .filter_map(|ip| ip.trim().parse().ok())
    {
        if !ips.contains(&ip) {
            ips.push(ip);
        }
    }
    ips
}

/// `ns.svc.cluster.local` → `cluster.local`.
fn mesh_domain(domain: &str) -> String {
    domain
        .split_once(".svc.")
        .map_or(domain, |(_, suffix)| suffix)
        .to_owned()
}

fn locality(wire: Option<&core::Locality>) -> NodeLocality {
    let wire = wire.cloned().unwrap_or_default();
    NodeLocality {
        region: wire.region,
        zone: wire.zone,
        sub_zone: wire.sub_zone,
    }
}

fn data_plane(user_agent: &str) -> DataPlane {
    match user_agent {
        "weft" => DataPlane::Weft,
        "envoy" => DataPlane::Envoy,
        other => DataPlane::Other(other.to_owned()),
    }
}

fn version(wire: &core::Node) -> Option<String> {
    use core::node::UserAgentVersionType::{UserAgentBuildVersion, UserAgentVersion};
    match wire.user_agent_version_type.as_ref()? {
        UserAgentVersion(version) => Some(version.clone()),
        UserAgentBuildVersion(build) => {
            let number = build.version.as_ref()?;
            Some(format!(
                "{}.{}.{}",
                number.major_number, number.minor_number, number.patch
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn wire(id: &str, metadata: &Value) -> core::Node {
        core::Node {
            id: id.into(),
            user_agent_name: "envoy".into(),
            metadata: Some(structs::from_json(metadata.as_object().unwrap())),
            ..Default::default()
        }
    }

    #[test]
    fn a_sidecar_describes_itself() {
        let metadata = json!({
            "SERVICE_ACCOUNT": "bookinfo-reviews",
            "LABELS": {"app": "reviews", "version": "v1"},
            "INSTANCE_IPS": "10.244.0.7,fd00::7",
            "WORKLOAD_NAME": "reviews-v1",
            "INTERCEPTION_MODE": "REDIRECT",
        });
        let id = "sidecar~10.244.0.7~reviews-v1-abc.default~default.svc.cluster.local";
        let expected = Node {
            id: id.into(),
            kind: NodeKind::Sidecar,
            ips: vec!["10.244.0.7".parse().unwrap(), "fd00::7".parse().unwrap()],
            name: "reviews-v1-abc".into(),
            namespace: "default".into(),
            service_account: "bookinfo-reviews".into(),
            labels: [
                ("app".into(), "reviews".into()),
                ("version".into(), "v1".into()),
            ]
            .into(),
            workload_name: "reviews-v1".into(),
            cluster_id: "Kubernetes".into(),
            domain: "cluster.local".into(),
            locality: NodeLocality::default(),
            data_plane: DataPlane::Envoy,
            version: String::new(),
            interception_mode: InterceptionMode::Redirect,
            http10: false,
        };
        assert_eq!(Node::from_wire(&wire(id, &metadata)), Ok(expected));
    }

    #[test]
    fn ids_that_say_too_little_are_refused() {
        let parse = |id: &str| Node::from_wire(&wire(id, &json!({}))).unwrap_err();
        assert_eq!(parse("x"), NodeError::MalformedId("x".into()));
        let long = "x".repeat(ID_BYTES_MAX + 1);
        assert_eq!(parse(&long), NodeError::LongId(ID_BYTES_MAX + 1));
        assert_eq!(
            parse("sidecar~1.2.3.4~pod~x"),
            NodeError::MalformedId("sidecar~1.2.3.4~pod~x".into())
        );
        assert_eq!(
            parse("waypoint~1.2.3.4~a.b~x"),
            NodeError::UnknownKind("waypoint".into())
        );
    }
}
