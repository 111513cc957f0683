//! `RoleBinding` and `ClusterRoleBinding`: who has a role. Source: Kubernetes
//! `plugin/pkg/auth/authorizer/rbac`.
//!
//! References to roles that are not among the manifests, such as those that every cluster has, permit nothing.

use std::sync::Arc;

use k8s_openapi::api::rbac::v1 as rbac;
use mesh_api::resource::ResourceKey;
use mesh_api::secret_readers::Subject;

use super::descriptor::{Descriptor, Names};
use super::findings::Findings;
use super::read::Read;
use super::scope::Scope;

/// The API group of roles, bindings, users and groups.
pub(super) const GROUP: &str = "rbac.authorization.k8s.io";

/// A RoleBinding or a ClusterRoleBinding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The role; none if the reference is to no role at all.
    pub role: Option<ResourceKey>,
    /// Whom it is for.
    pub subjects: Vec<Subject>,
}

impl Read for rbac::RoleBinding {
    const KIND: Descriptor = Descriptor {
        watched: false,
        names: Names::PathSegment,
        ..Descriptor::kubernetes(GROUP, "RoleBinding")
    };

    type Model = Arc<Binding>;

    fn read(&self, scope: &Scope<'_>, _: &mut Findings<'_>) -> Option<Arc<Binding>> {
        let subjects = self.subjects.as_deref();
        Some(Arc::new(binding(&self.role_ref, subjects, scope)))
    }
}

impl Read for rbac::ClusterRoleBinding {
    const KIND: Descriptor = Descriptor {
        cluster_wide: true,
        watched: false,
        names: Names::PathSegment,
        ..Descriptor::kubernetes(GROUP, "ClusterRoleBinding")
    };

    type Model = Arc<Binding>;

    fn read(&self, scope: &Scope<'_>, _: &mut Findings<'_>) -> Option<Arc<Binding>> {
        let subjects = self.subjects.as_deref();
        Some(Arc::new(binding(&self.role_ref, subjects, scope)))
    }
}

fn binding(role: &rbac::RoleRef, subjects: Option<&[rbac::Subject]>, scope: &Scope<'_>) -> Binding {
    let in_namespace = scope.meta.namespace();
    let role = match (group(role.api_group.as_deref()), &*role.kind) {
        (None | Some(GROUP), "Role") if !in_namespace.is_empty() => {
            Some(ResourceKey::new("Role", in_namespace, &role.name))
        }
        (None | Some(GROUP), "ClusterRole") => {
            Some(ResourceKey::new("ClusterRole", "", &role.name))
        }
        _ => None,
    };
    let subjects = subjects.unwrap_or_default().iter();
    Binding {
        role,
        subjects: subjects.filter_map(subject).collect(),
    }
}

fn subject(wire: &rbac::Subject) -> Option<Subject> {
    let name = Arc::from(wire.name.as_str());
    match (&*wire.kind, group(wire.api_group.as_deref())) {
        ("ServiceAccount", None) => Some(Subject::ServiceAccount {
            namespace: wire.namespace.as_deref()?.into(),
            name,
        }),
        ("User", None | Some(GROUP)) => Some(Subject::User(name)),
        ("Group", None | Some(GROUP)) => Some(Subject::Group(name)),
        _ => None,
    }
}

/// The API server fills in what the kind tells where no group is written.
fn group(written: Option<&str>) -> Option<&str> {
    written.filter(|group| !group.is_empty())
}
