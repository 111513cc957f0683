//! Locality preference: shares by locality, or priorities by distance.

use std::collections::BTreeMap;

use mesh_api::locality::Locality;
use mesh_api::traffic_policy::load_balancer::{Distribute, LocalityRule};
use xds::envoy::endpoint::LocalityLbEndpoints;

use super::{LocalityGroup, LocalityInputs};
use crate::wire;

/// Puts localities into the form that the setting asks for.
pub(super) fn arrange(
    groups: Vec<LocalityGroup>,
    inputs: &LocalityInputs,
) -> Vec<LocalityLbEndpoints> {
    match &inputs.setting.rule {
        LocalityRule::Distribute(rules) => distribute(groups, inputs, rules),
        _ if !inputs.failover => groups.into_iter().map(LocalityGroup::into_wire).collect(),
        LocalityRule::Default => prioritize(
            groups
                .into_iter()
                .map(|g| (distance(&g.locality, inputs, &[]), g))
                .collect(),
        ),
        LocalityRule::Failover(pairs) => {
            let pairs: Vec<(&str, &str)> =
                pairs.iter().map(|(from, to)| (&**from, &**to)).collect();
            prioritize(
                groups
                    .into_iter()
                    .map(|g| (distance(&g.locality, inputs, &pairs), g))
                    .collect(),
            )
        }
        LocalityRule::FailoverPriority(labels) => {
            let labels: Vec<_> = labels
                .iter()
                .map(|(key, value)| (&**key, value.as_deref()))
                .collect();
            prioritize(
                groups
                    .into_iter()
                    .flat_map(|g| split_by_labels(g, inputs, &labels))
                    .collect(),
            )
        }
    }
}

/// How far a locality is: 0 same sub-zone, 1 same zone, 2 same region, 3 the region to fail over
/// to, 4 elsewhere.
fn distance(locality: &Locality, inputs: &LocalityInputs, failover: &[(&str, &str)]) -> u32 {
    let client = &inputs.client;
    let same_region = *locality.region == *client.region;
    let same_zone = same_region && *locality.zone == *client.zone;
    let same_sub_zone = same_zone && *locality.subzone == *client.sub_zone;
    let next = failover
        .iter()
        .find(|(from, _)| *from == client.region)
        .map(|(_, to)| *to);
    match (same_sub_zone, same_zone, same_region) {
        (true, _, _) => 0,
        (_, true, _) => 1,
        (_, _, true) => 2,
        _ if next == Some(&*locality.region) => 3,
        _ => 4,
    }
}

/// Distances as priorities without gaps, which Envoy insists on.
fn prioritize(groups: Vec<(u32, LocalityGroup)>) -> Vec<LocalityLbEndpoints> {
    let mut distances: Vec<u32> = groups.iter().map(|(distance, _)| *distance).collect();
    distances.sort_unstable();
    distances.dedup();
    let mut wire: Vec<_> = groups
        .into_iter()
        .map(|(distance, group)| {
            let priority = distances
                .iter()
                .position(|d| *d == distance)
                .unwrap_or_default();
            let priority = u32::try_from(priority).unwrap_or(u32::MAX);
            LocalityLbEndpoints {
                priority,
                ..group.into_wire()
            }
        })
        .collect();
    wire.sort_by_key(|group| group.priority);
    wire
}

/// The more leading labels an endpoint shares with the client, the nearer it is.
fn split_by_labels(
    group: LocalityGroup,
    inputs: &LocalityInputs,
    labels: &[(&str, Option<&str>)],
) -> Vec<(u32, LocalityGroup)> {
    let mut by_distance: BTreeMap<usize, LocalityGroup> = BTreeMap::new();
    for (endpoint, own) in group.endpoints {
        let shared = labels
            .iter()
            .take_while(|(key, value)| {
                let wanted = value.or_else(|| inputs.client_labels.get(key));
                wanted.is_some() && own.get(key) == wanted
            })
            .count();
        by_distance
            .entry(labels.len() - shared)
            .or_insert_with(|| LocalityGroup {
                locality: group.locality.clone(),
                endpoints: Vec::new(),
            })
            .endpoints
            .push((endpoint, own));
    }
    by_distance
        .into_iter()
        .map(|(distance, group)| (u32::try_from(distance).unwrap_or(u32::MAX), group))
        .collect()
}

/// The shares that the first rule for the client's locality gives. A share is divided among the
/// localities that it names by the weight of their endpoints; localities without a share get
/// nothing.
fn distribute(
    groups: Vec<LocalityGroup>,
    inputs: &LocalityInputs,
    rules: &[Distribute],
) -> Vec<LocalityLbEndpoints> {
    let client = [
        &*inputs.client.region,
        &*inputs.client.zone,
        &*inputs.client.sub_zone,
    ];
    let Some(rule) = rules.iter().find(|rule| covers(&rule.from, client)) else {
        return groups.into_iter().map(LocalityGroup::into_wire).collect();
    };
    let mut arranged = Vec::new();
    let mut rest = groups;
    for (pattern, share) in &rule.to {
        let (named, others): (Vec<_>, Vec<_>) = rest.into_iter().partition(|group| {
            let locality = &group.locality;
            covers(
                pattern,
                [&locality.region, &locality.zone, &locality.subzone],
            )
        });
        rest = others;
        let total: u32 = named.iter().map(LocalityGroup::weight).sum();
        for group in named {
            let part = f64::from(*share) * f64::from(group.weight()) / f64::from(total.max(1));
            let mut wire = group.into_wire();
            // Shares are small numbers, so rounding up to one keeps no locality out.
            wire.load_balancing_weight = Some(wire::number((part.ceil() as u32).max(1)));
            arranged.push(wire);
        }
    }
    arranged
}

/// Whether `region/zone/*` covers a locality.
fn covers(pattern: &str, locality: [&str; 3]) -> bool {
    for (part, own) in pattern.split('/').zip(locality) {
        if part == "*" {
            return true;
        }
        if part != own {
            return false;
        }
    }
    true
}
