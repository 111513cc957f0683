//! `Gateway`.

use std::collections::BTreeMap;
use std::sync::Arc;

use mesh_api::labels::Labels;
use mesh_api::resource::Meta;
use serde_json::Value as Json;

use super::listener::{self, Listener, WireListener};
use super::reference::GROUP;
use crate::kinds::descriptor::Descriptor;
use crate::kinds::findings::Findings;
use crate::kinds::read::Read;
use crate::kinds::rules::{each, some};
use crate::kinds::scope::Scope;
use crate::kinds::wire::wire;
use crate::manifest::path::FieldPath;

wire! {
    GatewaySpec {
        gateway_class_name: String,
        listeners: Vec<WireListener>,
        addresses: Vec<WireAddress>,
        infrastructure: Option<WireInfrastructure>,
        allowed_listeners: Option<Json>,
        tls: Option<Json>,
        default_scope: Option<Json>,
    }

    WireAddress {
        r#type: Option<String>,
        value: Option<String>,
    }

    WireInfrastructure {
        labels: BTreeMap<String, String>,
        annotations: BTreeMap<String, String>,
        parameters_ref: Option<Json>,
    }
}

/// A `Gateway`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubernetesGateway {
    /// The object.
    pub meta: Meta,
    /// Its class.
    pub class: Arc<str>,
    /// `listeners`.
    pub listeners: Vec<Listener>,
    /// Host names of Services that exist already; without one, the Gateway gets its own.
    pub addresses: Vec<Arc<str>>,
    /// `infrastructure.labels`.
    pub labels: Labels,
    /// `infrastructure.annotations`.
    pub annotations: Labels,
}

impl Read for GatewaySpec {
    const KIND: Descriptor = Descriptor {
        model_name: "KubernetesGateway",
        ..Descriptor::custom(GROUP, "Gateway", &["v1", "v1beta1"])
    };

    type Model = Arc<KubernetesGateway>;

    fn read(
        &self,
        scope: &Scope<'_>,
        findings: &mut Findings<'_>,
    ) -> Option<Arc<KubernetesGateway>> {
        let root = FieldPath::ROOT;
        let list = root.field("spec");
        let list = list.field("listeners");
        let listeners = each(&self.listeners, &list, findings, |wire, at, findings| {
            listener::read(wire, at, scope, findings)
        });
        let by_name = self.addresses.iter();
        let by_name = by_name.filter(|address| address.r#type.as_deref() == Some("Hostname"));
        let infrastructure = self.infrastructure.as_ref();
        let labels = infrastructure.map(|wire| wire.labels.iter().collect());
        let annotations = infrastructure.map(|wire| wire.annotations.iter().collect());
        Some(Arc::new(KubernetesGateway {
            meta: scope.meta.clone(),
            class: self.gateway_class_name.as_str().into(),
            listeners: listeners?,
            addresses: by_name
                .filter_map(|address| address.value.as_deref().and_then(some))
                .collect(),
            labels: labels.unwrap_or_default(),
            annotations: annotations.unwrap_or_default(),
        }))
    }

    #[cfg(any(test, feature = "test-util"))]
    fn sample() -> serde_json::Value {
        serde_json::json!({
            "gatewayClassName": "istio",
            "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}],
        })
    }
}
