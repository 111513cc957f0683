//! What the user may do, asked before anything is done.

use anyhow::{Context, Result};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::{Api, Client, api::PostParams};

/// Group and resource of everything that an installation creates, and whether it is in a namespace.
const NEEDED: [(&str, &str, bool); 13] = [
    ("", "namespaces", false),
    ("apiextensions.k8s.io", "customresourcedefinitions", false),
    ("rbac.authorization.k8s.io", "clusterroles", false),
    ("rbac.authorization.k8s.io", "clusterrolebindings", false),
    (
        "admissionregistration.k8s.io",
        "mutatingwebhookconfigurations",
        false,
    ),
    (
        "admissionregistration.k8s.io",
        "validatingwebhookconfigurations",
        false,
    ),
    ("rbac.authorization.k8s.io", "roles", true),
    ("rbac.authorization.k8s.io", "rolebindings", true),
    ("", "serviceaccounts", true),
    ("", "services", true),
    ("", "configmaps", true),
    ("", "secrets", true),
    ("apps", "deployments", true),
];

/// What the user may not create, as `RESOURCE.GROUP`.
pub async fn missing(client: &Client, namespace: &str) -> Result<Vec<String>> {
    let mut missing = Vec::new();
    for (group, resource, namespaced) in NEEDED {
        let namespace = namespaced.then(|| namespace.to_owned());
        if !may_create(client, group, resource, namespace).await? {
            missing.push(match group {
                "" => resource.to_owned(),
                group => format!("{resource}.{group}"),
            });
        }
    }
    Ok(missing)
}

async fn may_create(
    client: &Client,
    group: &str,
    resource: &str,
    namespace: Option<String>,
) -> Result<bool> {
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                group: Some(group.to_owned()),
                resource: Some(resource.to_owned()),
                verb: Some("create".to_owned()),
                namespace,
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let answer = api.create(&PostParams::default(), &review).await;
    let answer = answer.context("permissions cannot be asked for")?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}
