//! Which object something came from.

use std::fmt;
use std::sync::Arc;

/// The name of an object: kind, namespace, name. The namespace is empty for cluster-wide kinds.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResourceKey {
    /// The kind, e.g. `VirtualService`.
    pub kind: Arc<str>,
    /// The namespace.
    pub namespace: Arc<str>,
    /// The name.
    pub name: Arc<str>,
}

impl ResourceKey {
    /// A key from its parts.
    pub fn new(kind: &str, namespace: &str, name: &str) -> Self {
        Self {
            kind: kind.into(),
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for ResourceKey {
    /// `Kind namespace/name`, or `Kind name` for cluster-wide kinds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{} {}", self.kind, self.name)
        } else {
            write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}

/// Where an object, or a part of it, was written.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Origin {
    /// In a file.
    File {
        /// The path as the user gave it.
        path: Arc<str>,
        /// 1-based line.
        line: u32,
        /// 1-based column.
        column: u32,
    },
    /// In a cluster.
    Cluster {
        /// `metadata.resourceVersion`.
        resource_version: Arc<str>,
    },
    /// Made by the mesh itself.
    BuiltIn,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line, column } => write!(f, "{path}:{line}:{column}"),
            Self::Cluster { resource_version } => {
                write!(f, "cluster object at version {resource_version}")
            }
            Self::BuiltIn => f.write_str("built in"),
        }
    }
}

/// What every configuration object carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// Which object.
    pub key: ResourceKey,
    /// Where it stands.
    pub origin: Origin,
    /// Age decides conflicts: seconds since 1970, then the name, then the namespace.
    pub creation_seconds: i64,
    /// Labels of the object itself.
    pub labels: crate::labels::Labels,
    /// Annotations of the object itself.
    pub annotations: crate::labels::Labels,
}

/// What came from a configuration object.
pub trait HasMeta {
    /// The object.
    fn meta(&self) -> &Meta;
}

impl HasMeta for Meta {
    fn meta(&self) -> &Meta {
        self
    }
}

macro_rules! has_meta {
    ($($of:ty,)*) => {$(
        impl HasMeta for $of {
            fn meta(&self) -> &Meta {
                &self.meta
            }
        }
    )*};
}

has_meta! {
    crate::authn::PeerAuthentication,
    crate::authn::RequestAuthentication,
    crate::authz::AuthorizationPolicy,
    crate::gateway::Gateway,
    crate::route::VirtualService,
    crate::sidecar::Sidecar,
    crate::telemetry::Telemetry,
    crate::traffic_policy::DestinationRule,
}

impl Meta {
    /// The order in which conflicting objects win: oldest first, ties by name, then namespace.
    pub fn age_order(&self) -> (i64, &str, &str) {
        (self.creation_seconds, &self.key.name, &self.key.namespace)
    }

    /// The object's namespace.
    pub fn namespace(&self) -> &str {
        &self.key.namespace
    }

    /// The object's name.
    pub fn name(&self) -> &str {
        &self.key.name
    }
}

/// Who may see an object (`exportTo`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum Visibility {
    /// Every namespace (`*`).
    #[default]
    Public,
    /// Nobody (`~`).
    None,
    /// These namespaces (`.` is already the object's own).
    Namespaces(std::collections::BTreeSet<Arc<str>>),
}

impl Visibility {
    /// True if a client in `namespace` may see the object.
    pub fn includes(&self, namespace: &str) -> bool {
        match self {
            Self::Public => true,
            Self::None => false,
            Self::Namespaces(names) => names.contains(namespace),
        }
    }
}
