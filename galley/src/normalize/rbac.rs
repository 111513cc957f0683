//! Roles and bindings, as far as they say who may list Secrets. Only configuration from directories holds them: in
//! a cluster the API server is asked. Source: Kubernetes `pkg/registry/rbac/validation` and
//! `plugin/pkg/auth/authorizer/rbac`.
//!
//! What cannot be decided here permits nothing: rules for single names (a list is of all), aggregated ClusterRoles,
//! and roles that are not among the manifests, such as those that every cluster has.

use std::sync::Arc;

use k8s_openapi::api::rbac::v1 as rbac;
use mesh_api::resource::ResourceKey;
use mesh_api::secret_readers::Subject;

use super::Scope;

/// The API group of roles, bindings, users and groups.
const GROUP: &str = "rbac.authorization.k8s.io";

/// A RoleBinding or a ClusterRoleBinding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The role; none if the reference is to no role at all.
    pub role: Option<ResourceKey>,
    /// Whom it is for.
    pub subjects: Vec<Subject>,
}

/// Whether one of the rules permits to list all Secrets.
pub(super) fn lists_secrets(rules: Option<&[rbac::PolicyRule]>) -> bool {
    rules.into_iter().flatten().any(|rule| {
        let names = rule.resource_names.as_deref().unwrap_or_default();
        names.is_empty()
            && holds(rule.api_groups.as_deref(), "")
            && holds(rule.resources.as_deref(), "secrets")
            && holds(Some(&rule.verbs), "list")
    })
}

fn holds(list: Option<&[String]>, value: &str) -> bool {
    let mut list = list.unwrap_or_default().iter();
    list.any(|one| one == value || one == "*")
}

pub(super) fn binding(
    role: &rbac::RoleRef,
    subjects: Option<&[rbac::Subject]>,
    scope: &Scope<'_>,
) -> Binding {
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
