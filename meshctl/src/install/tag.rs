//! Revision tags: further names for a control plane, so that namespaces move without being labelled anew.
//!
//! A tag is a webhook configuration, which the chart renders; it belongs to no Helm release, because releases
//! cannot hand an object over.

use std::ffi::OsString;

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use serde_json::Value;

use super::{
    FIELD_MANAGER,
    charts::Charts,
    helm::{Helm, KUBE_VERSION},
    plan::control_plane,
    wait,
};

/// The label with a tag's name.
const TAG: &str = "istio.io/tag";

/// The label with the revision behind a tag.
const REVISION: &str = "istio.io/rev";

/// Who made an object.
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// A tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// Its name.
    pub name: String,
    /// The revision behind it.
    pub revision: String,
}

/// All tags.
pub async fn list(client: &Client) -> Result<Vec<Tag>> {
    let label = |webhook: &MutatingWebhookConfiguration, name| {
        webhook.labels().get(name).cloned().unwrap_or_default()
    };
    let tag = |webhook| Tag {
        name: label(&webhook, TAG),
        revision: label(&webhook, REVISION),
    };
    Ok(configurations(client).await?.into_iter().map(tag).collect())
}

/// Points a tag at a revision.
pub async fn set(
    client: &Client,
    helm: &Helm,
    name: &str,
    revision: &str,
    overwrite: bool,
) -> Result<()> {
    let existing = find(client, name).await?;
    if let Some(existing) = &existing {
        refuse_release(existing)?;
        let behind = existing.labels().get(REVISION);
        ensure!(
            overwrite || behind.is_some_and(|behind| behind == shown(revision)),
            "tag \"{name}\" is there already: --overwrite moves it"
        );
    }
    let installed = wait::injection_webhooks(client, revision).await?;
    let own = installed.iter().find(|one| !one.labels().contains_key(TAG));
    let Some(own) = own else {
        bail!("revision \"{}\" is not installed", shown(revision));
    };
    let configuration = with_roots_of(own, render(helm, name, revision).await?);
    let object = configuration["metadata"]["name"]
        .as_str()
        .unwrap_or_default();
    let api: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let applied = api
        .patch(object, &params, &Patch::Apply(&configuration))
        .await;
    applied.with_context(|| format!("tag \"{name}\" cannot be written"))?;
    Ok(())
}

/// Removes a tag.
pub async fn remove(client: &Client, name: &str) -> Result<()> {
    let Some(existing) = find(client, name).await? else {
        bail!("there is no tag \"{name}\"");
    };
    refuse_release(&existing)?;
    let api: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
    api.delete(&existing.name_any(), &DeleteParams::default())
        .await?;
    Ok(())
}

/// Removes all tags of a revision, or all, that belong to no release. Returns how many.
pub async fn remove_all(client: &Client, revision: Option<&str>) -> Result<usize> {
    let mut removed = 0;
    for tag in list(client).await? {
        let is_meant = revision.is_none_or(|revision| tag.revision == shown(revision));
        if is_meant && remove(client, &tag.name).await.is_ok() {
            removed += 1;
        }
    }
    Ok(removed)
}

async fn configurations(client: &Client) -> Result<Vec<MutatingWebhookConfiguration>> {
    let api: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
    let found = api.list(&ListParams::default().labels(TAG)).await;
    Ok(found.context("webhooks cannot be listed")?.items)
}

async fn find(client: &Client, name: &str) -> Result<Option<MutatingWebhookConfiguration>> {
    let is_it =
        |one: &MutatingWebhookConfiguration| one.labels().get(TAG).is_some_and(|tag| tag == name);
    Ok(configurations(client).await?.into_iter().find(is_it))
}

fn refuse_release(configuration: &MutatingWebhookConfiguration) -> Result<()> {
    let labels = configuration.labels();
    ensure!(
        labels.get(MANAGED_BY).is_none_or(|by| by != "Helm"),
        "the tag belongs to Helm release \"{}\": change its value revisionTags",
        labels
            .get("release")
            .map(String::as_str)
            .unwrap_or_default()
    );
    Ok(())
}

/// The configuration as the chart renders it, with the values of the revision's release.
async fn render(helm: &Helm, name: &str, revision: &str) -> Result<Value> {
    let charts = Charts::unpack()?;
    let release = control_plane(revision);
    let values = helm
        .run(&["get", "values", release.as_str(), "--output", "json"])
        .await;
    let values = values.with_context(|| format!("release \"{release}\" has no values"))?;
    let file = charts.dir().join("values.json");
    std::fs::write(&file, values)?;
    let args: [OsString; 9] = [
        "template".into(),
        KUBE_VERSION.into(),
        release.into(),
        charts.dir().join("control-plane").into(),
        "--values".into(),
        file.into(),
        "--show-only=templates/mutatingwebhook.yaml".into(),
        "--set".into(),
        format!("revisionTags={{{name}}}").into(),
    ];
    tagged(&helm.run(&args).await?)
}

/// The document with the tag; Helm's marks are replaced by ours.
fn tagged(rendered: &str) -> Result<Value> {
    let documents = rendered.split("\n---").map(serde_saphyr::from_str::<Value>);
    let documents = documents
        .collect::<Result<Vec<_>, _>>()
        .context("the chart's webhooks")?;
    let mut found = documents
        .into_iter()
        .filter(|one| one["metadata"]["labels"][TAG].is_string());
    let mut configuration = found.next().context("the chart renders no tag")?;
    configuration["metadata"]["labels"][MANAGED_BY] = FIELD_MANAGER.into();
    Ok(configuration)
}

/// Callable from its first moment on.
fn with_roots_of(installed: &MutatingWebhookConfiguration, mut configuration: Value) -> Value {
    let mut webhooks = installed.webhooks.iter().flatten();
    let roots = webhooks.find_map(|webhook| webhook.client_config.ca_bundle.clone());
    let rendered = configuration["webhooks"]
        .as_array_mut()
        .into_iter()
        .flatten();
    if let Some(roots) = roots.and_then(|roots| serde_json::to_value(roots).ok()) {
        for webhook in rendered {
            webhook["clientConfig"]["caBundle"] = roots.clone();
        }
    }
    configuration
}

/// A revision as labels name it: the default one has a name there.
pub fn shown(revision: &str) -> &str {
    match revision {
        "" => "default",
        revision => revision,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_tag_is_taken_from_what_the_chart_renders() {
        let rendered = "\
---
# Source: mutatingwebhook.yaml
metadata: {name: istio-sidecar-injector, labels: {app: sidecar-injector}}
---
# Source: mutatingwebhook.yaml
metadata:
  name: istio-revision-tag-prod
  labels: {istio.io/tag: prod, app.kubernetes.io/managed-by: Helm}
webhooks: [{name: rev.namespace.sidecar-injector.istio.io, clientConfig: {}}]
";
        let configuration = tagged(rendered).unwrap();
        assert_eq!(configuration["metadata"]["name"], "istio-revision-tag-prod");
        assert_eq!(configuration["metadata"]["labels"][MANAGED_BY], "meshctl");
        let installed = json!({
            "metadata": {},
            "webhooks": [{
                "name": "a", "sideEffects": "None", "admissionReviewVersions": ["v1"],
                "clientConfig": {"caBundle": "cm9vdA=="},
            }],
        });
        let configuration =
            with_roots_of(&serde_json::from_value(installed).unwrap(), configuration);
        assert_eq!(
            configuration["webhooks"][0]["clientConfig"]["caBundle"],
            "cm9vdA=="
        );
    }
}
