//! What has to change in a webhook configuration.

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use serde_json::{Map, Value, json};

/// The injector's webhooks end with this; others may stand beside them.
const INJECTOR: &str = "sidecar-injector.istio.io";

/// The changes to one configuration.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Plan {
    /// Webhooks with the roots that they should have.
    roots: Vec<(String, ByteString)>,
    /// Webhooks that should fail closed.
    fail: Vec<String>,
    /// Whether the second depends on a probe.
    pub(super) wants_probe: bool,
}

/// For a configuration of the injector.
pub(super) fn mutating(config: &MutatingWebhookConfiguration, roots: &[u8]) -> Plan {
    let webhooks = config.webhooks.iter().flatten();
    let ours = webhooks.filter(|webhook| webhook.name.ends_with(INJECTOR));
    Plan {
        roots: ours
            .filter(|webhook| lacks(&webhook.client_config, roots))
            .map(|webhook| (webhook.name.clone(), ByteString(roots.to_vec())))
            .collect(),
        ..Plan::default()
    }
}

/// For a configuration of validation.
pub(super) fn validating(config: &ValidatingWebhookConfiguration, roots: &[u8]) -> Plan {
    let webhooks = || config.webhooks.iter().flatten();
    let fail: Vec<String> = webhooks()
        .filter(|webhook| webhook.failure_policy.as_deref() == Some("Ignore"))
        .map(|webhook| webhook.name.clone())
        .collect();
    Plan {
        roots: webhooks()
            .filter(|webhook| lacks(&webhook.client_config, roots))
            .map(|webhook| (webhook.name.clone(), ByteString(roots.to_vec())))
            .collect(),
        wants_probe: !fail.is_empty(),
        fail,
    }
}

fn lacks(client_config: &WebhookClientConfig, roots: &[u8]) -> bool {
    client_config.ca_bundle.as_ref().map(|found| &*found.0) != Some(roots)
}

impl Plan {
    /// The strategic merge patch, in which webhooks are merged by name; none if nothing has to change.
    pub(super) fn patch(&self, refuses: bool) -> Option<Value> {
        let mut webhooks: Map<String, Value> = Map::new();
        for (name, roots) in &self.roots {
            let webhook = json!({"name": name, "clientConfig": {"caBundle": roots}});
            webhooks.insert(name.clone(), webhook);
        }
        for name in self.fail.iter().filter(|_| refuses) {
            let webhook = webhooks.entry(name.clone());
            webhook.or_insert_with(|| json!({"name": name}))["failurePolicy"] = "Fail".into();
        }
        let webhooks: Vec<Value> = webhooks.into_iter().map(|(_, webhook)| webhook).collect();
        (!webhooks.is_empty()).then(|| json!({"webhooks": webhooks}))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `root` in base64.
    const ROOT: &str = "cm9vdA==";

    fn webhook(name: &str, roots: &str, policy: &str) -> Value {
        json!({
            "name": name, "failurePolicy": policy, "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "clientConfig": {"caBundle": roots, "service": {"name": "istiod", "namespace": "a"}},
        })
    }

    #[test]
    fn the_injectors_webhooks_get_the_roots_and_others_are_left_alone() {
        let config = json!({"metadata": {}, "webhooks": [
            webhook("rev.namespace.sidecar-injector.istio.io", "", "Fail"),
            webhook("rev.object.sidecar-injector.istio.io", ROOT, "Fail"),
            webhook("somebody.else", "", "Fail"),
        ]});
        let plan = mutating(&serde_json::from_value(config).unwrap(), b"root");
        assert_eq!(
            plan.patch(false),
            Some(json!({"webhooks": [
                {"name": "rev.namespace.sidecar-injector.istio.io", "clientConfig": {"caBundle": ROOT}},
            ]}))
        );
    }

    fn validation(roots: &str, policy: &str) -> Plan {
        let config = json!({"metadata": {}, "webhooks": [webhook("rev.validation.istio.io", roots, policy)]});
        validating(&serde_json::from_value(config).unwrap(), b"root")
    }

    #[test]
    fn validation_fails_closed_once_it_was_seen_to_refuse() {
        let plan = validation("", "Ignore");
        assert!(plan.wants_probe);
        let name = "rev.validation.istio.io";
        assert_eq!(
            plan.patch(false),
            Some(json!({"webhooks": [{"name": name, "clientConfig": {"caBundle": ROOT}}]}))
        );
        assert_eq!(
            plan.patch(true),
            Some(json!({"webhooks": [
                {"name": name, "clientConfig": {"caBundle": ROOT}, "failurePolicy": "Fail"},
            ]}))
        );
        assert_eq!(
            validation(ROOT, "Ignore").patch(true),
            Some(json!({"webhooks": [{"name": name, "failurePolicy": "Fail"}]}))
        );
    }

    #[test]
    fn what_is_right_is_not_written() {
        let plan = validation(ROOT, "Fail");
        assert!(!plan.wants_probe);
        assert_eq!(plan.patch(true), None);
    }
}
