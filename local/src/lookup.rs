//! Finding pods and objects by the names that people type.

use crate::{
    api::{GetRequest, PodRef, Refusal},
    controller::{PodName, PodView, View},
    manifest::Object,
};

/// Finds a pod by name, by workload, or by the beginning of its name.
pub fn pod<'a>(view: &'a View, wanted: &PodRef) -> Result<(&'a PodName, &'a PodView), Refusal> {
    let name = wanted.pod.rsplit('/').next().unwrap_or(&wanted.pod);
    let in_scope = |(namespace, _): &PodName| {
        wanted
            .namespace
            .as_ref()
            .is_none_or(|wanted| wanted == namespace)
    };
    let candidates = || view.pods.iter().filter(|(name, _)| in_scope(name));
    if let Some(found) = candidates().find(|((_, pod), _)| pod == name) {
        return Ok(found);
    }
    let of_workload = |(_, pod): &(&PodName, &PodView)| {
        pod.owner.as_ref().is_some_and(|owner| owner.name == name)
    };
    // A pod on its way out is only taken if there is no other.
    let best = |found: Vec<(&'a PodName, &'a PodView)>| {
        found
            .into_iter()
            .min_by_key(|(_, pod)| (pod.status.terminating, !pod.status.ready()))
    };
    let found = best(candidates().filter(of_workload).collect()).or_else(|| {
        best(
            candidates()
                .filter(|((_, pod), _)| pod.starts_with(name))
                .collect(),
        )
    });
    found.ok_or_else(|| Refusal {
        message: match &wanted.namespace {
            Some(namespace) => format!("no pod \"{name}\" in namespace \"{namespace}\""),
            None => format!("no pod \"{name}\""),
        },
    })
}

/// The container that a request means: the named one, else the first of the application.
pub fn container(pod: &PodView, wanted: Option<&str>) -> Result<String, Refusal> {
    let spec = pod.pod.spec.clone().unwrap_or_default();
    let names: Vec<_> = spec
        .containers
        .iter()
        .chain(spec.init_containers.iter().flatten())
        .map(|container| container.name.clone())
        .collect();
    // Users say "proxy" for what Istio calls "istio-proxy".
    let known = |wanted: &str| {
        names
            .iter()
            .find(|name| *name == wanted || (wanted == "proxy" && *name == "istio-proxy"))
            .cloned()
    };
    let first = || {
        names
            .iter()
            .find(|name| *name != "istio-proxy")
            .or(names.first())
            .cloned()
    };
    wanted.map_or_else(first, known).ok_or_else(|| Refusal {
        message: format!("no such container; the pod has: {}", names.join(", ")),
    })
}

/// Objects of a kind.
pub fn objects<'a>(view: &'a View, wanted: &GetRequest) -> Vec<&'a Object> {
    let kind = singular(&wanted.kind);
    let matches = |object: &&Object| {
        let key = &object.key;
        key.kind.to_lowercase() == kind
            && wanted.name.as_ref().is_none_or(|name| *name == key.name)
            && (key.namespace.is_empty()
                || wanted
                    .namespace
                    .as_ref()
                    .is_none_or(|namespace| *namespace == key.namespace))
    };
    view.objects.values().filter(matches).collect()
}

/// `pods`, `po` and `Pod` are all `pod`.
fn singular(kind: &str) -> String {
    const SHORT: [(&str, &str); 12] = [
        ("po", "pod"),
        ("svc", "service"),
        ("deploy", "deployment"),
        ("sts", "statefulset"),
        ("ns", "namespace"),
        ("sa", "serviceaccount"),
        ("cm", "configmap"),
        ("vs", "virtualservice"),
        ("dr", "destinationrule"),
        ("gw", "gateway"),
        ("se", "serviceentry"),
        ("pa", "peerauthentication"),
    ];
    let kind = kind.to_lowercase();
    let kind = kind.split('.').next().unwrap_or_default();
    if let Some((_, long)) = SHORT.iter().find(|(short, _)| *short == kind) {
        return (*long).to_owned();
    }
    match kind {
        _ if kind.ends_with("ies") => format!("{}y", &kind[..kind.len() - 3]),
        _ if kind.ends_with("sses") => kind[..kind.len() - 2].to_owned(),
        _ if kind.ends_with('s') && !kind.ends_with("ss") => kind[..kind.len() - 1].to_owned(),
        _ => kind.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("pods", "pod")]
    #[case("VirtualServices", "virtualservice")]
    #[case("authorizationpolicies", "authorizationpolicy")]
    #[case("GatewayClasses", "gatewayclass")]
    #[case("ingress", "ingress")]
    #[case("svc", "service")]
    #[case("gateways.networking.istio.io", "gateway")]
    fn kinds(#[case] typed: &str, #[case] expected: &str) {
        assert_eq!(singular(typed), expected);
    }
}
