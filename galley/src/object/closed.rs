//! What stands in for a security policy that cannot be understood.
//!
//! Leaving such a policy out would open what it means to close, above all after a
//! restart, when no good version of it is known. So an AuthorizationPolicy or a
//! RequestAuthentication denies whatever it may be about, and a PeerAuthentication
//! asks for mTLS there.
//!
//! Differs from Istio, where a broken policy in the store has no effect.

use std::sync::Arc;

use mesh_api::authn::{MtlsMode, PeerAuthentication};
use mesh_api::authz::{AuthorizationPolicy, AuthzAction, AuthzRule};
use mesh_api::labels::{Labels, Selector};
use mesh_api::resource::{Meta, ResourceKey};

use super::Object;
use crate::kind::Kind;
use crate::manifest::Document;
use crate::manifest::node::{Node, Value};
use crate::normalize::Model;

/// The stand-in for a refused object; nothing for kinds that close nothing, and for
/// policies that are attached to something else than workloads.
pub(super) fn stand_in(kind: Kind, meta: &Meta, document: &Arc<Document>) -> Option<Object> {
    let spec = document.node.get("spec");
    let attached = |field| spec.is_some_and(|spec| spec.get(field).is_some());
    if attached("targetRef") || attached("targetRefs") {
        return None;
    }
    let selector = spec.and_then(selector);
    let model = match kind {
        Kind::AuthorizationPolicy | Kind::RequestAuthentication => {
            let policy = AuthorizationPolicy {
                meta: policy_meta(kind, meta),
                selector,
                action: AuthzAction::Deny,
                rules: vec![AuthzRule::default()],
                dry_run: false,
            };
            Model::AuthorizationPolicy(Arc::new(policy))
        }
        Kind::PeerAuthentication => {
            let policy = PeerAuthentication {
                meta: meta.clone(),
                selector,
                mode: Some(MtlsMode::Strict),
                port_modes: Default::default(),
            };
            Model::PeerAuthentication(Arc::new(policy))
        }
        _ => return None,
    };
    Some(Object {
        meta: meta.clone(),
        model,
        document: document.clone(),
    })
}

/// Policies are told apart by name, so a stand-in of another kind gets one that no
/// AuthorizationPolicy can have.
fn policy_meta(kind: Kind, meta: &Meta) -> Meta {
    let mut meta = meta.clone();
    if kind == Kind::RequestAuthentication {
        let name = format!("{}@{}", meta.key.name, kind.name());
        meta.key = ResourceKey::new(kind.name(), &meta.key.namespace, &name);
    }
    meta
}

/// The workloads, if the labels are readable; else all of the namespace.
fn selector(spec: &Node) -> Option<Selector> {
    let Value::Map(entries) = &spec.get("selector")?.get("matchLabels")?.value else {
        return None;
    };
    let labels: Option<Labels> = entries
        .iter()
        .map(|entry| match &entry.node.value {
            Value::String(value) => Some((entry.key.as_str(), value.as_str())),
            _ => None,
        })
        .collect::<Option<Vec<_>>>()
        .map(|pairs| pairs.into_iter().collect());
    labels
        .filter(|labels| !labels.is_empty())
        .map(Selector::new)
}
