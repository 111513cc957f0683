//! What an uninstalled mesh leaves behind, because no release owns it.

use std::{fmt::Debug, time::Duration};

use anyhow::{Context, Result};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::Deployment,
        coordination::v1::Lease,
        core::v1::{ConfigMap, Namespace, Pod, Secret, Service, ServiceAccount},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams},
};
use serde::de::DeserializeOwned;

use super::definitions;

/// The roots, in every namespace.
const ROOTS: &str = "istio-ca-root-cert";

/// The certificate authority that the control plane made; one that was plugged in belongs to the user.
const AUTHORITY: &str = "istio-ca-secret";

/// What the names of leases begin with.
const LEASES: &str = "istio-leader";

/// The class of Gateways of the Gateway API that the control plane made, and whose Gateways it serves.
const GATEWAY_CLASS: &str = "istio";
const CONTROLLER: &str = "istio.io/gateway-controller";

/// What Kubernetes itself puts into a namespace.
const BUILT_IN: &str = "kube-root-ca.crt";

/// How long pods may take to end.
const PODS_END: Duration = Duration::from_secs(60);

/// How long the API server may take to remove what was deleted: a definition goes with its objects, a namespace with
/// its content.
const GONE: Duration = Duration::from_secs(180);

/// The label of what the control plane made for a Gateway of the Gateway API.
const GATEWAY_CLASS_LABEL: &str = "gateway.networking.k8s.io/gateway-class-name";

/// Removes everything, and returns when it is gone; a line for each thing.
pub async fn run(client: &Client, namespace: &str) -> Result<Vec<String>> {
    wait_for_pods(client, namespace).await?;
    let gateways = remove_gateways(client).await?;
    let definitions = definitions::delete(client).await?;
    let all: Api<CustomResourceDefinition> = Api::all(client.clone());
    for name in &definitions {
        until_gone(&all, name).await?;
    }
    let mut roots = 0;
    let all: Api<ConfigMap> = Api::all(client.clone());
    let named = ListParams::default().fields(&format!("metadata.name={ROOTS}"));
    for config_map in all
        .list(&named)
        .await
        .context("the roots cannot be listed")?
    {
        let place = config_map.namespace().unwrap_or_default();
        let api: Api<ConfigMap> = Api::namespaced(client.clone(), &place);
        roots += usize::from(delete(&api, ROOTS).await?);
    }
    let mut removed = vec![
        format!("{} definitions are gone", definitions.len()),
        format!("the roots of {roots} namespaces are gone"),
    ];
    removed.extend(gateways);
    let leases: Api<Lease> = Api::namespaced(client.clone(), namespace);
    for name in names(&leases).await? {
        if name.starts_with(LEASES) {
            delete(&leases, &name).await?;
        }
    }
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    if delete(&secrets, AUTHORITY).await? {
        removed.push("the certificate authority is gone".to_owned());
    }
    if remove_gateway_class(client).await? {
        removed.push(format!("GatewayClass \"{GATEWAY_CLASS}\" is gone"));
    }
    removed.push(remove_namespace(client, namespace).await?);
    Ok(removed)
}

/// What the control plane made for Gateways of the Gateway API: nobody looks after it any more. The Gateways are the
/// user's, and stay.
async fn remove_gateways(client: &Client) -> Result<Vec<String>> {
    let mut removed = remove_made::<Deployment>(client, "Deployment").await?;
    removed.extend(remove_made::<Service>(client, "Service").await?);
    removed.extend(remove_made::<ServiceAccount>(client, "ServiceAccount").await?);
    Ok(removed)
}

