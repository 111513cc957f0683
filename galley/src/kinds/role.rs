//! `Role` and `ClusterRole`, as far as they say who may list Secrets. Only configuration from directories holds them:
//! in a cluster the API server is asked. Source: Kubernetes `pkg/registry/rbac/validation`.
//!
//! What cannot be decided here permits nothing: rules for single names (a list is of all), and aggregated ClusterRoles.

use k8s_openapi::api::rbac::v1 as rbac;

use super::descriptor::{Descriptor, Names};
use super::findings::Findings;
use super::read::Read;
use super::role_binding::GROUP;
use super::scope::Scope;

/// A Role or a ClusterRole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Role {
    /// Whether it permits to list all Secrets.
    pub lists_secrets: bool,
}

impl Read for rbac::Role {
    const KIND: Descriptor = Descriptor {
        watched: false,
        names: Names::PathSegment,
        ..Descriptor::kubernetes(GROUP, "Role")
    };

    type Model = Role;

    fn read(&self, _: &Scope<'_>, _: &mut Findings<'_>) -> Option<Role> {
        Some(Role {
            lists_secrets: lists_secrets(self.rules.as_deref()),
        })
    }
}

impl Read for rbac::ClusterRole {
    const KIND: Descriptor = Descriptor {
        cluster_wide: true,
        watched: false,
        names: Names::PathSegment,
        ..Descriptor::kubernetes(GROUP, "ClusterRole")
    };

    type Model = Role;

    fn read(&self, _: &Scope<'_>, _: &mut Findings<'_>) -> Option<Role> {
        Some(Role {
            lists_secrets: lists_secrets(self.rules.as_deref()),
        })
    }
}

/// Whether one of the rules permits to list all Secrets.
fn lists_secrets(rules: Option<&[rbac::PolicyRule]>) -> bool {
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
