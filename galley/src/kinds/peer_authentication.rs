//! `PeerAuthentication`, security.istio.io. Source: Istio
//! `validation.ValidatePeerAuthentication`.

use std::collections::BTreeMap;
use std::sync::Arc;

use mesh_api::authn::{MtlsMode, PeerAuthentication};

use super::definition::constraint::rule;
use super::definition::{Column, Definition};
use super::descriptor::Descriptor;
use super::findings::Findings;
use super::read::Read;
use super::rules;
use super::scope::Scope;
use super::stand_in::{self, StandIn};
use super::wire::{LabelSelector, wire};
use crate::decode::jsonpb::wire_enum;
use crate::manifest::path::FieldPath;

wire! {
    #[schemars(extend("x-kubernetes-validations" = [rule(
        "!has(self.portLevelMtls) || (has(self.selector) && has(self.selector.matchLabels))",
        "portLevelMtls needs a selector",
    )]))]
    PeerAuthenticationSpec {
        /// Selects the workloads of the namespace that the policy applies to. By default all of the namespace, and
        /// in the root namespace all of the mesh.
        selector: Option<LabelSelector>,
        /// Mutual TLS on all ports of the workloads. By default inherited from the namespace and then from the mesh,
        /// which accepts both mutual TLS and plain text (PERMISSIVE).
        mtls: Option<MutualTls>,
        /// Mutual TLS by port of the workload, instead of mtls. Requires a selector.
        port_level_mtls: BTreeMap<u32, MutualTls>,
    }

    MutualTls {
        /// STRICT accepts mutual TLS only, PERMISSIVE mutual TLS and plain text, DISABLE no mutual TLS. UNSET
        /// (default) inherits the mode.
        mode: WireMode,
    }
}

wire_enum!(
    WireMode {
        #[default]
        Unset = "UNSET" / 0,
        Disable = "DISABLE" / 1,
        Permissive = "PERMISSIVE" / 2,
        Strict = "STRICT" / 3,
    }
);

impl Read for PeerAuthenticationSpec {
    const KIND: Descriptor = Descriptor::defined(Definition {
        short_names: &["pa"],
        columns: &[
            Column::text("Mode", ".spec.mtls.mode", "Whether mutual TLS is required"),
            Column::AGE,
        ],
        ..Definition::security::<Self>("PeerAuthentication", "peerauthentications")
    });

    /// Plain text is refused.
    const STAND_IN: Option<stand_in::Make> = Some(|meta, selector| {
        StandIn::PeerAuthentication(PeerAuthentication {
            meta: meta.clone(),
            selector,
            mode: Some(MtlsMode::Strict),
            port_modes: BTreeMap::new(),
        })
    });

    type Model = Arc<PeerAuthentication>;

    fn read(
        &self,
        scope: &Scope<'_>,
        findings: &mut Findings<'_>,
    ) -> Option<Arc<PeerAuthentication>> {
        let root = FieldPath::ROOT;
        let path = root.field("spec");
        let selector = rules::attachment(self.selector.as_ref(), None, &[], &path, findings);
        let ports = path.field("portLevelMtls");
        if !self.port_level_mtls.is_empty() && selector.is_none() {
            findings
                .error(
                    &ports,
                    "portLevelMtls needs a selector, since ports are those of a workload",
                )
                .suggest("add selector: {matchLabels: {app: NAME}}");
        }
        let mut port_modes = BTreeMap::new();
        for (number, mtls) in &self.port_level_mtls {
            let port = rules::port(*number, &ports.field(&number.to_string()), findings);
            port_modes.extend(port.map(|port| (port, mode(mtls))));
        }
        Some(Arc::new(PeerAuthentication {
            meta: scope.meta.clone(),
            selector,
            mode: self.mtls.as_ref().and_then(mode),
            port_modes,
        }))
    }

    #[cfg(any(test, feature = "test-util"))]
    fn sample() -> serde_json::Value {
        serde_json::json!({"selector": {"matchLabels": {"app": "a"}}})
    }
}

fn mode(mtls: &MutualTls) -> Option<MtlsMode> {
    match mtls.mode {
        WireMode::Unset => None,
        WireMode::Disable => Some(MtlsMode::Disable),
        WireMode::Permissive => Some(MtlsMode::Permissive),
        WireMode::Strict => Some(MtlsMode::Strict),
    }
}