async fn remove_made<K>(client: &Client, kind: &str) -> Result<Vec<String>>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + Debug
        + DeserializeOwned,
{
    let all: Api<K> = Api::all(client.clone());
    let label = format!("{GATEWAY_CLASS_LABEL}={GATEWAY_CLASS}");
    let found = all.list(&ListParams::default().labels(&label)).await;
    let found = found.with_context(|| format!("{kind}s of Gateways cannot be listed"))?;
    let mut removed = Vec::new();
    for object in found.items.iter().filter(|object| is_of_gateway(*object)) {
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        let api: Api<K> = Api::namespaced(client.clone(), &namespace);
        if delete(&api, &name).await? {
            removed.push(format!(
                "{kind} \"{name}\" of a Gateway in namespace \"{namespace}\" is gone"
            ));
        }
    }
    Ok(removed)
}

/// The control plane's own carry their Gateway as owner; a label alone may be a user's.
fn is_of_gateway(object: &impl ResourceExt) -> bool {
    let mut owners = object.owner_references().iter();
    owners.any(|owner| {
        owner.kind == "Gateway" && owner.api_version.starts_with("gateway.networking.k8s.io/")
    })
}

/// Waits until the API server has removed an object that was deleted.
async fn until_gone<K>(api: &Api<K>, name: &str) -> Result<()>
where
    K: Resource + Clone + Debug + DeserializeOwned,
{
    let gone = async {
        while api.get_opt(name).await?.is_some() {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        anyhow::Ok(())
    };
    let gone = tokio::time::timeout(GONE, gone).await;
    gone.with_context(|| {
        format!(
            "\"{name}\" is still being deleted: something in it has a finalizer that nobody removes"
        )
    })?
}

/// Unless it is another controller's.
async fn remove_gateway_class(client: &Client) -> Result<bool> {
    let kind = GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "GatewayClass");
    let resource = ApiResource::from_gvk(&kind);
    let classes: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    let class = classes.get_opt(GATEWAY_CLASS).await;
    let class = class.context("the GatewayClass cannot be read")?;
    if class.is_none_or(|class| class.data["spec"]["controllerName"] != CONTROLLER) {
        return Ok(false);
    }
    let all = DeleteParams::default();
    let deleted = classes.delete(GATEWAY_CLASS, &all);
    deleted
        .await
        .context("the GatewayClass cannot be deleted")?;
    Ok(true)
}

/// A control plane that still runs would write again what is removed.
async fn wait_for_pods(client: &Client, namespace: &str) -> Result<()> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let control_plane = ListParams::default().labels("app=istiod");
    let gone = async {
        while !pods.list(&control_plane).await?.items.is_empty() {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        anyhow::Ok(())
    };
    let gone = tokio::time::timeout(PODS_END, gone).await;
    gone.context("pods of a control plane still run: uninstall its releases first")?
}

/// Only if nothing of anybody is in it.
async fn remove_namespace(client: &Client, namespace: &str) -> Result<String> {
    let mut left = names::<Pod>(&Api::namespaced(client.clone(), namespace)).await?;
    left.extend(names::<Service>(&Api::namespaced(client.clone(), namespace)).await?);
    left.extend(names::<Secret>(&Api::namespaced(client.clone(), namespace)).await?);
    left.extend(names::<ConfigMap>(&Api::namespaced(client.clone(), namespace)).await?);
    left.retain(|name| name != BUILT_IN);
    if !left.is_empty() {
        return Ok(format!(
            "namespace \"{namespace}\" stays, it holds {}",
            left.join(", ")
        ));
    }
    let namespaces: Api<Namespace> = Api::all(client.clone());
    delete(&namespaces, namespace).await?;
    until_gone(&namespaces, namespace).await?;
    Ok(format!("namespace \"{namespace}\" is gone"))
}

async fn names<K>(api: &Api<K>) -> Result<Vec<String>>
where
    K: Resource<Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let found = api.list(&ListParams::default()).await?;
    Ok(found.items.iter().map(ResourceExt::name_any).collect())
}

/// Whether there was something to delete.
async fn delete<K: Resource + Clone + Debug + DeserializeOwned>(
    api: &Api<K>,
    name: &str,
) -> Result<bool> {
    match api.delete(name, &DeleteParams::default()).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
        Err(error) => Err(error).with_context(|| format!("\"{name}\" cannot be deleted")),
    }
}
