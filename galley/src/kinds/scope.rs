//! What an object is read with: its own metadata, and the mesh it is in.

use std::sync::Arc;

use mesh_api::hostname::Hostname;
use mesh_api::mesh_config::MeshConfig;
use mesh_api::resource::{Meta, Origin, Visibility};

use super::findings::Findings;
use super::rules;
use crate::manifest::Document;
use crate::manifest::path::FieldPath;
use crate::work::Budget;

/// What reading depends on besides the object.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Mesh-wide settings.
    pub mesh: &'a MeshConfig,
    /// Name of the ConfigMap, in the root namespace, that holds those settings.
    pub config_map: &'a str,
    /// What reading the object may cost.
    pub budget: &'a Budget,
}

/// The same for one object.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scope<'a> {
    pub(crate) meta: &'a Meta,
    pub(crate) mesh: &'a MeshConfig,
    pub(crate) config_map: &'a str,
    pub(crate) budget: &'a Budget,
    pub(crate) document: &'a Document,
}

impl<'a> Scope<'a> {
    pub(crate) fn new(meta: &'a Meta, document: &'a Document, context: &Context<'a>) -> Self {
        Self {
            meta,
            mesh: context.mesh,
            config_map: context.config_map,
            budget: context.budget,
            document,
        }
    }

    /// Where a part of the object stands.
    pub(crate) fn origin(&self, path: &FieldPath<'_>) -> Origin {
        let position = path.position_in(&self.document.node);
        match self.document.origin() {
            Origin::File { path, .. } if position.line > 0 => Origin::File {
                path,
                line: position.line,
                column: position.column,
            },
            other => other,
        }
    }

    /// A host that the object names. A short name is one of the object's own namespace,
    /// never of the namespace that the service is in.
    pub(crate) fn host(
        &self,
        text: &str,
        path: &FieldPath<'_>,
        findings: &mut Findings<'_>,
    ) -> Option<Hostname> {
        let host = rules::host(text, path, findings)?;
        self.full_name(text, host, path, findings)
    }

    /// The full name of a host that has been read.
    pub(crate) fn full_name(
        &self,
        text: &str,
        host: Hostname,
        path: &FieldPath<'_>,
        findings: &mut Findings<'_>,
    ) -> Option<Hostname> {
        if text.contains(['.', '*']) {
            return Some(host);
        }
        let namespace = self.meta.namespace();
        let full = format!("{text}.{namespace}.svc.{}", self.mesh.cluster_domain);
        match full.parse() {
            Ok(host) => Some(host),
            Err(error) => {
                findings.consequence(path, format!("{error}"));
                None
            }
        }
    }

    /// `exportTo`, with the mesh's default for an empty list.
    pub(crate) fn visibility(&self, export_to: &[String], default: &Visibility) -> Visibility {
        visibility(export_to, self.meta.namespace()).unwrap_or_else(|| self.own(default))
    }

    /// A default of `.` means the object's namespace, wherever the object is.
    pub(crate) fn own(&self, default: &Visibility) -> Visibility {
        match default {
            Visibility::Namespaces(names) if names.contains(".") => {
                let own = names.iter().map(|name| match &**name {
                    "." => self.meta.key.namespace.clone(),
                    _ => name.clone(),
                });
                Visibility::Namespaces(own.collect())
            }
            other => other.clone(),
        }
    }
}

/// `exportTo`; nothing if the list is empty. `.` is replaced by `own`.
pub(crate) fn visibility(export_to: &[String], own: &str) -> Option<Visibility> {
    if export_to.is_empty() {
        return None;
    }
    if export_to.iter().any(|value| value == "*") {
        return Some(Visibility::Public);
    }
    if export_to.iter().any(|value| value == "~") {
        return Some(Visibility::None);
    }
    let names = export_to
        .iter()
        .map(|value| if value == "." { own } else { value.as_str() });
    Some(Visibility::Namespaces(names.map(Arc::from).collect()))
}
