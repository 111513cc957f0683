//! Who may list Secrets, as roles and bindings among the manifests say where no API server decides.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::identity::SpiffeId;

/// The subjects of bindings to roles that permit to list every Secret of a namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SecretReaders {
    /// By the namespace of a RoleBinding.
    pub of_namespace: BTreeMap<Arc<str>, BTreeSet<Subject>>,
    /// Of ClusterRoleBindings.
    pub of_cluster: BTreeSet<Subject>,
}

/// Whom a binding is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A service account.
    ServiceAccount {
        /// Its namespace.
        namespace: Arc<str>,
        /// Its name.
        name: Arc<str>,
    },
    /// A user's name; service accounts have one as well.
    User(Arc<str>),
    /// A group's name.
    Group(Arc<str>),
}

/// The user's name that Kubernetes gives a service account.
pub fn user_of(account: &SpiffeId) -> String {
    let (namespace, name) = (&account.namespace, &account.service_account);
    format!("system:serviceaccount:{namespace}:{name}")
}

/// The groups that Kubernetes puts a service account in.
pub fn groups_of(account: &SpiffeId) -> [String; 3] {
    [
        "system:serviceaccounts".to_owned(),
        format!("system:serviceaccounts:{}", account.namespace),
        "system:authenticated".to_owned(),
    ]
}

impl SecretReaders {
    /// Whether a service account may list the Secrets of `namespace`.
    pub fn permit(&self, account: &SpiffeId, namespace: &str) -> bool {
        let of_namespace = self.of_namespace.get(namespace).into_iter().flatten();
        let mut subjects = of_namespace.chain(&self.of_cluster);
        subjects.any(|subject| subject.is(account))
    }
}

impl Subject {
    fn is(&self, account: &SpiffeId) -> bool {
        match self {
            Self::ServiceAccount { namespace, name } => {
                *namespace == account.namespace && *name == account.service_account
            }
            Self::User(user) => **user == *user_of(account),
            Self::Group(group) => groups_of(account).iter().any(|own| **own == **group),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(text: &str) -> SpiffeId {
        format!("spiffe://cluster.local/{text}").parse().unwrap()
    }

    #[test]
    fn subjects_are_the_account_its_user_and_its_groups() {
        let gateway = account("ns/istio-system/sa/gateway");
        let subjects = [
            Subject::ServiceAccount {
                namespace: "istio-system".into(),
                name: "gateway".into(),
            },
            Subject::User("system:serviceaccount:istio-system:gateway".into()),
            Subject::Group("system:serviceaccounts".into()),
            Subject::Group("system:serviceaccounts:istio-system".into()),
            Subject::Group("system:authenticated".into()),
        ];
        for subject in subjects {
            assert!(subject.is(&gateway), "{subject:?}");
        }
        let others = [
            Subject::ServiceAccount {
                namespace: "apps".into(),
                name: "gateway".into(),
            },
            Subject::User("gateway".into()),
            Subject::Group("system:serviceaccounts:apps".into()),
            Subject::Group("system:masters".into()),
        ];
        for subject in others {
            assert!(!subject.is(&gateway), "{subject:?}");
        }
    }

    #[test]
    fn a_role_binding_is_for_its_own_namespace() {
        let gateway = account("ns/istio-system/sa/gateway");
        let everyone = BTreeSet::from([Subject::Group("system:authenticated".into())]);
        let mut readers = SecretReaders::default();
        readers.of_namespace.insert("apps".into(), everyone.clone());
        assert!(readers.permit(&gateway, "apps"));
        assert!(!readers.permit(&gateway, "istio-system"));
        readers.of_cluster = everyone;
        assert!(readers.permit(&gateway, "istio-system"));
    }
}
