//! Mesh-wide settings: a document under key `mesh` of a ConfigMap in the root namespace.

mod access_log;
mod fields;
mod proxy;
mod settings;
mod unsupported;
mod wire;

use std::sync::Arc;

use k8s_openapi::api::core::v1::ConfigMap;
use mesh_api::mesh_config::MeshConfig;

pub(crate) use self::wire::WireMesh;
use super::descriptor::Descriptor;
use super::findings::Findings;
use super::read::Read;
use super::scope::Scope;
use crate::decode::decode;
use crate::decode::finding::{Finding, code};
use crate::manifest;
use crate::manifest::node::{Node, Position};
use crate::manifest::path::FieldPath;

/// The ConfigMap's name, unless the control plane has a revision.
pub(crate) const NAME: &str = "istio";

/// The key of the ConfigMap.
pub(crate) const KEY: &str = "mesh";

impl Read for ConfigMap {
    const KIND: Descriptor = Descriptor::kubernetes("", "ConfigMap");

    /// Nothing for all other ConfigMaps.
    type Model = Option<Arc<MeshConfig>>;

    fn read(
        &self,
        scope: &Scope<'_>,
        findings: &mut Findings<'_>,
    ) -> Option<Option<Arc<MeshConfig>>> {
        let ours = scope.meta.name() == scope.config_map
            && *scope.meta.key.namespace == *scope.mesh.root_namespace;
        let text = self.data.as_ref().and_then(|data| data.get(KEY));
        let Some(text) = text.filter(|_| ours) else {
            return Some(None);
        };
        embedded(text, scope, findings).map(|mesh| Some(Arc::new(mesh)))
    }
}

fn embedded(text: &str, scope: &Scope<'_>, findings: &mut Findings<'_>) -> Option<MeshConfig> {
    let root = FieldPath::ROOT;
    let data = root.field("data");
    let path = data.field(KEY);
    let place = Place::of(findings.root(), &path, text);
    let node = match manifest::parse_value(text) {
        Ok(node) => node,
        Err((position, message)) => {
            let finding = Finding::error(code::BROKEN_DOCUMENT, path.to_string(), message);
            findings.add(finding.at(place.shift(position)));
            return None;
        }
    };
    let (wire, mut found) = decode::<WireMesh>(&node, &path, scope.budget);
    // Positions are looked up in the embedded tree, whose root is the setting.
    let mut inner = Findings::new(&node, scope.budget);
    let mesh = wire.and_then(|wire| settings::read(&wire, scope, &mut inner));
    found.extend(inner.into_vec().into_iter().map(|mut finding| {
        let dot = if finding.path.is_empty() { "" } else { "." };
        finding.path = format!("{path}{dot}{}", finding.path);
        finding
    }));
    for finding in found {
        let position = place.shift(finding.position);
        findings.add(finding.at(position));
    }
    mesh
}

/// Where the embedded text begins in its file.
struct Place {
    line: u32,
    column: u32,
    block: bool,
}

impl Place {
    fn of(root: &Node, path: &FieldPath<'_>, text: &str) -> Self {
        let position = path.position_in(root);
        Self {
            line: position.line,
            column: position.column,
            block: text.contains('\n'),
        }
    }

    /// The text of a block scalar begins on the line after its key; its indentation
    /// is not known any more, so the column is left at the line's beginning.
    fn shift(&self, inner: Position) -> Position {
        match self.block && self.line > 0 {
            true => Position {
                line: self.line + inner.line,
                column: 1,
            },
            false => Position {
                line: self.line,
                column: self.column,
            },
        }
    }
}
