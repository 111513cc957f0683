//! `DestinationRule`.

use mesh_api::traffic_policy::{DestinationRule, Subset};

use super::{Fault, Scope, labels, traffic_policy, workload_selector};
use crate::crd::destination_rule as wire;
use crate::manifest::path::FieldPath;

pub(super) fn normalize(
    spec: &wire::DestinationRule,
    scope: &Scope<'_>,
) -> Result<DestinationRule, Fault> {
    let root = FieldPath::ROOT;
    let path = root.field("spec");
    let list = path.field("subsets");
    let subsets = spec.subsets.iter().enumerate().map(|(index, subset)| {
        let at = list.index(index);
        Ok(Subset {
            name: subset.name.as_str().into(),
            labels: labels(&subset.labels),
            policy: traffic_policy::normalize(
                subset.traffic_policy.as_ref(),
                &at.field("trafficPolicy"),
                scope,
            )?,
        })
    });
    let default = &scope.mesh.default_destination_rule_export_to;
    Ok(DestinationRule {
        meta: scope.meta.clone(),
        host: scope.old_host(&spec.host, &path.field("host"))?,
        policy: traffic_policy::normalize(
            spec.traffic_policy.as_ref(),
            &path.field("trafficPolicy"),
            scope,
        )?,
        subsets: subsets.collect::<Result<_, _>>()?,
        visibility: scope.visibility(&spec.export_to, default),
        workload_selector: workload_selector(spec.workload_selector.as_ref()),
    })
}
