//! `localityLbSetting`: preference of endpoints by region, zone and sub-zone. Also the mesh's setting.

use std::collections::BTreeMap;
use std::sync::Arc;

use mesh_api::traffic_policy::load_balancer::{Distribute, LocalityLbSetting, LocalityRule};

use crate::kinds::findings::Findings;
use crate::kinds::rules::{self, each};
use crate::kinds::wire::wire;
use crate::manifest::path::FieldPath;

wire! {
    WireLocality {
        /// False disables load balancing by locality. True by default.
        enabled: Option<bool>,
        /// Percentages of the traffic of a locality that go to each locality. Excludes failover and
        /// failoverPriority.
        distribute: Vec<WireDistribute>,
        /// Region that receives the traffic of another one when its endpoints fail. Requires outlierDetection.
        failover: Vec<WireFailover>,
        /// Labels, as KEY or KEY=VALUE, most important first: endpoints that share more of them, from the first on,
        /// with the client are preferred. Requires outlierDetection.
        failover_priority: Vec<String>,
    }

    WireDistribute {
        /// Locality of the clients, as REGION/ZONE/SUBZONE with "*" at the end for any rest.
        from: String,
        /// Percentage by locality of the endpoints. The sum must be 100.
        to: BTreeMap<String, u32>,
    }

    WireFailover {
        /// Region of the clients.
        from: String,
        /// Region that receives their traffic when the endpoints of their own fail.
        to: String,
    }
}

pub(crate) fn read(
    wire: &WireLocality,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> LocalityLbSetting {
    let set = [
        ("distribute", !wire.distribute.is_empty()),
        ("failover", !wire.failover.is_empty()),
        ("failoverPriority", !wire.failover_priority.is_empty()),
    ];
    rules::at_most_one(&set, path, findings);
    let list = path.field("distribute");
    let distribute = each(&wire.distribute, &list, findings, distribute).unwrap_or_default();
    let list = path.field("failover");
    let failover = each(&wire.failover, &list, findings, failover).unwrap_or_default();
    let rule = if !distribute.is_empty() {
        LocalityRule::Distribute(distribute)
    } else if !failover.is_empty() {
        LocalityRule::Failover(failover)
    } else if !wire.failover_priority.is_empty() {
        LocalityRule::FailoverPriority(
            wire.failover_priority
                .iter()
                .map(|text| label(text))
                .collect(),
        )
    } else {
        LocalityRule::Default
    };
    LocalityLbSetting {
        enabled: wire.enabled.unwrap_or(true),
        rule,
    }
}

fn distribute(
    wire: &WireDistribute,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<Distribute> {
    star_at_the_end(&wire.from, &path.field("from"), findings);
    let to = path.field("to");
    for (locality, weight) in &wire.to {
        star_at_the_end(locality, &to.field(locality), findings);
        if !(1..=100).contains(weight) {
            let message = format!("weight {weight} is not 1 to 100");
            findings.error(&to.field(locality), message);
        }
    }
    let total: u64 = wire.to.values().map(|weight| u64::from(*weight)).sum();
    if total != 100 {
        findings.error(&to, format!("the weights add up to {total} instead of 100"));
    }
    let shares = wire.to.iter();
    Some(Distribute {
        from: wire.from.as_str().into(),
        to: shares
            .map(|(to, share)| (to.as_str().into(), *share))
            .collect(),
    })
}

fn failover(
    wire: &WireFailover,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<(Arc<str>, Arc<str>)> {
    if wire.from == wire.to {
        let message = format!("\"{}\" cannot fail over to itself", wire.from);
        findings.error(path, message);
    }
    for (field, region) in [("from", &wire.from), ("to", &wire.to)] {
        if region.is_empty() || region.contains(['/', '*']) {
            findings.error(&path.field(field), format!("\"{region}\" is not a region"));
        }
    }
    Some((wire.from.as_str().into(), wire.to.as_str().into()))
}

/// `KEY` or `KEY=VALUE`.
fn label(text: &str) -> (Arc<str>, Option<Arc<str>>) {
    match text.split_once('=') {
        Some((key, value)) => (key.into(), Some(value.into())),
        None => (text.into(), None),
    }
}

fn star_at_the_end(locality: &str, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    let inner = locality.strip_suffix('*').unwrap_or(locality);
    if locality.is_empty() || inner.contains('*') {
        let message = format!("\"{locality}\" is not region/zone/subzone with '*' only at the end");
        findings.error(path, message);
    }
}
