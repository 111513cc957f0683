//! `envoy.filters.network.rbac`: authorization of connections.

use crate::config::rbac::{Input, Rbac};
use crate::telemetry::stream_info::ConnectionInfo;

/// What the filter decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The connection may pass.
    Allowed,
    /// It is closed, for this reason (`%CONNECTION_TERMINATION_DETAILS%`).
    Denied(String),
}

/// Evaluates the enforced rules; shadow rules only leave a trace in the log.
pub fn evaluate(rbac: &Rbac, connection: &ConnectionInfo) -> Verdict {
    let input = Input::connection(connection);
    if let Some(shadow) = &rbac.shadow_rules {
        let decision = shadow.evaluate(&input);
        tracing::debug!(
            stat_prefix = &*rbac.stat_prefix,
            allowed = decision.allowed,
            policy = decision.policy,
            "shadow rules"
        );
    }
    let Some(rules) = &rbac.rules else {
        return Verdict::Allowed;
    };
    let decision = rules.evaluate(&input);
    if decision.allowed {
        Verdict::Allowed
    } else {
        Verdict::Denied(decision.details())
    }
}
