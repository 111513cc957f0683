//! The definitions (CustomResourceDefinitions) of Istio's kinds, for a cluster.
//!
//! Names, versions and printer columns are Istio's, so that either set of
//! definitions serves either control plane; the schemas come from the wire structs.
//! `charts/base/crds` holds what is generated here, and a test compares. All versions
//! of a kind have one schema, so nothing is ever converted.

pub(crate) mod constraint;
mod schema;

use schemars::JsonSchema;
use serde_json::{Value, json};

/// The label by which our definitions are told from others of the same name.
pub const PART_OF_LABEL: (&str, &str) = ("app.kubernetes.io/part-of", "weft");

pub(super) const NETWORKING: &str = "networking.istio.io";
const SECURITY: &str = "security.istio.io";

pub(super) const NETWORKING_VERSIONS: &[&str] = &["v1", "v1beta1", "v1alpha3"];
const SECURITY_VERSIONS: &[&str] = &["v1", "v1beta1"];

/// A kind in a cluster.
#[derive(Debug, Clone, Copy)]
pub struct Definition {
    /// API group.
    pub group: &'static str,
    /// Kind.
    pub kind: &'static str,
    /// Name in paths.
    pub plural: &'static str,
    /// Names for `kubectl`.
    pub short_names: &'static [&'static str],
    /// Served versions; the first one is stored.
    pub versions: &'static [&'static str],
    pub(crate) columns: &'static [Column],
    /// Nothing for kinds whose content is not looked at.
    pub(crate) spec: Option<fn() -> Value>,
    pub(crate) spec_required: bool,
}

/// A column of `kubectl get`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    name: &'static str,
    path: &'static str,
    kind: &'static str,
    description: &'static str,
}

/// The schema of a wire struct, or of a kind of Kubernetes.
#[cfg(any(test, feature = "test-util"))]
pub(crate) fn schema_of<T: JsonSchema>() -> Value {
    schema::of::<T>()
}

impl Definition {
    /// A kind of networking.istio.io with nothing special about it.
    pub(crate) const fn networking<T: JsonSchema>(
        kind: &'static str,
        plural: &'static str,
    ) -> Self {
        Self::new::<T>(NETWORKING, kind, plural, NETWORKING_VERSIONS)
    }

    /// The same of security.istio.io.
    pub(crate) const fn security<T: JsonSchema>(kind: &'static str, plural: &'static str) -> Self {
        Self::new::<T>(SECURITY, kind, plural, SECURITY_VERSIONS)
    }

    /// The same of any group.
    pub(crate) const fn new<T: JsonSchema>(
        group: &'static str,
        kind: &'static str,
        plural: &'static str,
        versions: &'static [&'static str],
    ) -> Self {
        Self {
            group,
            kind,
            plural,
            short_names: &[],
            versions,
            columns: &[Column::AGE],
            spec: Some(schema::of::<T>),
            spec_required: false,
        }
    }

    /// The definition's name, which is also that of its file.
    pub fn name(&self) -> String {
        format!("{}.{}", self.plural, self.group)
    }

    /// The CustomResourceDefinition.
    pub fn manifest(&self) -> Value {
        let singular = self.kind.to_lowercase();
        let mut names = json!({
            "kind": self.kind,
            "listKind": format!("{}List", self.kind),
            "plural": self.plural,
            "singular": singular,
            "categories": ["istio-io", self.group.replace('.', "-")],
        });
        if !self.short_names.is_empty() {
            names["shortNames"] = json!(self.short_names);
        }
        let schema = schema::object(self.spec, self.spec_required);
        let versions: Vec<Value> = self
            .versions
            .iter()
            .enumerate()
            .map(|(position, version)| self.version(version, position == 0, &schema))
            .collect();
        json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {
                "name": self.name(),
                "labels": {PART_OF_LABEL.0: PART_OF_LABEL.1},
            },
            "spec": {
                "group": self.group,
                "names": names,
                "scope": "Namespaced",
                "versions": versions,
            },
        })
    }

    fn version(&self, name: &str, stored: bool, schema: &Value) -> Value {
        let columns: Vec<Value> = self.columns.iter().map(Column::manifest).collect();
        let mut version = json!({
            "name": name,
            "served": true,
            "storage": stored,
            "subresources": {"status": {}},
            "schema": {"openAPIV3Schema": schema},
        });
        if !columns.is_empty() {
            version["additionalPrinterColumns"] = columns.into();
        }
        version
    }
}

impl Column {
    /// When the object was created.
    pub(crate) const AGE: Self = Self {
        name: "Age",
        path: ".metadata.creationTimestamp",
        kind: "date",
        description: "When the object was created",
    };

    /// The text at `path`.
    pub(crate) const fn text(
        name: &'static str,
        path: &'static str,
        description: &'static str,
    ) -> Self {
        Self {
            name,
            path,
            kind: "string",
            description,
        }
    }

    fn manifest(&self) -> Value {
        json!({
            "name": self.name,
            "jsonPath": self.path,
            "type": self.kind,
            "description": self.description,
        })
    }
}
