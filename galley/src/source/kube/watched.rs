//! Which kinds are watched, and how each is asked for.

use ::kube::Client;
use ::kube::api::{Api, ApiResource, GroupVersionKind};
use ::kube::runtime::watcher;

use super::KubeOptions;
use super::received::Received;
use crate::kind::Kind;

/// Pods that have ended take no requests any more.
const RUNNING: &str = "status.phase!=Succeeded,status.phase!=Failed";

/// Secrets of these types hold no gateway's certificate, and some of them are large.
const NO_CREDENTIAL: [&str; 5] = [
    "helm.sh/release.v1",
    "kubernetes.io/service-account-token",
    "kubernetes.io/dockercfg",
    "kubernetes.io/dockerconfigjson",
    "bootstrap.kubernetes.io/token",
];

impl Kind {
    /// The kinds that are watched: all but those that add nothing to the model, and roles, since the
    /// API server itself is asked what they permit.
    pub(crate) fn watched() -> impl Iterator<Item = Self> {
        let kinds = Self::ALL.iter().copied();
        kinds.filter(|kind| kind.descriptor().watched)
    }

    /// The resource's name in URLs.
    pub(crate) fn plural(self) -> String {
        let name = self.name().to_lowercase();
        if let Some(stem) = name.strip_suffix('y') {
            return match stem.ends_with('a') {
                true => format!("{name}s"),
                false => format!("{stem}ies"),
            };
        }
        match name.ends_with('s') {
            true => format!("{name}es"),
            false => format!("{name}s"),
        }
    }

    /// The kind as the API server knows it in `version`.
    pub(crate) fn resource(self, version: &str) -> ApiResource {
        let gvk = GroupVersionKind::gvk(self.group(), version, self.name());
        ApiResource::from_gvk_with_plural(&gvk, &self.plural())
    }

    /// Where the kind's objects are.
    pub(super) fn api(self, version: &str, client: Client, options: &KubeOptions) -> Api<Received> {
        let resource = self.resource(version);
        match self {
            Self::ConfigMap => Api::namespaced_with(client, &options.namespace, &resource),
            _ => Api::all_with(client, &resource),
        }
    }

    /// Which of them are asked for.
    pub(super) fn selection(self, options: &KubeOptions) -> watcher::Config {
        let config = watcher::Config::default();
        match self {
            Self::ConfigMap => config.fields(&format!("metadata.name={}", options.mesh_config_map)),
            Self::Pod => config.fields(RUNNING),
            Self::Secret => {
                config.fields(&NO_CREDENTIAL.map(|name| format!("type!={name}")).join(","))
            }
            _ => config,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plurals_are_kubernetes_names() {
        let names: Vec<String> = Kind::watched().map(Kind::plural).collect();
        assert_eq!(
            names,
            [
                "configmaps",
                "namespaces",
                "nodes",
                "secrets",
                "pods",
                "services",
                "endpointslices",
                "ingresses",
                "ingressclasses",
                "gatewayclasses",
                "gateways",
                "httproutes",
                "grpcroutes",
                "tlsroutes",
                "tcproutes",
                "referencegrants",
                "serviceentries",
                "workloadentries",
                "gateways",
                "virtualservices",
                "destinationrules",
                "sidecars",
                "peerauthentications",
                "requestauthentications",
                "authorizationpolicies",
                "telemetries",
            ]
        );
    }
}
