//! One object as the API server sends it, as a document and what goes with it.

use std::sync::Arc;

use mesh_api::resource::ResourceKey;
use serde_json::{Map, Value, json};

use super::keep::Keep;
use super::received::Received;
use crate::kind::Kind;
use crate::manifest::node::Node;
use crate::manifest::{Document, Place};
use crate::store::DocumentKey;

/// Configuration with this label is for control planes of that revision only.
const REVISION: &str = "istio.io/rev";

/// `kubectl apply` keeps a copy of the whole object here.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What the model has no use for, but the writer of status does.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Observed {
    /// `metadata.uid`.
    pub(crate) uid: String,
    /// `metadata.generation`.
    pub(crate) generation: i64,
    /// `status`, where there is one.
    pub(crate) status: Value,
}

/// An object of the cluster.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(super) key: DocumentKey,
    /// Nothing for an object that is of no concern.
    pub(super) document: Option<Arc<Document>>,
    pub(super) observed: Observed,
}

/// The name under which an object's document is kept.
pub(super) fn key(kind: Kind, object: &Received) -> DocumentKey {
    let namespace = object.metadata.namespace.as_deref().unwrap_or("default");
    let name = object.metadata.name.as_deref().unwrap_or_default();
    DocumentKey {
        group: kind.group().into(),
        object: ResourceKey::new(kind.name(), namespace, name),
    }
}

impl Item {
    /// Takes an object over. `api_version` is the one that was asked for: items of
    /// lists need not name it.
    pub(super) fn new(kind: Kind, api_version: &str, revision: &str, mut object: Received) -> Self {
        let key = key(kind, &object);
        let version = object.metadata.resource_version.as_deref();
        let place = Place::Cluster(version.unwrap_or_default().into());
        let status = match kind.has_status() {
            true => object.fields.remove("status").unwrap_or_default(),
            false => Value::Null,
        };
        let observed = Observed {
            uid: object.metadata.uid.clone().unwrap_or_default(),
            generation: object.metadata.generation.unwrap_or_default(),
            status,
        };
        let labels = object.metadata.labels.as_ref();
        let other_revision = labels
            .and_then(|labels| labels.get(REVISION))
            .is_some_and(|label| kind.needs_definition() && label != revision);
        let data = Keep::of(kind).apply(Value::Object(object.fields));
        let concerned = !other_revision && (kind != Kind::Secret || is_credential(&data));
        let document = concerned.then(|| {
            let json = whole(kind, api_version, metadata(kind, &object.metadata), data);
            Arc::new(Document {
                place,
                node: Node::from_json(&json),
            })
        });
        Self {
            key,
            document,
            observed,
        }
    }
}

fn whole(kind: Kind, api_version: &str, metadata: Value, data: Value) -> Value {
    let mut object = Map::new();
    object.insert("apiVersion".to_owned(), api_version.into());
    object.insert("kind".to_owned(), kind.name().into());
    object.insert("metadata".to_owned(), metadata);
    if let Value::Object(fields) = data {
        object.extend(fields);
    }
    Value::Object(object)
}

type ObjectMeta = k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Name, age, labels, annotations, and what names a pod's workload.
fn metadata(kind: Kind, meta: &ObjectMeta) -> Value {
    let mut kept = json!({
        "name": meta.name,
        "creationTimestamp": meta.creation_timestamp,
    });
    if let Some(namespace) = &meta.namespace {
        kept["namespace"] = json!(namespace);
    }
    if let Some(labels) = &meta.labels {
        kept["labels"] = json!(labels);
    }
    // Annotations of these kinds are the notes of controllers, and change all the time.
    let annotated = !matches!(kind, Kind::Node | Kind::EndpointSlice);
    if let Some(annotations) = meta.annotations.as_ref().filter(|_| annotated) {
        let mut annotations = annotations.clone();
        annotations.remove(LAST_APPLIED);
        kept["annotations"] = json!(annotations);
    }
    if kind == Kind::Pod {
        kept["generateName"] = json!(meta.generate_name);
        kept["ownerReferences"] = json!(meta.owner_references);
    }
    kept
}

/// Certificates come as `kubernetes.io/tls` or as a generic Secret with Istio's keys.
/// Other Secrets are none of our business, whatever they call their keys.
fn is_credential(secret: &Value) -> bool {
    let has = |key: &str| secret["data"][key].is_string();
    match secret["type"].as_str() {
        Some("kubernetes.io/tls") => true,
        Some("Opaque" | "") | None => {
            has("tls.crt") || has("ca.crt") || has("cacert") || (has("cert") && has("key"))
        }
        Some(_) => false,
    }
}
