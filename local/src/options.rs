//! What the user asked for when starting a mesh; written to the state directory for the supervisor.

use std::{collections::BTreeMap, net::Ipv4Addr, path::PathBuf};

use serde::{Deserialize, Serialize};

/// Which data plane sidecars and gateways run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DataPlane {
    /// Weft's own proxy.
    #[default]
    Weft,
    /// Weft's agent with an unmodified Envoy.
    Envoy,
}

/// How user ids inside relate to those outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Privilege {
    /// Started by root: no user namespace, all user ids.
    Root,
    /// A user namespace with a range of user ids.
    MappedRange,
    /// A user namespace with a single user id; sockets of proxies are told by a mark.
    SingleUser,
}

/// Options of one mesh.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// Name of the mesh.
    pub name: String,
    /// Directory of manifests that is watched.
    pub dir: Option<PathBuf>,
    /// Default data plane.
    pub data_plane: DataPlane,
    /// The Envoy binary, for pods that run Envoy.
    pub envoy_path: Option<PathBuf>,
    /// Port on 127.0.0.1 for the ingress gateway; 0 chooses a free one.
    pub ingress_port: u16,
    /// Where our binaries are.
    pub bin_dir: PathBuf,
    /// Image name to local program, before the built-in mapping.
    pub images: BTreeMap<String, PathBuf>,
    /// Names outside the mesh.
    pub hosts: Vec<(String, Ipv4Addr)>,
    /// Start the control plane and the ingress gateway.
    pub mesh: bool,
    /// How user ids are mapped.
    pub privilege: Privilege,
}
