//! The kinds, each with a small object that is legal and the schema of what can be made large in it.

use serde_json::{Value, json};

use super::field::{Field, Filling};
use crate::kinds;
use crate::kinds::definition::schema_of;
use crate::kinds::descriptor::Layout;
use crate::kinds::mesh_config::{self, WireMesh};

/// A kind.
#[derive(Debug, Clone)]
pub(super) struct Kind {
    kind: kinds::Kind,
    part: Part,
    schema: Value,
    /// Legal contents of the part. Items that are repeated look like the first one here.
    sample: Value,
}

/// What the schema describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// The whole object.
    Whole,
    /// Its `spec`.
    Spec,
    /// Text in YAML, under this key of its `data`.
    Embedded(&'static str),
}

/// Every kind that may be reviewed: roles come from directories alone.
pub(super) fn all() -> Vec<Kind> {
    let kinds = kinds::Kind::ALL.iter().copied();
    let reviewed = kinds.filter(|kind| kind.group() != "rbac.authorization.k8s.io");
    reviewed.map(Kind::of).collect()
}

impl Kind {
    fn of(kind: kinds::Kind) -> Self {
        let (schema, sample) = kind.example();
        if kind == kinds::Kind::ConfigMap {
            return Self {
                kind,
                part: Part::Embedded(mesh_config::KEY),
                schema: schema_of::<WireMesh>(),
                sample: json!({}),
            };
        }
        Self {
            kind,
            part: match kind.descriptor().layout {
                Layout::Whole => Part::Whole,
                Layout::Spec => Part::Spec,
            },
            schema,
            sample,
        }
    }

    pub(super) fn name(&self) -> &'static str {
        self.kind.name()
    }

    pub(super) fn fields(&self) -> Vec<Field> {
        let mut schema = self.schema.clone();
        if let Some(Value::Object(properties)) = schema.get_mut("properties")
            && self.part == Part::Whole
        {
            for other in ["apiVersion", "kind", "status"] {
                properties.remove(other);
            }
            // Names and labels are the same in all kinds.
            if self.kind != kinds::Kind::Namespace {
                properties.remove("metadata");
            }
        }
        let mut fields = Field::of(&schema);
        fields.retain(|field| self.part != Part::Whole || field.levels() <= KUBERNETES_LEVELS_MAX);
        fields
    }

    /// The object of about `bytes`, never of more.
    pub(super) fn object(&self, field: &Field, filling: Filling, bytes: usize) -> Value {
        let make = |count| self.around(field.filled(&self.sample, filling, count));
        let size = |object: &Value| serde_json::to_string(object).map_or(0, |text| text.len());
        // Numbers grow by digits, so the size of the last item is that of the others or more.
        let (one, many) = (size(&make(1)), size(&make(20)));
        let each = (many.saturating_sub(one) / 19 + 6).max(1);
        make(bytes.saturating_sub(one) / each + 1)
    }

    fn around(&self, part: Value) -> Value {
        let group = self.kind.group();
        let version = match group.is_empty() {
            true => "v1".to_owned(),
            false => format!("{group}/v1"),
        };
        let mut object = json!({
            "apiVersion": version,
            "kind": self.name(),
            "metadata": {"name": "istio", "namespace": "istio-system"},
        });
        match (self.part, part) {
            (Part::Embedded(key), part) => {
                object["data"] = json!({key: serde_json::to_string(&part).unwrap_or_default()});
            }
            (Part::Spec, part) => object["spec"] = part,
            (Part::Whole, Value::Object(fields)) => {
                for (name, value) in fields {
                    match (name.as_str(), value) {
                        ("metadata", Value::Object(more)) => {
                            for (name, value) in more {
                                object["metadata"][&name] = value;
                            }
                        }
                        (_, value) => object[&name] = value,
                    }
                }
            }
            (Part::Whole, _) => {}
        }
        object
    }
}

/// Pods have a thousand fields that are only read, all alike.
const KUBERNETES_LEVELS_MAX: usize = 4;
