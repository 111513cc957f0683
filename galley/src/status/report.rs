//! What there is to say about each object of the cluster, ready to be written down.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use mesh_api::diagnostic::Diagnostic;
use mesh_api::resource::ResourceKey;
use serde_json::Value;

use super::gateway_class;
use crate::kind::{Handling, Kind, handling};
use crate::snapshot::{Feedback, Feedbacks};
use crate::source::kube::{Cluster, Observed};
use crate::store::{DocumentKey, Newest, Store};

/// Groups of which nothing is said unless it was refused.
const SILENT: [&str; 2] = ["", "discovery.k8s.io"];

/// Reports on the objects that there is something to say about: all of Istio's
/// kinds, those of the Gateway API that are ours, and what was refused of the others.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reports {
    /// The revision of the control plane.
    pub(super) revision: String,
    /// Nobody has made the class that Gateways name, see [`gateway_class`](super::gateway_class).
    pub(super) class_missing: bool,
    pub(super) by_object: BTreeMap<DocumentKey, Arc<Report>>,
}

/// What there is to say about one object.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Report {
    pub(super) kind: Kind,
    /// The version in which the object was read.
    pub(super) api_version: String,
    /// Identity, generation and status as the API server has them.
    pub(super) observed: Observed,
    /// The newest version was refused.
    pub(super) refused: bool,
    /// All findings, of the object alone and together with others.
    pub(super) diagnostics: Vec<Diagnostic>,
    /// What else goes back, for kinds that have a status of their own.
    pub(super) feedback: Option<Feedback>,
}

impl Reports {
    pub(crate) fn collect(
        store: &Store,
        cluster: &Cluster,
        feedback: &Feedbacks,
        diagnostics: &[Diagnostic],
    ) -> Self {
        let mut by_resource: HashMap<&ResourceKey, Vec<Diagnostic>> = HashMap::new();
        for diagnostic in diagnostics {
            if let Some(key) = &diagnostic.resource {
                by_resource.entry(key).or_default().push(diagnostic.clone());
            }
        }
        let by_object = store.newest().filter_map(|newest| {
            // Most objects are pods and endpoints, and there is nothing to say about them.
            if !newest.refused && SILENT.contains(&&*newest.key.group) {
                return None;
            }
            let kind = kind(&newest)?;
            let key = resource(kind, newest.key);
            let feedback = feedback.get(&key).filter(|_| !newest.refused).cloned();
            if !newest.refused && !kind.is_istio() && feedback.is_none() {
                return None;
            }
            let report = Report {
                kind,
                api_version: newest.document.api_version().to_owned(),
                observed: cluster.observed(kind, newest.key)?.clone(),
                refused: newest.refused,
                diagnostics: by_resource.remove(&key).unwrap_or_default(),
                feedback,
            };
            Some((newest.key.clone(), Arc::new(report)))
        });
        Self {
            revision: cluster.revision().to_owned(),
            class_missing: cluster.lacks(Kind::GatewayClass, gateway_class::NAME),
            by_object: by_object.collect(),
        }
    }
}

impl Report {
    /// `status` as the API server has it.
    pub(super) fn status(&self) -> &Value {
        &self.observed.status
    }
}

fn kind(newest: &Newest<'_>) -> Option<Kind> {
    match handling(newest.document.api_version(), newest.document.kind()) {
        Handling::Model(kind) => Some(kind),
        _ => None,
    }
}

/// The object's name in the model.
fn resource(kind: Kind, key: &DocumentKey) -> ResourceKey {
    let namespace = match kind.is_cluster_wide() {
        true => "",
        false => &key.object.namespace,
    };
    ResourceKey::new(kind.model_name(), namespace, &key.object.name)
}
