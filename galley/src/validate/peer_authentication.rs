//! Rules of `PeerAuthentication`. Source: Istio `validation.ValidatePeerAuthentication`.

use super::{Findings, rules};
use crate::crd::peer_authentication::PeerAuthentication;
use crate::manifest::path::FieldPath;

pub(super) fn validate(
    spec: &PeerAuthentication,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) {
    rules::attachment(spec.selector.as_ref(), None, &[], path, findings);
    let selects = spec
        .selector
        .as_ref()
        .is_some_and(|s| !s.match_labels.is_empty());
    let ports = path.field("portLevelMtls");
    if !spec.port_level_mtls.is_empty() && !selects {
        findings
            .error(
                &ports,
                "portLevelMtls needs a selector, since ports are those of a workload",
            )
            .suggest("add selector: {matchLabels: {app: NAME}}");
    }
    for port in spec.port_level_mtls.keys() {
        rules::port(*port, &ports.field(&port.to_string()), findings);
    }
}
