//! Joins bindings with their roles.

use mesh_api::secret_readers::{SecretReaders, Subject};

use crate::kinds::Model;
use crate::kinds::role::Role;
use crate::kinds::role_binding::Binding;
use crate::store::Store;

/// The kinds that say who may list Secrets.
pub(super) const KINDS: [&str; 4] = ["Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"];

/// Who may list Secrets.
pub(super) fn secret_readers(store: &Store) -> SecretReaders {
    let mut readers = SecretReaders::default();
    for object in store.of_kind("RoleBinding") {
        let subjects = subjects(&object.model, store);
        if !subjects.is_empty() {
            let namespace = object.meta.key.namespace.clone();
            let of_namespace = readers.of_namespace.entry(namespace).or_default();
            of_namespace.extend(subjects.iter().cloned());
        }
    }
    for object in store.of_kind("ClusterRoleBinding") {
        let subjects = subjects(&object.model, store);
        readers.of_cluster.extend(subjects.iter().cloned());
    }
    readers
}

/// The subjects of a binding whose role lists Secrets.
fn subjects<'a>(binding: &'a Model, store: &Store) -> &'a [Subject] {
    let Model::Binding(binding) = binding else {
        return &[];
    };
    let Binding { role, subjects } = &**binding;
    let role = role.as_ref().and_then(|key| store.get(key));
    match role.map(|role| &role.model) {
        Some(Model::Role(Role {
            lists_secrets: true,
        })) => subjects,
        _ => &[],
    }
}
