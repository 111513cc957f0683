//! What the API server sends, read without what nobody looks at: `managedFields` is
//! often larger than the object, and a definition's schema always is.
//!
//! `DynamicObject` reads everything, and its flattened fields twice.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use ::kube::Resource;
use ::kube::api::ApiResource;
use ::kube::core::DynamicResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// An object.
#[derive(Debug, Clone, Default)]
pub(super) struct Received {
    pub(super) metadata: ObjectMeta,
    /// Its other fields, but for kind and version.
    pub(super) fields: Map<String, Value>,
}

/// A CustomResourceDefinition: which kind, and which versions are there.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Definition {
    #[serde(deserialize_with = "metadata")]
    pub(super) metadata: ObjectMeta,
    pub(super) spec: DefinitionSpec,
    pub(super) status: DefinitionStatus,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct DefinitionSpec {
    pub(super) group: String,
    pub(super) versions: Vec<DefinitionVersion>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct DefinitionVersion {
    pub(super) name: String,
    pub(super) served: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct DefinitionStatus {
    pub(super) conditions: Option<Vec<Condition>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Condition {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) status: String,
}

/// The part of metadata that is read.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metadata {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    generation: Option<i64>,
    creation_timestamp: Option<Time>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
    generate_name: Option<String>,
    owner_references: Option<Vec<OwnerReference>>,
}

fn metadata<'de, D: Deserializer<'de>>(from: D) -> Result<ObjectMeta, D::Error> {
    Ok(Metadata::deserialize(from)?.into())
}

impl From<Metadata> for ObjectMeta {
    fn from(read: Metadata) -> Self {
        Self {
            name: read.name,
            namespace: read.namespace,
            uid: read.uid,
            resource_version: read.resource_version,
            generation: read.generation,
            creation_timestamp: read.creation_timestamp,
            labels: read.labels,
            annotations: read.annotations,
            generate_name: read.generate_name,
            owner_references: read.owner_references,
            ..Self::default()
        }
    }
}

impl<'de> Deserialize<'de> for Received {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Fields)
    }
}

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Received;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Received, A::Error> {
        let mut received = Received::default();
        while let Some(name) = map.next_key::<String>()? {
            match &*name {
                "apiVersion" | "kind" => {
                    map.next_value::<IgnoredAny>()?;
                }
                "metadata" => received.metadata = map.next_value::<Metadata>()?.into(),
                _ => {
                    received.fields.insert(name, map.next_value()?);
                }
            }
        }
        Ok(received)
    }
}

macro_rules! resource {
    ($($of:ty,)*) => {$(
        impl Resource for $of {
            type DynamicType = ApiResource;
            type Scope = DynamicResourceScope;

            fn group(resource: &ApiResource) -> Cow<'_, str> {
                resource.group.as_str().into()
            }

            fn version(resource: &ApiResource) -> Cow<'_, str> {
                resource.version.as_str().into()
            }

            fn kind(resource: &ApiResource) -> Cow<'_, str> {
                resource.kind.as_str().into()
            }

            fn api_version(resource: &ApiResource) -> Cow<'_, str> {
                resource.api_version.as_str().into()
            }

            fn plural(resource: &ApiResource) -> Cow<'_, str> {
                resource.plural.as_str().into()
            }

            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }

            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }
    )*};
}

resource! {
    Received,
    Definition,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_nobody_looks_at_is_left_out() {
        let object = json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {
                "name": "reviews",
                "labels": null,
                "generation": 3,
                "creationTimestamp": "2026-01-02T03:04:05Z",
                "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}],
                "fieldOfALaterKubernetes": {},
            },
            "spec": {"ports": []},
            "status": {},
        });
        let received: Received = serde_json::from_value(object).unwrap();
        assert_eq!(received.metadata.name.as_deref(), Some("reviews"));
        assert_eq!(received.metadata.generation, Some(3));
        assert!(received.metadata.creation_timestamp.is_some());
        assert!(received.metadata.managed_fields.is_none());
        let fields: Vec<&String> = received.fields.keys().collect();
        assert_eq!(fields, ["spec", "status"]);
        assert!(serde_json::from_value::<Received>(json!([])).is_err());
    }

    #[test]
    fn a_definition_is_its_versions() {
        let definition = json!({
            "metadata": {"name": "gateways.networking.istio.io"},
            "spec": {
                "group": "networking.istio.io",
                "names": {"plural": "gateways"},
                "versions": [{"name": "v1", "served": true, "schema": {"openAPIV3Schema": {}}}],
            },
            "status": {"conditions": [{"type": "Established", "status": "True", "reason": "x"}]},
        });
        let definition: Definition = serde_json::from_value(definition).unwrap();
        assert_eq!(definition.spec.versions[0].name, "v1");
        assert!(definition.spec.versions[0].served);
        assert_eq!(definition.status.conditions.unwrap()[0].kind, "Established");
    }
}
