//! What galley may need to do in a cluster, for the roles of charts and for those who
//! check them.

use crate::kind::Kind;

/// Verbs on resources of one kind in all namespaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permission {
    /// The API group.
    pub group: &'static str,
    /// The resource, with its subresource.
    pub resource: String,
    /// What is done.
    pub verbs: &'static [&'static str],
}

impl Permission {
    fn new(
        group: &'static str,
        resource: impl Into<String>,
        verbs: &'static [&'static str],
    ) -> Self {
        Self {
            group,
            resource: resource.into(),
            verbs,
        }
    }
}

/// Everything that [`KubeSource`](crate::source::kube::KubeSource) reads. The mesh
/// configuration is read in the control plane's namespace alone.
pub fn reading() -> Vec<Permission> {
    const READ: &[&str] = &["list", "watch"];
    let definitions = Permission::new("apiextensions.k8s.io", "customresourcedefinitions", READ);
    let kinds = Kind::watched().filter(|kind| *kind != Kind::ConfigMap);
    let watched = kinds.map(|kind| Permission::new(kind.group(), kind.plural(), READ));
    std::iter::once(definitions).chain(watched).collect()
}

/// Everything that [`StatusWriter`](crate::status::StatusWriter) writes.
pub fn writing() -> Vec<Permission> {
    const CREATE: &[&str] = &["create", "patch"];
    let statuses = Kind::watched().filter(|kind| kind.has_status());
    let statuses = statuses.map(|kind| {
        let resource = format!("{}/status", kind.plural());
        Permission::new(kind.group(), resource, &["patch"])
    });
    let made = [
        ("events.k8s.io", "events"),
        ("", "serviceaccounts"),
        ("", "services"),
        ("apps", "deployments"),
    ];
    let made = made
        .into_iter()
        .map(|(group, name)| Permission::new(group, name, CREATE));
    statuses.chain(made).collect()
}
