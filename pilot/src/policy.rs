//! Which policies apply to a workload: peer authentication, authorization, telemetry.

use std::collections::BTreeMap;
use std::sync::Arc;

use mesh_api::authn::{MtlsMode as Mode, RequestAuthentication};
use mesh_api::authz::AuthorizationPolicy;
use mesh_api::labels::{Labels, Selector};
use mesh_api::mesh_config::{AccessLogEncoding, MeshConfig};
use mesh_api::resource::Meta;
use mesh_api::snapshot::{ByNamespace, Snapshot};
use mesh_api::telemetry::WorkloadMode;

use crate::access_log::{AccessLog, Format};
use crate::eds::MtlsDisabled;
use crate::lds::filter_chain::MtlsMode;
use crate::lds::http_connection_manager::Position;

/// What a workload accepts from its peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PeerModes {
    /// On ports without a rule of their own.
    pub(crate) mode: MtlsMode,
    /// On single ports.
    pub(crate) ports: BTreeMap<u16, MtlsMode>,
}

impl PeerModes {
    /// What is accepted on a port.
    pub(crate) fn port(&self, port: u16) -> MtlsMode {
        self.ports.get(&port).copied().unwrap_or(self.mode)
    }
}

/// The modes in force: the port's rule, else the workload's, the namespace's, the mesh's.
pub(crate) fn peer_modes(snapshot: &Snapshot, namespace: &str, labels: &Labels) -> PeerModes {
    let own = Snapshot::of_namespace(&snapshot.peer_authentications, namespace);
    let workload = own.iter().find(|policy| {
        policy
            .selector
            .as_ref()
            .is_some_and(|selector| selector.matches(labels))
    });
    let inherited = namespace_mode(snapshot, namespace);
    let mode = workload.and_then(|policy| policy.mode).unwrap_or(inherited);
    let ports = workload.map(|policy| {
        let of_port = |(port, own): (&u16, &Option<Mode>)| (*port, wire_mode(own.unwrap_or(mode)));
        policy.port_modes.iter().map(of_port).collect()
    });
    PeerModes {
        mode: wire_mode(mode),
        ports: ports.unwrap_or_default(),
    }
}

/// The mode of workloads in a namespace that nothing selects.
pub(crate) fn namespace_mode(snapshot: &Snapshot, namespace: &str) -> Mode {
    let general = |namespace: &str| -> Option<Mode> {
        let policies = Snapshot::of_namespace(&snapshot.peer_authentications, namespace);
        policies
            .iter()
            .find(|policy| policy.selector.is_none())?
            .mode
    };
    general(namespace)
        .or_else(|| general(&snapshot.mesh.root_namespace))
        .unwrap_or(Mode::Permissive)
}

/// Workloads that single rules exempt from mesh TLS.
pub(crate) fn mtls_disabled(snapshot: &Snapshot) -> Vec<MtlsDisabled> {
    let mut disabled = Vec::new();
    for policy in snapshot.peer_authentications.values().flatten() {
        let Some(selector) = &policy.selector else {
            continue;
        };
        let of = |port| MtlsDisabled {
            namespace: Arc::clone(&policy.meta.key.namespace),
            selector: selector.clone(),
            port,
        };
        if policy.mode == Some(Mode::Disable) {
            disabled.push(of(None));
        }
        let ports = policy
            .port_modes
            .iter()
            .filter(|(_, mode)| **mode == Some(Mode::Disable));
        disabled.extend(ports.map(|(port, _)| of(Some(*port))));
    }
    disabled
}

fn wire_mode(mode: Mode) -> MtlsMode {
    match mode {
        Mode::Disable => MtlsMode::Disable,
        Mode::Permissive => MtlsMode::Permissive,
        Mode::Strict => MtlsMode::Strict,
    }
}

/// The authorization policies of a workload: the root namespace's and its own, as far as they
/// select it.
pub(crate) fn authorization(
    snapshot: &Snapshot,
    namespace: &str,
    labels: &Labels,
) -> Vec<Arc<AuthorizationPolicy>> {
    selecting(
        &snapshot.authorization_policies,
        snapshot,
        namespace,
        labels,
        |policy| (&policy.meta, policy.selector.as_ref()),
    )
}

/// The request authentications of a workload.
pub(crate) fn request_authentication(
    snapshot: &Snapshot,
    namespace: &str,
    labels: &Labels,
) -> Vec<Arc<RequestAuthentication>> {
    selecting(
        &snapshot.request_authentications,
        snapshot,
        namespace,
        labels,
        |policy| (&policy.meta, policy.selector.as_ref()),
    )
}

/// The access log of a workload at one of its sides: the most specific Telemetry that says
/// something, else the mesh's own setting.
pub(crate) fn access_log(
    snapshot: &Snapshot,
    namespace: &str,
    labels: &Labels,
    position: Position,
) -> Option<AccessLog> {
    let mesh = &snapshot.mesh;
    let mut enabled = None;
    let objects = selecting(
        &snapshot.telemetries,
        snapshot,
        namespace,
        labels,
        |object| (&object.meta, object.selector.as_ref()),
    );
    // From the mesh to the namespace to the workload: later ones override.
    let (general, selected): (Vec<_>, Vec<_>) = objects
        .into_iter()
        .partition(|object| object.selector.is_none());
    for object in general.iter().chain(&selected) {
        for logging in object
            .access_logging
            .iter()
            .filter(|l| applies(l.mode, position))
        {
            let known =
                logging.providers.is_empty() || logging.providers.iter().any(|p| &**p == "envoy");
            if known {
                enabled = Some(logging.disabled != Some(true));
            }
        }
    }
    let path = mesh.access_log.file.as_deref();
    match enabled {
        Some(false) => None,
        Some(true) => Some(log_to(path.unwrap_or("/dev/stdout"), mesh)),
        None => path.map(|path| log_to(path, mesh)),
    }
}

fn applies(mode: WorkloadMode, position: Position) -> bool {
    match mode {
        WorkloadMode::ClientAndServer => true,
        WorkloadMode::Server => position == Position::SidecarInbound,
        WorkloadMode::Client => position != Position::SidecarInbound,
    }
}

fn log_to(path: &str, mesh: &MeshConfig) -> AccessLog {
    let format = mesh.access_log.format.as_deref().unwrap_or_default();
    AccessLog {
        path: path.to_owned(),
        format: match mesh.access_log.encoding {
            AccessLogEncoding::Text => Format::Text(format.to_owned()),
            AccessLogEncoding::Json => Format::Json(json_fields(format)),
        },
    }
}

/// The fields of a JSON format; the default ones unless it is an object of strings.
fn json_fields(format: &str) -> Vec<(String, String)> {
    let object: BTreeMap<String, String> = serde_json::from_str(format).unwrap_or_default();
    object.into_iter().collect()
}

/// The objects of the root namespace and of a workload's own that select it, in this order.
fn selecting<T>(
    objects: &ByNamespace<T>,
    snapshot: &Snapshot,
    namespace: &str,
    labels: &Labels,
    parts: impl Fn(&T) -> (&Meta, Option<&Selector>),
) -> Vec<Arc<T>> {
    let root = Snapshot::of_namespace(objects, &snapshot.mesh.root_namespace);
    let own = (namespace != &*snapshot.mesh.root_namespace)
        .then(|| Snapshot::of_namespace(objects, namespace));
    let all = root.iter().chain(own.into_iter().flatten());
    all.filter(|object| {
        let (_, selector) = parts(object);
        selector.is_none_or(|selector| selector.matches(labels))
    })
    .cloned()
    .collect()
}
