//! What the rest of galley knows about a kind without reading an object of it.

use super::definition::Definition;

/// A kind's names in a cluster, and how its objects are laid out there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Descriptor {
    /// The API group; empty for Kubernetes' own.
    pub(crate) group: &'static str,
    /// The kind.
    pub(crate) name: &'static str,
    /// The kind in names of objects of the model: two groups have a Gateway.
    pub(crate) model_name: &'static str,
    /// The versions that are read, the newest first.
    pub(crate) versions: &'static [&'static str],
    /// Objects have no namespace.
    pub(crate) cluster_wide: bool,
    /// Objects are followed in a cluster.
    pub(crate) watched: bool,
    /// The status says what this mesh made of an object.
    pub(crate) has_status: bool,
    /// How objects may be called.
    pub(crate) names: Names,
    /// Where the wire struct's fields are.
    pub(crate) layout: Layout,
    /// The definition that a cluster gets with the mesh, for kinds that come with it.
    pub(crate) definition: Option<Definition>,
}

/// Names of objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Names {
    /// Lower-case letters, digits, `-` and `.`.
    Dns,
    /// Whatever can stand in a path, such as `system:gateway`.
    PathSegment,
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
            model_name: name,
            versions: &["v1"],
            cluster_wide: false,
            watched: true,
            has_status: false,
            names: Names::Dns,
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
            has_status: true,
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
