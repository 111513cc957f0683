//! What stands in for a security policy that cannot be understood.
//!
//! Leaving such a policy out would open what it means to close, above all after a
//! restart, when no good version of it is known. So an AuthorizationPolicy or a
//! RequestAuthentication denies whatever it may be about, and a PeerAuthentication
//! asks for mTLS there.
//!
//! Differs from Istio, where a broken policy in the store has no effect.

use mesh_api::authn::PeerAuthentication;
use mesh_api::authz::{AuthorizationPolicy, AuthzAction, AuthzRule};
use mesh_api::labels::{Labels, Selector};
use mesh_api::resource::Meta;

use crate::manifest::Document;
use crate::manifest::node::{Node, Value};

/// What is in force instead of a refused object.
#[derive(Debug, Clone)]
pub(crate) enum StandIn {
    /// No request passes.
    AuthorizationPolicy(AuthorizationPolicy),
    /// No plain text passes.
    PeerAuthentication(PeerAuthentication),
}

/// Makes the stand-in of a kind for the workloads that the refused object selects.
pub(crate) type Make = fn(&Meta, Option<Selector>) -> StandIn;

/// The stand-in for a refused object; nothing for kinds that close nothing, and for
/// policies that are attached to something else than workloads.
pub(super) fn stand_in(of_kind: Option<Make>, meta: &Meta, document: &Document) -> Option<StandIn> {
    let of_kind = of_kind?;
    let spec = document.node.get("spec");
    let attached = |field| spec.is_some_and(|spec| spec.get(field).is_some());
    if attached("targetRef") || attached("targetRefs") {
        return None;
    }
    Some(of_kind(meta, spec.and_then(selector)))
}

/// A policy that denies every request of the selected workloads.
pub(super) fn deny_all(meta: Meta, selector: Option<Selector>) -> StandIn {
    StandIn::AuthorizationPolicy(AuthorizationPolicy {
        meta,
        selector,
        action: AuthzAction::Deny,
        rules: vec![AuthzRule::default()],
        dry_run: false,
    })
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
