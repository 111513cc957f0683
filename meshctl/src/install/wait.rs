//! Waiting until what was installed works.

use std::time::Duration;

use anyhow::{Result, bail};
use k8s_openapi::api::{
    admissionregistration::v1::MutatingWebhookConfiguration, apps::v1::Deployment,
};
use kube::{Api, Client, ResourceExt};
use tokio::time::Instant;

use super::failure;

/// Pause between two looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// Waits until a deployment runs its newest version everywhere; says why, if it does not in time.
pub async fn deployment(
    client: &Client,
    namespace: &str,
    name: &str,
    until: Instant,
) -> Result<()> {
    let api: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    loop {
        match api.get_opt(name).await {
            Ok(Some(found)) if is_available(&found) => return Ok(()),
            // An API server may be away for a moment.
            _ if Instant::now() < until => tokio::time::sleep(INTERVAL).await,
            Ok(Some(found)) => {
                let reasons = failure::explain(client, &found).await;
                bail!("deployment \"{name}\" did not become available:\n{reasons}");
            }
            Ok(None) => bail!("there is no deployment \"{name}\" in namespace \"{namespace}\""),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Waits until the API server can call the injection webhooks of a revision.
pub async fn webhook(client: &Client, revision: &str, until: Instant) -> Result<()> {
    loop {
        match injection_webhooks(client, revision).await {
            Ok(found) if !found.is_empty() && found.iter().all(has_ca_bundle) => return Ok(()),
            // An API server may be away for a moment.
            _ if Instant::now() < until => tokio::time::sleep(INTERVAL).await,
            Ok(_) => bail!(
                "the control plane did not write its root certificate into its webhooks: see its log"
            ),
            Err(error) => return Err(error),
        }
    }
}

/// The injection webhooks of a revision.
pub async fn injection_webhooks(
    client: &Client,
    revision: &str,
) -> Result<Vec<MutatingWebhookConfiguration>> {
    let api: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
    let revision = match revision {
        "" => "default",
        revision => revision,
    };
    let all = api.list(&Default::default()).await?.items;
    let is_of_revision = |webhook: &MutatingWebhookConfiguration| {
        let labels = webhook.labels();
        labels
            .get("app")
            .is_some_and(|app| app == "sidecar-injector")
            && labels
                .get("istio.io/rev")
                .is_some_and(|found| found == revision)
    };
    Ok(all.into_iter().filter(is_of_revision).collect())
}

/// Whether all webhooks of a configuration can be called.
pub fn has_ca_bundle(configuration: &MutatingWebhookConfiguration) -> bool {
    let mut webhooks = configuration.webhooks.iter().flatten();
    webhooks.all(|webhook| {
        let bundle = webhook.client_config.ca_bundle.as_ref();
        bundle.is_some_and(|bundle| !bundle.0.is_empty())
    })
}

/// Whether a deployment runs its newest version everywhere.
pub fn is_available(deployment: &Deployment) -> bool {
    let wanted = deployment.spec.replicas.unwrap_or(1);
    let Some(status) = &deployment.status else {
        return false;
    };
    let is_observed = status.observed_generation >= deployment.metadata.generation;
    let count = |number: Option<i32>| number.unwrap_or_default();
    is_observed
        && count(status.updated_replicas) >= wanted
        && count(status.available_replicas) >= wanted
        && count(status.replicas) == count(status.updated_replicas)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn available(status: Value) -> bool {
        let deployment = json!({
            "metadata": {"name": "istiod", "generation": 2},
            "spec": {"replicas": 2, "selector": {}, "template": {}},
            "status": status,
        });
        is_available(&serde_json::from_value(deployment).unwrap())
    }

    #[test]
    fn a_deployment_is_available_once_its_newest_version_is() {
        let status = json!({
            "observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2
        });
        assert!(available(status.clone()));
        for (field, value) in [
            ("observedGeneration", 1),
            ("replicas", 3),
            ("updatedReplicas", 1),
            ("availableReplicas", 1),
        ] {
            let mut status = status.clone();
            status[field] = json!(value);
            assert!(!available(status), "{field}");
        }
    }
}
