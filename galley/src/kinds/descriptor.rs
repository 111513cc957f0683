//! What the rest of galley knows about a kind without reading an object of it.

use super::definition::Definition;

/// A kind's names in a cluster, and how its objects are laid out there.
#[allow(dead_code, reason = "read once every kind is registered in `kinds`")]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Descriptor {
    /// The API group; empty for Kubernetes' own.
    pub(crate) group: &'static str,
    /// The kind.
    pub(crate) name: &'static str,
    /// The versions that are read, the newest first.
    pub(crate) versions: &'static [&'static str],
    /// Objects have no namespace.
    pub(crate) cluster_wide: bool,
    /// Objects are followed in a cluster.
    pub(crate) watched: bool,
    /// Where the wire struct's fields are.
    pub(crate) layout: Layout,
    /// The definition that a cluster gets with the mesh, for kinds that come with it.
    pub(crate) definition: Option<Definition>,
}

/// Where the fields of a kind are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// At the top of the object, as in Kubernetes' own kinds.
    Whole,
    /// Under `spec`, beside a `status` that is not read.
    Spec,
}

impl Descriptor {
    /// A kind of Kubernetes itself, in its only version.
    pub(crate) const fn kubernetes(group: &'static str, name: &'static str) -> Self {
        Self {
            group,
            name,
            versions: &["v1"],
            cluster_wide: false,
            watched: true,
            layout: Layout::Whole,
            definition: None,
        }
    }

    /// A kind whose definition comes from someone else than the mesh.
    pub(crate) const fn custom(
        group: &'static str,
        name: &'static str,
        versions: &'static [&'static str],
    ) -> Self {
        Self {
            versions,
            layout: Layout::Spec,
            ..Self::kubernetes(group, name)
        }
    }

    /// A kind whose definition comes with the mesh.
    pub(crate) const fn defined(definition: Definition) -> Self {
        Self {
            definition: Some(definition),
            ..Self::custom(definition.group, definition.kind, definition.versions)
        }
    }
}
